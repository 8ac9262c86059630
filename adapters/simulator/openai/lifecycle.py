"""OpenAI's batches as they are stored, and as a client sees them; what becomes of them is in `batching.py`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from perdure.adapters.simulator.batch_desk import Record
from perdure.adapters.simulator.batching import DAY_S, Phase, Stage, stage_of, times
from perdure.adapters.simulator.openai.wire import (
    BatchObject,
    LineError,
    LineErrors,
    RequestCounts,
    Usage,
)

WINDOW_S: Final = int(DAY_S)
"""How long a batch may take before it expires: 24 hours, the only completion window (OpenAI's SDK 3.52)."""


class Checked(Struct, frozen=True):
    """What reading the input file found: how many lines, whose model, what is wrong."""

    total: int
    model: str | None
    errors: tuple[LineError, ...] = ()


class Outcome(Struct, frozen=True):
    """What a batch left behind when it ended."""

    output_file_id: str | None = None
    error_file_id: str | None = None
    completed: int = 0
    failed: int = 0
    usage: Usage = Usage()


class BatchRecord(Record, frozen=True, kw_only=True):
    """A batch as stored."""

    endpoint: str
    input_file_id: str
    metadata: dict[str, str] | None
    output_life_s: int | None
    checked: Checked | None = None
    outcome: Outcome | None = None


def stage(record: BatchRecord, now: float) -> Stage:
    """Where the batch stands at `now`. Before the input is `checked` it is taken to be good and of no lines."""
    checked = record.checked
    return stage_of(
        record, now, total=checked.total if checked else 0, is_bad=checked is not None and bool(checked.errors)
    )


def wire(record: BatchRecord, now: float) -> BatchObject:
    """The batch as a client sees it at `now`."""
    at = stage(record, now)
    when = times(record)
    checked, outcome = record.checked, record.outcome
    errors: LineErrors | None = None
    if at.status == "failed":
        fail = record.plan.fail
        planned = () if fail is None else (LineError(fail.code, fail.message, fail.line),)
        errors = LineErrors(planned or (checked.errors if checked else ()))
    total = 0 if checked is None or at.status in ("validating", "failed") else checked.total
    if outcome is None:
        counts = RequestCounts(total, at.done if total else 0, 0)
    else:
        counts = RequestCounts(total, outcome.completed, outcome.failed)
    absent = "" if record.plan.empty_ids else None
    began, finalizing = when.checked, when.worked

    def reached(moment: float, statuses: tuple[Phase, ...]) -> int | None:
        return int(moment) if moment <= at.since and at.status in statuses else None

    later: tuple[Phase, ...] = ("finalizing", "completed", "expired", "cancelling", "cancelled")
    return BatchObject(
        id=record.id,
        endpoint=record.endpoint,
        errors=errors,
        input_file_id=record.input_file_id,
        completion_window="24h",
        status=at.status,
        output_file_id=(outcome.output_file_id if outcome else None) or absent,
        error_file_id=(outcome.error_file_id if outcome else None) or absent,
        created_at=int(record.created_at),
        in_progress_at=reached(began, ("in_progress", *later)),
        expires_at=int(record.created_at) + WINDOW_S,
        finalizing_at=reached(finalizing, later),
        completed_at=int(at.since) if at.status == "completed" else None,
        failed_at=int(at.since) if at.status == "failed" else None,
        expired_at=int(at.since) if at.status == "expired" else None,
        cancelling_at=_cancelling_at(record, at),
        cancelled_at=int(at.since) if at.status == "cancelled" else None,
        request_counts=counts,
        metadata=record.metadata,
        model=checked.model if checked and total else None,
        usage=outcome.usage if outcome else Usage(),
    )


def _cancelling_at(record: BatchRecord, at: Stage) -> int | None:
    if record.cancel_at is None or at.status not in ("cancelling", "cancelled", "expired"):
        return None
    return int(record.cancel_at)
