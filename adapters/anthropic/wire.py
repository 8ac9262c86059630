"""Anthropic's objects as they come: only what is used, and lenient about all of it.

Unknown fields and words are let pass and missing ones have defaults, for the provider is the author. Times are RFC 3339
text. Shapes: `contracts/providers.md` section 2, read in Anthropic's Python SDK 2.11 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Raw, Struct

Id = Annotated[str, Meta(min_length=1)]
Time = Annotated[datetime, Meta(tz=True)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime | None) -> int | None:
    """A time in µs since 1970 UTC."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


class FileObject(Struct, frozen=True, kw_only=True):
    """A file."""

    id: Id
    filename: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    created_at: Time | None = None
    expires_at: Time | None = None


class FilePage(Struct, frozen=True):
    """One page of the list of files. `next_page` is null for the last one; `has_more` stands only in the list as the
    beta had it, which goes on in another way."""

    data: Sequence[FileObject]
    next_page: str | None = None
    has_more: bool | None = None


class Deleted(Struct, frozen=True):
    """The answer to a deletion."""

    type: str | None = None


class Details(Struct, frozen=True):
    """What a program may go by."""

    error_code: str | None = None


class ErrorBody(Struct, frozen=True):
    """Inside of `{"type": "error", "error": …}`."""

    type: str | None = None
    message: str | None = None
    details: Details | None = None


class ErrorAnswer(Struct, frozen=True):
    """The body of a refusal."""

    error: ErrorBody | None = None


class Block(Struct, frozen=True):
    """A piece of an answer: `text` in a `text`; others are thoughts and calls of tools."""

    type: str = ""
    text: str | None = None


class MessageBody(Struct, frozen=True, kw_only=True):
    """An answer. What is only passed on stays raw."""

    type: str | None = None
    content: Sequence[Block] | None = None
    stop_reason: str | None = None
    error: Raw = Raw()
    model: Raw = Raw()
    usage: Raw = Raw()


class OutputDetails(Struct, frozen=True):
    """Which of the written tokens were thoughts."""

    thinking_tokens: int | None = None


class CacheCreation(Struct, frozen=True):
    """Which of the tokens that went into the cache are kept for an hour."""

    ephemeral_1h_input_tokens: int | None = None


class UsageBody(Struct, frozen=True, kw_only=True):
    """Tokens. `input_tokens` are only those that neither came from the cache nor went into it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None
    cache_creation: CacheCreation | None = None
    service_tier: str | None = None


class BatchCounts(Struct, frozen=True):
    """How many requests of a batch ended how; all but `processing` stay 0 until the batch has ended."""

    processing: int | None = None
    succeeded: int | None = None
    errored: int | None = None
    canceled: int | None = None
    expired: int | None = None


class BatchObject(Struct, frozen=True, kw_only=True):
    """A message batch."""

    id: Id
    processing_status: str | None = None
    request_counts: BatchCounts | None = None
    created_at: Time | None = None
    archived_at: Time | None = None
    results_url: str | None = None


class BatchPage(Struct, frozen=True):
    """One page of the list of batches."""

    data: Sequence[BatchObject]
    has_more: bool | None = None
    last_id: str | None = None


class ReadResult(Struct, frozen=True):
    """What became of a request, where it holds nothing unexpected: the fast way to judge a line."""

    type: str | None = None
    message: MessageBody | None = None


class ReadLine(Struct, frozen=True):
    """A line of results, likewise."""

    custom_id: str
    result: ReadResult


class Result(Struct, frozen=True):
    """What became of a request: what is only passed on stays raw."""

    type: str | None = None
    message: Raw = Raw()
    error: Raw = Raw()


class ResultLine(Struct, frozen=True):
    """A line of results. `result` may be anything."""

    custom_id: str
    result: Raw = Raw()
