"""How a batch of xAI stands: its counts say it, and the times when it expires and was cancelled. Pure.

A sealed batch shows no requests until its file has been read; an unsealed one begins when the last request was added.
What was not done when a batch expired stays pending for ever.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from perdure.adapters.simulator.batch_desk import Record
from perdure.adapters.simulator.batching import DAY_S, Stage, stage_of
from perdure.adapters.simulator.xai.wire import BatchObject, BatchState, CostBreakdown, rfc3339


class Outcome(Struct, frozen=True):
    """What a batch left behind when it ended: how its requests did, what they cost, how long its results are."""

    success: int = 0
    error: int = 0
    cost_ticks: int = 0
    size_bytes: int = 0


class BatchRecord(Record, frozen=True, kw_only=True):
    """A batch as stored. `created_at` is when its work began, `made_at` when it was made.

    `total` and `size_bytes` are of its input.
    """

    name: str
    made_at: float
    sealed: bool
    total: int = 0
    size_bytes: int = 0
    outcome: Outcome | None = None


def stage(record: BatchRecord, now: float) -> Stage:
    """Where the batch stands at `now`. Without requests it waits for some until it is cancelled or expires."""
    if not record.total:
        record = replace(record, plan=replace(record.plan, stuck="validating", fail=None))
    return stage_of(record, now, total=record.total, is_bad=False)


def shown(record: BatchRecord, now: float) -> BatchObject:
    """The batch as a client sees it at `now`."""
    at = stage(record, now)
    total = 0 if record.sealed and at.status == "validating" else record.total
    # Nothing pending says that the results are there: until they are the last request is, whatever the stage.
    success, error, cancelled = max(0, min(at.done, total - 1)), 0, 0
    cost_ticks = 0
    if record.outcome is not None:
        success, error, cost_ticks = record.outcome.success, record.outcome.error, record.outcome.cost_ticks
    if at.status == "cancelled":
        cancelled = total - success - error
    was_cancelled = record.cancel_at is not None and now >= record.cancel_at
    absent = "" if record.plan.empty_ids else None
    return BatchObject(
        batch_id=record.id,
        name=record.name,
        create_time=rfc3339(record.made_at),
        expire_time=rfc3339(record.made_at + DAY_S if record.expire_at is None else record.expire_at),
        cancel_time=rfc3339(record.cancel_at) if record.cancel_at is not None and was_cancelled else absent,
        cancel_by_xai_message=absent,
        state=BatchState(total, total - success - error - cancelled, success, error, cancelled),
        cost_breakdown=CostBreakdown(cost_ticks),
    )
