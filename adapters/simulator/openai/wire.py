"""What OpenAI's objects look like on the wire, and what is kept about them beside that.

`…Record` is what the simulator stores; its `wire` is what a client sees. Times are whole seconds since 1970. The shapes
are those of OpenAI's Python SDK 3.52 (November 2026).
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

FilePurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
"""The purposes that a client may give."""

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]

PLAYED_ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings")
"""Endpoints that the lines of a batch may name and that the simulator answers."""

OTHER_ENDPOINTS = (
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)
"""Endpoints that OpenAI would take for a batch and the simulator refuses, because it does not play them."""


class Deleted(Struct, frozen=True):
    """The answer to a deletion."""

    id: str
    object: str
    deleted: bool = True


class FileObject(Struct, frozen=True):
    """A file."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None
    object: Literal["file"] = "file"
    status: Literal["uploaded", "processed", "error"] = "processed"
    status_details: str | None = None


class UploadObject(Struct, frozen=True):
    """An upload in parts. `bytes` is the announced size of the whole."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: UploadStatus
    expires_at: int
    file: FileObject | None = None
    object: Literal["upload"] = "upload"


class UploadRecord(Struct, frozen=True):
    """An upload as stored. `expires_after_s` is the life of the file that it will become, None for the usual one."""

    wire: UploadObject
    expires_after_s: int | None


class PartObject(Struct, frozen=True):
    """A part of an upload."""

    id: str
    created_at: int
    upload_id: str
    object: Literal["upload.part"] = "upload.part"


class PartRecord(Struct, frozen=True):
    """A part as stored."""

    wire: PartObject
    size_bytes: int


class RequestCounts(Struct, frozen=True):
    """How many lines there are and how many of them ended, and how."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class LineError(Struct, frozen=True):
    """What is wrong with a line of an input file, or with the file when `line` is None."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class LineErrors(Struct, frozen=True):
    """The list of what is wrong with an input file."""

    data: tuple[LineError, ...]
    object: Literal["list"] = "list"


class InputDetails(Struct, frozen=True):
    """How much of the input came from a cache: never any."""

    cached_tokens: int = 0


class OutputDetails(Struct, frozen=True):
    """How much of the output was reasoning: never any."""

    reasoning_tokens: int = 0


class Usage(Struct, frozen=True):
    """Tokens, as responses and batches report them. `cost_in_usd_ticks` is xAI's alone, in 1e-10 USD."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: InputDetails = InputDetails()
    output_tokens_details: OutputDetails = OutputDetails()
    cost_in_usd_ticks: int | UnsetType = UNSET


class BatchObject(Struct, frozen=True, kw_only=True):
    """A batch."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: LineErrors | None = None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    metadata: dict[str, str] | None = None
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
