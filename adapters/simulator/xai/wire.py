"""What xAI's batches look like on the wire. Shapes: `contracts/providers.md` section 4 (20 November 2026)."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Raw, Struct


class BatchState(Struct, frozen=True):
    """How many requests a batch has, and how they stand. There is no word for how the batch itself stands."""

    num_requests: int
    num_pending: int
    num_success: int
    num_error: int
    num_cancelled: int


class CostBreakdown(Struct, frozen=True):
    """What a batch cost, in ticks of 1e-10 USD."""

    total_cost_usd_ticks: int


class BatchObject(Struct, frozen=True, kw_only=True):
    """A batch. Times are RFC 3339."""

    batch_id: str
    name: str
    create_time: str
    expire_time: str
    cancel_time: str | None
    cancel_by_xai_message: str | None
    state: BatchState
    cost_breakdown: CostBreakdown


class BatchList(Struct, frozen=True):
    """A page of batches. `pagination_token` is null on the last one."""

    batches: list[BatchObject]
    pagination_token: str | None


class CreateBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a create. With a file the batch is sealed; without one requests are added later."""

    name: str
    input_file_id: str | None = None


class BatchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request that is added: `batch_request` is `{<variant>: <body>}`."""

    batch_request_id: str
    batch_request: dict[str, Raw]


class AddRequests(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an addition."""

    batch_requests: list[BatchRequest]


def rfc3339(at: float) -> str:
    """A time, given in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
