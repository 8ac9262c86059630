"""Google's objects as they come: only what is used, and lenient about all of it.

Unknown fields and words are let pass and missing ones have defaults, for the provider is the author. Names are in camel
case, times are RFC 3339 text, 64-bit numbers are text. Shapes: `contracts/providers.md` section 3, read in Google's
Python SDK 3.4 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Raw, Struct

Name = Annotated[str, Meta(min_length=1)]


class Status(Struct, frozen=True):
    """A `google.rpc.Status`: why something failed."""

    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: Raw = Raw()


class ErrorAnswer(Struct, frozen=True):
    """The body of a refusal."""

    error: Status | None = None


class ErrorInfo(Struct, frozen=True):
    """A `google.rpc.ErrorInfo` among the details of a refusal; other details have no `reason`."""

    reason: str | None = None


class FileObject(Struct, frozen=True, kw_only=True, rename="camel"):
    """A file. `name` is `files/<id>`, `display_name` free text, `uri` what requests name it by."""

    name: Name
    display_name: str | None = None
    mime_type: str | None = None
    size_bytes: str | int | None = None
    create_time: str | None = None
    expiration_time: str | None = None
    uri: str | None = None
    state: str | None = None
    error: Status | None = None


class UploadedFile(Struct, frozen=True):
    """What ends an upload."""

    file: FileObject


class FilePage(Struct, frozen=True, kw_only=True, rename="camel"):
    """One page of the list of files; `{}` where there is none. The last has no token."""

    files: Sequence[FileObject] = ()
    next_page_token: str | None = None


class Part(Struct, frozen=True):
    """A piece of an answer. `thought`: it is what the model thought, not what it says."""

    text: str | None = None
    thought: bool | None = None


class Content(Struct, frozen=True):
    """What a candidate says; without parts where it was stopped before it said anything."""

    parts: Sequence[Part] | None = None


class Candidate(Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the answers."""

    content: Content | None = None
    finish_reason: str | None = None


class PromptFeedback(Struct, frozen=True, kw_only=True, rename="camel"):
    """What Google thinks of a prompt; with a reason when it was blocked."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class ModalityCount(Struct, frozen=True, rename="camel"):
    """How many of some tokens are of one modality: `TEXT`, `IMAGE`, `VIDEO`, `AUDIO`, `DOCUMENT`."""

    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens. `candidates_token_count` is without the thoughts, `prompt_token_count` with what came from a cache."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: Sequence[ModalityCount] | None = None
    candidates_tokens_details: Sequence[ModalityCount] | None = None
    service_tier: str | None = None


class GenerateAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of an answer of `:generateContent`. What no answer may fail for stays raw."""

    candidates: Sequence[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: Raw = Raw()
    model_version: Raw = Raw()


class Responses(Struct, frozen=True, rename="camel"):
    """The responses in an operation. In an outline (see `scan.py`) there is their number instead."""

    inlined_responses: Sequence[int] = ()


class BatchOutput(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the results of a batch are: in a file, or in the operation itself."""

    responses_file: str | None = None
    inlined_responses: Responses | None = None


class BatchStats(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the requests of a batch stand. What is not there is zero."""

    request_count: str | int | None = None
    successful_request_count: str | int | None = None
    failed_request_count: str | int | None = None


class BatchMetadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operation says of its batch."""

    display_name: str | None = None
    state: str | None = None
    create_time: str | None = None
    batch_stats: BatchStats | None = None
    output: BatchOutput | None = None


class Operation(Struct, frozen=True, kw_only=True, rename="camel"):
    """A batch: a long-running operation. `name` is `batches/<id>`."""

    name: Name
    metadata: BatchMetadata | None = None
    done: bool | None = None
    error: Status | None = None
    response: BatchOutput | None = None


class OperationPage(Struct, frozen=True, kw_only=True, rename="camel"):
    """One page of the list of batches; `{}` where there is none. The last has no token."""

    operations: Sequence[Operation] = ()
    next_page_token: str | None = None
