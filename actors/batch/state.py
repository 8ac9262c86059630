"""The batch's state and its fold: what it knows, rebuilt from its events.

O(1) plus bitmaps, parts and chunks: lines are numbers here, their bytes lie in blobs. `evolve` owns the state it is
given and changes it in place; it is total and never raises.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Literal

from msgspec import Struct, field

from perdure.actors.batch.bitmap import Bitmap
from perdure.actors.batch.direct.state import Direct
from perdure.actors.purchase import SECOND_US, Purchase
from perdure.events.batch import (
    BATCH_EVENTS,
    BatchClosed,
    BatchDiscarded,
    BatchFinished,
    BatchOpened,
    BatchOverdue,
    BatchPolled,
    BatchSubmitted,
    CancelRequested,
    CancelSent,
    DuplicateCancelled,
    FileAsked,
    FileNotNeeded,
    FileReady,
    FileResumeAsked,
    FileResumed,
    FileTroubled,
    LineAnswered,
    LineFailed,
    LinesAbandoned,
    LinesCollected,
    LineSettled,
    Part,
    PartDeferred,
    PartEnded,
    PartResubmitted,
    PartSettled,
    PollRecovered,
    PollTroubled,
    ResultsTaken,
    Settlement,
)
from perdure.events.codec import Codec
from perdure.events.cost import CostRecorded
from perdure.events.event import Event
from perdure.events.file_warnings import FILE_WARNINGS
from perdure.events.ids import derived_id
from perdure.events.purchase import PURCHASE_EVENTS, DuplicatePurchase
from perdure.events.supervision import SUPERVISION_EVENTS

KIND = "batch"
FOLD = 5

CODEC: Codec[Event] = Codec(KIND, (*BATCH_EVENTS, *FILE_WARNINGS, CostRecorded, *PURCHASE_EVENTS, *SUPERVISION_EVENTS))

FILE_KIND = "provider_file"
FILE_ID = "pfile"
"""The kind, and the prefix of the ids, of the file actors that a batch asks for its parts' files."""

FIRST_POLLS_US = ((10, 30 * SECOND_US), (100, 60 * SECOND_US), (1_000, 300 * SECOND_US))
"""The first poll by batch size, below each bound; the seed's table (contract, section 4.3)."""

LONGEST_FIRST_POLL_US = 600 * SECOND_US

STATUSES = {"completed": "succeeded"}
WORST_FIRST = ("failed", "expired", "cancelled", "completed")


def first_poll_us(lines: int) -> int:
    """How long after its submission a batch of `lines` is asked about first, in µs."""
    return next((wait for bound, wait in FIRST_POLLS_US if lines < bound), LONGEST_FIRST_POLL_US)


class Chunk(Struct):
    """A run of collected lines: its first number, how many, the blob they fill, its bytes."""

    first: int
    count: int
    blob: str
    size_bytes: int


class Due(Struct):
    """The lines whose callers wait until `at` (µs since 1970 UTC), as ranges with both ends included."""

    at: int
    ranges: list[tuple[int, int]]


class PartState(Struct):
    """One part on its way. `phase`: `closed`, `filing`, `ready`, `submitted`, `ended`, `settled`; µs since 1970 UTC.

    `inline`: it has no input file, its lines go into the call that creates its batch. `left_out` are the lines that it
    is bought without: they were abandoned before the window closed. `given_up`
    is why the last of its lines was abandoned, "" while somebody waits for one.

    A part may be bought several times, one after the other: `past` are its batches that are over, `since_attempt` is
    the first attempt of the purchase that goes on, `round` counts those that came of unfinished lines, and `deferrals`
    those that came of want of room there, which began at `deferred_since`. `overdue_at`: since when the provider is
    late.
    """

    number: int
    part: Part
    purchase: Purchase
    phase: str = "closed"
    inline: bool = False
    file: str = ""
    provider_file: str = ""
    provider_batch: str = ""
    submitted_at: int = 0
    hint_us: int = 0
    reconciled: bool = False
    status: str = ""
    total: int = 0
    completed: int = 0
    failed: int = 0
    trouble: str = ""
    troubled_since: int = 0
    blocked: str = ""
    resumes: int = 0
    resume_file: bool = False
    cancel_sent_at: int = 0
    end: PartEnded | None = None
    source: int = 0
    cursor: int = 0
    left_out: Sequence[tuple[int, int]] = ()
    given_up: str = ""
    past: list[str] = field(default_factory=list[str])
    since_attempt: int = 1
    round: int = 0
    deferrals: int = 0
    deferred_since: int = 0
    overdue_at: int = 0


