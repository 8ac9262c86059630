"""Given these events, when this command, then those events: batches in each phase, and commands, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from perdure.actors.batch.decide import decide as judge
from perdure.actors.batch.state import BatchState, evolve, initial
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchClosed,
    BatchFinished,
    BatchOpened,
    BatchOverdue,
    BatchSubmitted,
    CancelRequested,
    CollectLines,
    EndPart,
    FileAsked,
    FileNotNeeded,
    FileReady,
    FileResumeAsked,
    FileTroubled,
    LineAnswered,
    LineFailed,
    LineNote,
    LinesAbandoned,
    LinesCollected,
    NoteLineAnswered,
    NotePolled,
    NoteSubmitted,
    OpenBatch,
    Part,
    PartDeferred,
    PartEnded,
    PartResubmitted,
    PartSettled,
    PollTroubled,
    ResultsTaken,
    Settlement,
    SettlePart,
    TakeResults,
)
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.purchase import PurchaseIntended, PurchaseLost, PurchaseRefused, PurchaseUncertain
from tests.actors.living import EPOCH_US

ACTOR: Final = "batch_01a1fa39cd147898aeae77659cbbeee3"
AT: Final = EPOCH_US
BLOB: Final = "b" * 64
LINES: Final = 4

_OPENED: Final[Mapping[str, Any]] = {
    "provider": "openai",
    "endpoint": "/v1/responses",
    "model": "m",
    "credential": "default",
    "max_lines": 50_000,
    "max_bytes": 200_000_000,
    "window_us": 86_400 * SECOND_US,
    "settle_us": 5 * SECOND_US,
    "every_us": 30 * SECOND_US,
    "searchable": True,
}


def opened(**changes: Any) -> BatchOpened:
    """The first event of a batch."""
    return BatchOpened(**{**_OPENED, **changes})


def open_batch(**changes: Any) -> OpenBatch:
    """The command that opens it."""
    return OpenBatch(**{**_OPENED, **changes})


def collected(first: int = 0, count: int = LINES, length: int = 10, notes: Sequence[LineNote] = ()) -> LinesCollected:
    """A run of lines."""
    names = [f"r-{number}" for number in range(first, first + count)]
    return LinesCollected(first=first, blob=BLOB, names=names, lengths=[length] * count, notes=notes)


def collect(
    first: int = 0, count: int = LINES, length: int = 10, blob: str = BLOB, notes: Sequence[LineNote] = ()
) -> CollectLines:
    """The command that adds a run of lines."""
    names = [f"r-{number}" for number in range(first, first + count)]
    return CollectLines(first=first, blob=blob, names=names, lengths=[length] * count, notes=notes)


def closed(count: int = LINES, *parts: Part, direct: bool = False) -> BatchClosed:
    """The window is closed; one part unless others are given, or its lines go live."""
    if direct:
        return BatchClosed(lines=count, parts=(), direct=True)
    return BatchClosed(lines=count, parts=parts or (Part(0, count - 1, 10 * count),))


def submitted(
    part: int = 0, batch: str = "p-1", at: int = AT, hint_us: int = 0, reconciled: bool = False
) -> BatchSubmitted:
    """The provider has a part."""
    return BatchSubmitted(part=part, attempt=1, provider_batch=batch, at=at, hint_us=hint_us, reconciled=reconciled)


def intended(attempt: int = 1, ordinal: int = 0) -> PurchaseIntended:
    """A purchase is about to leave."""
    return PurchaseIntended(ordinal=ordinal, attempt=attempt, identity="i", at=AT)


def ended(status: Any = "completed", code: str = "batch_item_missing", sources: Sequence[str] = ("out",)) -> PartEnded:
    """A part came to its end."""
    return PartEnded(part=0, status=status, code=code, sources=sources)


def end(status: Any = "completed", **changes: Any) -> EndPart:
    """The report of it."""
    fields: dict[str, Any] = {"part": 0, "status": status, "code": "c", "message": "m", "sources": ("out",)}
    return EndPart(**{**fields, **changes})


def take(*numbers: int, **changes: Any) -> TakeResults:
    """The report of a run of results."""
    fields: dict[str, Any] = {
        "part": 0,
        "source": 0,
        "behind": 0,
        "cursor": 100,
        "blob": BLOB,
        "numbers": numbers,
        "offsets": [10 * place for place in range(len(numbers))],
        "lengths": [9] * len(numbers),
        "failed": (),
        "foreign": 0,
        "unreadable": 0,
    }
    return TakeResults(**{**fields, **changes})


def taken(*numbers: int, failed: Sequence[int] = ()) -> ResultsTaken:
    """A run of results is durable."""
    return ResultsTaken(
        part=0,
        source=0,
        cursor=100,
        blob=BLOB,
        numbers=numbers,
        offsets=[0] * len(numbers),
        lengths=[9] * len(numbers),
        failed=failed,
    )


def settle(**changes: Any) -> SettlePart:
    """The report that all sources were read."""
    fields: dict[str, Any] = {"part": 0, "code": "c", "blob": BLOB, "offset": 0, "length": 5}
    return SettlePart(**{**fields, **changes})


def settled(*ranges: tuple[int, int]) -> PartSettled:
    """Every line of the part has an answer or an error."""
    return PartSettled(part=0, settlements=[Settlement("c", ranges, BLOB, 0, 5)] if ranges else [])


def abandoned(*ranges: tuple[int, int], reason: str = "caller") -> LinesAbandoned:
    """Nobody waits for these lines any more."""
    return LinesAbandoned(ranges=ranges, reason=reason)


def answer(number: int, *, attempt: int = 1, ok: bool = True) -> NoteLineAnswered:
    """The report of an answer to a line that went live."""
    return NoteLineAnswered(number=number, attempt=attempt, blob=BLOB, length=9, ok=ok)


def answered(number: int, *, ok: bool = True, late: str = "") -> LineAnswered:
    """A line that went live has an answer."""
    return LineAnswered(number=number, attempt=1, blob=BLOB, length=9, ok=ok, late=late)


def polled(status: str = "processing", completed: int = 0, failed: int = 0, total: int = LINES) -> NotePolled:
    """The report of a poll."""
    return NotePolled(part=0, status=status, total=total, completed=completed, failed=failed)


def sold(batch: str = "p-1", attempt: int = 1) -> NoteSubmitted:
    """The report of a purchase."""
    return NoteSubmitted(part=0, attempt=attempt, provider_batch=batch)


COLLECTING: Final[Sequence[Event]] = (opened(), collected())
CLOSED: Final[Sequence[Event]] = (*COLLECTING, closed())
FILING: Final[Sequence[Event]] = (*CLOSED, FileAsked(part=0, file="pfile_1"))
READY: Final[Sequence[Event]] = (*FILING, FileReady(part=0, provider_file="f-1"))
INTENDED: Final[Sequence[Event]] = (*READY, intended())
DOUBTFUL: Final[Sequence[Event]] = (*INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="cut"))
LOST: Final[Sequence[Event]] = (*DOUBTFUL, PurchaseLost(ordinal=0, attempt=1))
REFUSED: Final[Sequence[Event]] = (
    *READY,
    PurchaseRefused(ordinal=0, attempt=1, reason="auth", at=AT, retry_at=AT + 300 * SECOND_US, blocked=True),
)
SUBMITTED: Final[Sequence[Event]] = (*INTENDED, submitted())
ENDED: Final[Sequence[Event]] = (*SUBMITTED, ended())
FINISHED: Final[Sequence[Event]] = (
    *ENDED,
    taken(0, 1, 2),
    settled((3, 3)),
    BatchFinished(status="succeeded", ok=3, failed=1),
)
LATE: Final = AT + 90_001 * SECOND_US
OVERDUE: Final[Sequence[Event]] = (*SUBMITTED, BatchOverdue(part=0, provider_batch="p-1", at=LATE))
DEFERRED: Final[Sequence[Event]] = (
    *SUBMITTED,
    PartDeferred(part=0, provider_batch="p-1", at=AT, retry_at=AT + 60 * SECOND_US, code="token_limit_exceeded"),
)
RESCUING: Final[Sequence[Event]] = (
    opened(resubmit=1),
    *SUBMITTED[1:],
    ended("expired", "batch_expired"),
    taken(0, 1),
)
RESUBMITTED: Final[Sequence[Event]] = (
    *RESCUING,
    PartResubmitted(part=0, round=1, provider_batch="p-1", status="expired"),
)
CANCELLING: Final[Sequence[Event]] = (*SUBMITTED, CancelRequested(reason="caller", at=AT))

DIRECT: Final[Sequence[Event]] = (*COLLECTING, closed(direct=True))
DIRECT_INTENDED: Final[Sequence[Event]] = (*DIRECT, intended())
DIRECT_DOUBTFUL: Final[Sequence[Event]] = (*DIRECT_INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="cut"))
DIRECT_FAILED: Final[Sequence[Event]] = (*DIRECT_INTENDED, LineFailed(number=0, code="invalid_request"))

PHASES: Final[Mapping[str, Sequence[Event]]] = {
    "new": (),
    "collecting": COLLECTING,
    "closed": CLOSED,
    "filing": FILING,
    "inline": (*CLOSED, FileNotNeeded(part=0)),
    "file blocked": (*FILING, FileTroubled(part=0, error="no key", at=AT)),
    "file resumed": (*FILING, FileTroubled(part=0, error="no key", at=AT), FileResumeAsked(part=0)),
    "ready": READY,
    "refused": REFUSED,
    "intended": INTENDED,
    "doubtful": DOUBTFUL,
    "lost": LOST,
    "submitted": SUBMITTED,
    "troubled": (*SUBMITTED, PollTroubled(part=0, error="503", at=AT)),
    "overdue": OVERDUE,
    "deferred": DEFERRED,
    "rescuing": RESCUING,
    "resubmitted": RESUBMITTED,
    "cancelling": CANCELLING,
    "ended": ENDED,
    "finished": FINISHED,
    "nobody waits": (*SUBMITTED, abandoned((0, 3))),
    "direct": DIRECT,
    "direct intended": DIRECT_INTENDED,
    "direct doubtful": DIRECT_DOUBTFUL,
    "direct failed": DIRECT_FAILED,
    "direct owing to nobody": (*DIRECT_INTENDED, abandoned((0, 3))),
}


def fold(*events: Event) -> BatchState:
    """The state after `events`."""
    state = initial(ACTOR, "")
    for event in events:
        state = evolve(state, event)
    assert state.anomalies == 0, "what is given cannot have happened"
    return state


def when(given: Sequence[Event], command: Command, at: int = AT) -> list[Event]:
    """What happens when `command` reaches the batch to which `given` happened."""
    return list(judge(fold(*given), command, at))


def names(events: Sequence[Event]) -> str:
    """The types of events, as a table shows them."""
    return " ".join(type(event).__name__ for event in events)
