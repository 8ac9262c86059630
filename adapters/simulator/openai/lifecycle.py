"""What becomes of a batch, and when: pure functions of what is recorded about it and of the time.

    validating ─► in_progress ─► finalizing ─► completed
         └─► failed    └──────────────┴─► cancelling ─► cancelled        (any of them, 24 h after creation) ─► expired

No timer drives a batch. `stage` says where it stands at a time, from its creation, its pace and what was done to it, so
that a restart or a jump of the clock changes nothing.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from perdure.adapters.simulator.openai.wire import (
    BatchObject,
    BatchStatus,
    LineError,
    LineErrors,
    RequestCounts,
    Usage,
)

WINDOW_S: Final = 86_400
"""How long a batch may take before it expires: 24 hours, the only completion window (OpenAI's SDK 3.52)."""

VALIDATING_SHARE: Final = 0.1
WORKING_SHARE: Final = 0.8
"""Which share of a batch's time is spent validating, and which in progress; the rest is spent finalizing. Ours."""

CANCELLING_SHARE: Final = 0.1
"""How long a cancellation takes, as a share of a batch's time. Ours."""

NOT_YET: Final = float("-inf")
"""A time before all that can happen to a batch: at it, every batch is being validated."""

TERMINAL: Final[frozenset[BatchStatus]] = frozenset({"completed", "failed", "expired", "cancelled"})


class Plan(Struct, frozen=True, omit_defaults=True):
    """How a batch goes wrong; nothing set means that it does not. See `faults.py` for each in words.

    `done` is the share of its lines that a batch gets through at most, 0 to 1.
    """

    stuck: Literal["", "validating", "in_progress", "finalizing"] = ""
    done: float = 1.0
    fail: LineError | None = None
    failing: int = 0
    failing_status: int = 500
    shuffled: bool = False
    missing: int = 0
    duplicate: int = 0
    extra: int = 0
    garbled: int = 0
    only_error_file: bool = False
    no_files: bool = False
    empty_ids: bool = False


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


class BatchRecord(Struct, frozen=True, kw_only=True):
    """A batch as stored. Times are seconds by the simulator's clock; `pace_s` is how long it takes without trouble."""

    id: str
    endpoint: str
    input_file_id: str
    metadata: dict[str, str] | None
    created_at: float
    pace_s: float
    output_life_s: int | None
    plan: Plan = Plan()
    cancel_at: float | None = None
    expire_at: float | None = None
    checked: Checked | None = None
    outcome: Outcome | None = None


class Stage(Struct, frozen=True):
    """Where a batch stands. `since` is when it got there; `done` is how many of its lines have ended by then."""

    status: BatchStatus
    since: float
    done: int


def stage(record: BatchRecord, now: float) -> Stage:
    """Where the batch stands at `now`. Before the input is `checked` it is taken to be good and of no lines."""
    times = _times(record)
    found_bad = record.plan.fail is not None or (record.checked is not None and bool(record.checked.errors))
    ends, end = times.end
    if found_bad and times.checked <= min(now, ends):
        return Stage("failed", times.checked, 0)
    if now >= ends:
        return Stage(end, ends, _done(record, times, ends))
    if record.cancel_at is not None and now >= record.cancel_at:
        return Stage("cancelling", record.cancel_at, _done(record, times, now))
    status, since = _working(times, now)
    return Stage(status, since, _done(record, times, now))


def input_due(record: BatchRecord, now: float) -> bool:
    """Whether the input must have been read by `now`: validation is over, or the batch has ended."""
    times = _times(record)
    return now >= min(times.checked, times.end[0])


def wire(record: BatchRecord, now: float) -> BatchObject:
    """The batch as a client sees it at `now`."""
    at = stage(record, now)
    times = _times(record)
    checked, outcome = record.checked, record.outcome
    errors: LineErrors | None = None
    if at.status == "failed":
        planned = () if record.plan.fail is None else (record.plan.fail,)
        errors = LineErrors(planned or (checked.errors if checked else ()))
    total = 0 if checked is None or at.status in ("validating", "failed") else checked.total
    if outcome is None:
        counts = RequestCounts(total, at.done if total else 0, 0)
    else:
        counts = RequestCounts(total, outcome.completed, outcome.failed)
    absent = "" if record.plan.empty_ids else None
    began, finalizing = times.checked, times.worked

    def reached(moment: float, statuses: tuple[BatchStatus, ...]) -> int | None:
        return int(moment) if moment <= at.since and at.status in statuses else None

    later: tuple[BatchStatus, ...] = ("finalizing", "completed", "expired", "cancelling", "cancelled")
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


class _Times(Struct, frozen=True):
    checked: float
    worked: float
    end: tuple[float, BatchStatus]


_NEVER: Final = float("inf")


def _times(record: BatchRecord) -> _Times:
    created, pace, stuck = record.created_at, record.pace_s, record.plan.stuck
    checked = _NEVER if stuck == "validating" else created + VALIDATING_SHARE * pace
    worked = _NEVER if stuck == "in_progress" else checked + WORKING_SHARE * pace
    completed = _NEVER if stuck == "finalizing" or worked == _NEVER else created + pace
    ends: list[tuple[float, BatchStatus]] = [(completed, "completed"), (created + WINDOW_S, "expired")]
    if record.expire_at is not None:
        ends.append((record.expire_at, "expired"))
    if record.cancel_at is not None:
        # A cancellation that came in time wins over the completion that would have come while it goes on.
        ends[0] = (_NEVER, "completed")
        ends.append((record.cancel_at + CANCELLING_SHARE * pace, "cancelled"))
    return _Times(checked, worked, min(ends))


def _working(times: _Times, now: float) -> tuple[BatchStatus, float]:
    if now >= times.worked:
        return "finalizing", times.worked
    if now >= times.checked:
        return "in_progress", times.checked
    return "validating", NOT_YET


def _done(record: BatchRecord, times: _Times, at: float) -> int:
    total = record.checked.total if record.checked else 0
    ends, end = times.end
    if end == "completed" and at >= ends:
        return total
    if record.cancel_at is not None:
        at = min(at, record.cancel_at)
    if at < times.checked:
        return 0
    working_s = WORKING_SHARE * record.pace_s
    share = (at - times.checked) / working_s if working_s > 0 else 1.0
    return int(total * min(share, record.plan.done))


def _cancelling_at(record: BatchRecord, at: Stage) -> int | None:
    if record.cancel_at is None or at.status not in ("cancelling", "cancelled", "expired"):
        return None
    return int(record.cancel_at)