class BatchState(Struct):
    """A batch. `phase`: `new`, `collecting`, `closed`, `discarded`, `finished`.

    `settled` are the lines with an answer, an error or nobody who waits for them; `abandoned` counts the last.
    `cancelled` and `expired` are the abandoned ones without an answer so far. `deadlines` are in order of time, and the
    first begins with a line that is open. `direct` is there when its lines go live.
    """

    actor: str
    tenant: str
    phase: str = "new"
    opened: BatchOpened | None = None
    lines: int = 0
    size_bytes: int = 0
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    parts: list[PartState] = field(default_factory=list[PartState])
    settled: Bitmap = field(default_factory=Bitmap)
    cancelled: Bitmap = field(default_factory=Bitmap)
    expired: Bitmap = field(default_factory=Bitmap)
    deadlines: list[Due] = field(default_factory=list[Due])
    direct: Direct | None = None
    ok: int = 0
    failed: int = 0
    abandoned: int = 0
    extra: int = 0
    duplicate: int = 0
    unreadable: int = 0
    cancel: str = ""
    cancel_at: int = 0
    unwanted: list[str] = field(default_factory=list[str])
    status: str = ""
    anomalies: int = 0

    @property
    def open(self) -> int:
        """How many lines are not settled."""
        return self.lines - self.ok - self.failed

    def is_settled(self, number: int) -> bool:
        """Whether line `number` has an answer or an error, or nobody waits for it."""
        return number in self.settled

    def awaits_answer(self, number: int) -> str:
        """How a line was abandoned, `cancelled` or `expired`, for which no answer has come; "" for all others."""
        return "cancelled" if number in self.cancelled else "expired" if number in self.expired else ""

    def open_in(self, first: int, last: int) -> int:
        """How many of the lines `first` to `last` are not settled."""
        return last - first + 1 - self.settled.count(first, last)

    def open_ranges(self, part: Part) -> list[tuple[int, int]]:
        """The lines of a part that are not settled, as ranges with both ends included."""
        return self.settled.gaps(part.first, part.last)

    def part_of(self, number: int) -> PartState | None:
        """The part that line `number` belongs to."""
        place = bisect_right(self.parts, number, key=lambda part: part.part.first) - 1
        part = self.parts[place] if place >= 0 else None
        return part if part is not None and number <= part.part.last else None


def initial(actor: str, tenant: str) -> BatchState:
    """The state before the window opens."""
    return BatchState(actor=actor, tenant=tenant)


def evolve(state: BatchState, event: Event) -> BatchState:
    """Folds one event."""
    match event:
        case ResultsTaken():
            _take(state, event)
        case LinesCollected() if state.phase == "collecting":
            _collect(state, event)
        case BatchOpened() if state.phase == "new":
            state.opened, state.phase = event, "collecting"
        case BatchClosed() if state.phase == "collecting":
            _close(state, event)
        case LinesAbandoned():
            _abandon(state, event)
        case BatchDiscarded() if state.phase == "collecting":
            state.phase, state.status = "discarded", gone_as(state.cancel)
        case CancelRequested():
            state.cancel, state.cancel_at = event.reason, event.at
        case DuplicateCancelled():
            if event.provider_batch in state.unwanted:
                state.unwanted.remove(event.provider_batch)
        case CostRecorded():
            pass  # it is added up by the read models
        case BatchFinished() if state.phase == "closed":
            state.phase, state.status = "finished", event.status
        case DuplicatePurchase() if state.direct is not None:
            state.duplicate += 1
        case DuplicatePurchase():
            if event.provider_id not in state.unwanted:
                state.unwanted.append(event.provider_id)
        case LineAnswered():
            _answer(state, event)
        case LineSettled():
            state.failed += _mark(state, event.number)
        case LineFailed():
            _evolve_line(state, event.number, event)
        case _ if isinstance(event, FILE_WARNINGS):
            pass  # they are for people
        case _ if isinstance(event, PURCHASE_EVENTS):
            if state.direct is not None:
                _evolve_line(state, event.ordinal, event)
            elif (part := _part(state, event.ordinal)) is not None:
                part.purchase.evolve(event)
        case _:
            _evolve_part(state, event)
    if state.direct is not None:
        state.direct.refill(state.settled, state.lines)
    _drop_settled_deadlines(state)
    return state


def _collect(state: BatchState, event: LinesCollected) -> None:
    count, size_bytes = len(event.lengths), sum(event.lengths)
    state.chunks.append(Chunk(event.first, count, event.blob, size_bytes))
    state.lines += count
    state.size_bytes += size_bytes
    for note in event.notes:
        if note.deadline_at and 0 <= note.number < state.lines:
            _add_deadline(state.deadlines, note.deadline_at, note.number)


