"""xAI's batches as they come. Lenient: unknown fields are let pass, missing ones have defaults, counts may be text.

Shapes: `contracts/providers.md` section 4 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Raw, Struct

from perdure.adapters.openai_compatible.wire import AnswerBody, Id


class Counts(Struct, frozen=True):
    """How many requests a batch has and how they stand; a count that is null or absent is none, but for `num_pending`:
    what is pending then is what is nothing else."""

    num_requests: int | None = None
    num_pending: int | None = None
    num_success: int | None = None
    num_error: int | None = None
    num_cancelled: int | None = None


class BatchObject(Struct, frozen=True, kw_only=True):
    """A batch. Times are RFC 3339; one that is null or empty has not come."""

    batch_id: Id
    name: str | None = None
    create_time: str | None = None
    expire_time: str | None = None
    cancel_time: str | None = None
    state: Counts | None = None


class BatchPage(Struct, frozen=True):
    """One page of the list; a token that is null or empty says that it is the last."""

    batches: Sequence[BatchObject]
    pagination_token: str | None = None


class ResultPage(Struct, frozen=True):
    """One page of results, each as xAI wrote it."""

    results: Sequence[Raw]
    pagination_token: str | None = None


class ResultError(Struct, frozen=True):
    """Why a request has no answer. A `code` of 0 and no message: it has one."""

    code: int | str | None = None
    message: str | None = None


class BatchResult(Struct, frozen=True):
    """What became of a request: `response` is `{<variant>: <body>}`."""

    response: Mapping[str, Raw] | None = None
    error: ResultError | None = None


class Result(Struct, frozen=True):
    """A result."""

    batch_request_id: str
    batch_result: BatchResult | None = None
    error_message: str | None = None


class ReadResponse(Struct, frozen=True, forbid_unknown_fields=True):
    """As `BatchResult.response`, with the body of the one variant that texts come in read in the same pass."""

    chat_get_completion: AnswerBody


class ReadBatchResult(Struct, frozen=True):
    """As `BatchResult`, read in one pass: what nearly every result is."""

    response: ReadResponse
    error: ResultError | None = None


class ReadResult(Struct, frozen=True):
    """As `Result`, read in one pass."""

    batch_request_id: str
    batch_result: ReadBatchResult