def _add_deadline(deadlines: list[Due], at: int, number: int) -> None:
    place = bisect_left(deadlines, at, key=attrgetter("at"))
    if place == len(deadlines) or deadlines[place].at != at:
        deadlines.insert(place, Due(at, [(number, number)]))
        return
    ranges = deadlines[place].ranges
    first, last = ranges[-1]
    if number == last + 1:
        ranges[-1] = (first, number)
    else:
        ranges.append((number, number))


def _drop_settled_deadlines(state: BatchState) -> None:
    """Takes lines that are settled from the front of the first deadline; each line is looked at once."""
    while state.deadlines:
        ranges = state.deadlines[0].ranges
        while ranges:
            first, last = ranges[0]
            while first <= last and first in state.settled:
                first += 1
            if first <= last:
                ranges[0] = (first, last)
                return
            ranges.pop(0)
        state.deadlines.pop(0)


def _close(state: BatchState, event: BatchClosed) -> None:
    state.phase = "closed"
    if event.direct:
        state.direct = Direct()
    state.parts = [
        PartState(
            number=number,
            part=part,
            purchase=Purchase(ordinal=number),
            left_out=state.settled.runs(part.first, part.last),
        )
        for number, part in enumerate(event.parts)
    ]


def _abandon(state: BatchState, event: LinesAbandoned) -> None:
    gone = state.expired if event.reason == "deadline" else state.cancelled
    for number in _within(state, event.ranges):
        if _mark(state, number):
            gone.add(number)
            state.failed += 1
            state.abandoned += 1
    for part in state.parts:
        under_way = part.phase not in ("ended", "settled")
        if under_way and not part.given_up and not state.open_in(part.part.first, part.part.last):
            part.given_up = event.reason


def _within(state: BatchState, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The numbers of ranges that are lines of the batch."""
    for first, last in ranges:
        yield from range(max(first, 0), min(last + 1, state.lines))


def _answer(state: BatchState, event: LineAnswered) -> None:
    line = state.direct.find(event.number) if state.direct is not None else None
    if line is not None:
        line.purchase.phase = "bought"
    if event.late:
        _keep_late(state, event.number)
    elif _mark(state, event.number):
        state.ok += event.ok
        state.failed += not event.ok


def _keep_late(state: BatchState, number: int) -> None:
    """An answer came for a line that was abandoned: no second one is taken."""
    if not (state.cancelled.discard(number) or state.expired.discard(number)):
        state.anomalies += 1


def _evolve_line(state: BatchState, number: int, event: Event) -> None:
    if state.direct is None or not state.direct.evolve(number, event):
        state.anomalies += 1


def _part(state: BatchState, number: int) -> PartState | None:
    if 0 <= number < len(state.parts):
        return state.parts[number]
    state.anomalies += 1
    return None


def _evolve_part(state: BatchState, event: Event) -> None:
    part = _part(state, getattr(event, "part", -1))
    if part is None:
        return
    match event:
        case FileAsked():
            part.phase, part.file = "filing", event.file
        case FileReady():
            part.phase, part.provider_file = "ready", event.provider_file
            part.blocked, part.resume_file = "", False
        case FileNotNeeded():
            part.phase, part.inline = "ready", True
        case FileTroubled():
            part.blocked = event.error
        case FileResumeAsked():
            part.blocked, part.resume_file = "", True
            part.resumes += 1
        case FileResumed():
            part.resume_file = False
        case BatchSubmitted():
            part.purchase.phase = "bought"
            part.phase, part.provider_batch = "submitted", event.provider_batch
            part.submitted_at, part.hint_us, part.status = event.at, event.hint_us, "pending"
            part.reconciled = event.reconciled
        case BatchPolled():
            part.status = event.status
            part.total, part.completed, part.failed = event.total, event.completed, event.failed
        case PollTroubled():
            part.trouble, part.troubled_since = event.error, part.troubled_since or event.at
            part.blocked = event.error if event.blocked else ""
        case PollRecovered():
            part.resumes += bool(part.blocked)
            part.trouble, part.troubled_since, part.blocked = "", 0, ""
        case CancelSent():
            part.cancel_sent_at = event.at
        case BatchOverdue():
            part.overdue_at = event.at
        case PartDeferred():
            _begin_again(part, "ready", event.retry_at)
            part.deferrals += 1
            part.deferred_since = part.deferred_since or event.at
        case PartResubmitted():
            _settle(state, event.settlements)
            _begin_again(part, "closed", 0)
            part.round, part.deferrals, part.deferred_since = event.round, 0, 0
            part.inline, part.file, part.provider_file = False, "", ""
            part.left_out = state.settled.runs(part.part.first, part.part.last)
        case PartEnded():
            if event.abandoned and part.phase == "submitted" and part.provider_batch not in state.unwanted:
                state.unwanted.append(part.provider_batch)
            part.phase, part.end = "ended", event
            part.trouble, part.troubled_since, part.blocked, part.resume_file = "", 0, "", False
            part.purchase.end()
        case PartSettled():
            part.phase = "settled"
            _settle(state, event.settlements)
        case _:
            state.anomalies += 1


def _begin_again(part: PartState, phase: str, retry_at: int) -> None:
    """What the part was bought as is over; it is bought anew from `phase` on."""
    if part.provider_batch:
        part.past.append(part.provider_batch)
    part.purchase.again(retry_at)
    part.since_attempt = part.purchase.attempt
    part.phase, part.provider_batch, part.status = phase, "", ""
    part.submitted_at, part.hint_us, part.reconciled = 0, 0, False
    part.total, part.completed, part.failed = 0, 0, 0
    part.trouble, part.troubled_since, part.blocked, part.resume_file = "", 0, "", False
    part.cancel_sent_at, part.overdue_at = 0, 0
    part.end, part.source, part.cursor = None, 0, 0


def _settle(state: BatchState, settlements: Sequence[Settlement]) -> None:
    for settlement in settlements:
        for number in _within(state, settlement.ranges):
            state.failed += _mark(state, number)


def _take(state: BatchState, event: ResultsTaken) -> None:
    part = _part(state, event.part)
    if part is None:
        return
    failed, late = set(event.failed), {*event.cancelled, *event.expired}
    for number in event.numbers:
        if number in late:
            _keep_late(state, number)
        elif _mark(state, number):
            if number in failed:
                state.failed += 1
            else:
                state.ok += 1
    part.source, part.cursor = event.source, event.cursor
    part.trouble, part.troubled_since, part.blocked = "", 0, ""
    state.extra += event.extra
    state.duplicate += event.duplicate
    state.unreadable += event.unreadable


def _mark(state: BatchState, number: int) -> bool:
    """Settles a line; False, and an anomaly, when it is none of ours or was settled before."""
    if not 0 <= number < state.lines or not state.settled.add(number):
        state.anomalies += 1
        return False
    return True


def blocked(state: BatchState) -> str:
    """Why the batch waits for somebody, "" when it does not."""
    if state.direct is not None:
        return state.direct.blocked
    for part in state.parts:
        if part.blocked:
            return part.blocked
        if part.phase == "ready" and part.purchase.blocked:
            return part.purchase.blocked
    return ""


def withdrawn(state: BatchState, part: PartState) -> str:
    """Why nobody wants the part any more (`caller` or `deadline`), "" while somebody does."""
    return state.cancel or part.given_up


def file_of(actor: str, part: PartState) -> str:
    """The file actor that is asked for a part's input: another one for each round, for it holds other lines."""
    file = derived_id(FILE_ID, actor, part.number)
    return derived_id(FILE_ID, file, part.round) if part.round else file


def is_being_read(state: BatchState, number: int) -> bool:
    """Whether the provider is done with a line's part, and what it has for the part is on its way into the log."""
    part = state.part_of(number)
    return part is not None and part.phase == "ended"


def is_lost(part: PartState) -> bool:
    """Whether it cannot be told if the part was bought: it waits for `ResubmitBatch` or a cancel."""
    return part.phase == "ready" and part.purchase.phase == "lost"


def uncertain(state: BatchState) -> bool:
    """Whether the batch has come to rest with a purchase in doubt, which only `ResubmitBatch` or a cancel moves on."""
    return any(is_lost(part) for part in state.parts) and all(
        is_lost(part) or part.phase == "settled" for part in state.parts
    )


def gone_as(reason: str) -> Literal["cancelled", "expired"]:
    """How that ends which was given up: by its deadline, or by somebody."""
    return "expired" if reason == "deadline" else "cancelled"


def overall(statuses: Sequence[str], cancel: str) -> str:
    """The operation's status from how its parts ended: the worst of them, in the words of the API."""
    worst = next((status for status in WORST_FIRST if status in statuses), "completed")
    if worst == "cancelled" and cancel == "deadline":
        return "expired"
    return STATUSES.get(worst, worst)
