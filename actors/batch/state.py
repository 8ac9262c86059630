"""The batch's state and its fold: what it knows, rebuilt from its events.

O(1) plus bitmaps, parts and chunks: lines are numbers here, their bytes lie in blobs. `evolve` owns the state it is
given and changes it in place; it is total and never raises.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from perdure.actors.kind import NO_INDEX, Index, Row
from perdure.actors.purchase import SECOND_US, Purchase
from perdure.events.batch import (
    BATCH_EVENTS,
    BatchClosed,
    BatchDiscarded,
    BatchFinished,
    BatchOpened,
    BatchPolled,
    BatchSubmitted,
    CancelRequested,
    CancelSent,
    DuplicateCancelled,
    FileAsked,
    FileReady,
    FileResumeAsked,
    FileResumed,
    FileTroubled,
    LinesCollected,
    Part,
    PartEnded,
    PartSettled,
    PollRecovered,
    PollTroubled,
    ResultsTaken,
)
from perdure.events.codec import Codec
from perdure.events.event import Event
from perdure.events.purchase import PURCHASE_EVENTS, DuplicatePurchase
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.records import ItemRow

KIND = "batch"
FOLD = 2

CODEC: Codec[Event] = Codec(KIND, (*BATCH_EVENTS, *PURCHASE_EVENTS, *SUPERVISION_EVENTS))

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


class PartState(Struct):
    """One part on its way. `phase`: `closed`, `filing`, `ready`, `submitted`, `ended`, `settled`; µs since 1970 UTC."""

    number: int
    part: Part
    purchase: Purchase
    phase: str = "closed"
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


class BatchState(Struct):
    """A batch. `phase`: `new`, `collecting`, `closed`, `discarded`, `finished`."""

    actor: str
    tenant: str
    phase: str = "new"
    opened: BatchOpened | None = None
    lines: int = 0
    size_bytes: int = 0
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    parts: list[PartState] = field(default_factory=list[PartState])
    settled: bytearray = field(default_factory=bytearray)
    ok: int = 0
    failed: int = 0
    extra: int = 0
    duplicate: int = 0
    unreadable: int = 0
    cancel: str = ""
    cancel_at: int = 0
    unwanted: list[str] = field(default_factory=list[str])
    status: str = ""
    anomalies: int = 0

    def is_settled(self, number: int) -> bool:
        """Whether line `number` has an answer or an error."""
        return bool(self.settled[number >> 3] >> (number & 7) & 1)

    def open_ranges(self, part: Part) -> list[tuple[int, int]]:
        """The lines of a part without an answer or an error, as ranges with both ends included."""
        ranges: list[tuple[int, int]] = []
        start = -1
        for number in range(part.first, part.last + 1):
            if not self.settled[number >> 3] >> (number & 7) & 1:
                if start < 0:
                    start = number
            elif start >= 0:
                ranges.append((start, number - 1))
                start = -1
        if start >= 0:
            ranges.append((start, part.last))
        return ranges


def initial(actor: str, tenant: str) -> BatchState:
    """The state before the window opens."""
    return BatchState(actor=actor, tenant=tenant)


def evolve(state: BatchState, event: Event) -> BatchState:
    """Folds one event."""
    match event:
        case ResultsTaken():
            _take(state, event)
        case LinesCollected() if state.phase == "collecting":
            count, size_bytes = len(event.lengths), sum(event.lengths)
            state.chunks.append(Chunk(event.first, count, event.blob, size_bytes))
            state.lines += count
            state.size_bytes += size_bytes
        case BatchOpened() if state.phase == "new":
            state.opened, state.phase = event, "collecting"
        case BatchClosed() if state.phase == "collecting":
            state.phase = "closed"
            state.settled = bytearray((state.lines + 7) // 8)
            state.parts = [
                PartState(number=number, part=part, purchase=Purchase(ordinal=number))
                for number, part in enumerate(event.parts)
            ]
        case BatchDiscarded() if state.phase == "collecting":
            state.phase, state.status = "discarded", "expired" if state.cancel == "deadline" else "cancelled"
        case CancelRequested():
            state.cancel, state.cancel_at = event.reason, event.at
        case DuplicateCancelled():
            if event.provider_batch in state.unwanted:
                state.unwanted.remove(event.provider_batch)
        case BatchFinished() if state.phase == "closed":
            state.phase, state.status = "finished", event.status
        case DuplicatePurchase():
            if event.provider_id not in state.unwanted:
                state.unwanted.append(event.provider_id)
        case _ if isinstance(event, PURCHASE_EVENTS):
            part = _part(state, event.ordinal)
            if part is not None:
                part.purchase.evolve(event)
        case _:
            _evolve_part(state, event)
    return state


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
        case PartEnded():
            if event.abandoned and part.phase == "submitted" and part.provider_batch not in state.unwanted:
                state.unwanted.append(part.provider_batch)
            part.phase, part.end = "ended", event
            part.trouble, part.troubled_since, part.blocked, part.resume_file = "", 0, "", False
            part.purchase.end()
        case PartSettled():
            part.phase = "settled"
            for settlement in event.settlements:
                for first, last in settlement.ranges:
                    for number in range(max(first, 0), min(last + 1, state.lines, 8 * len(state.settled))):
                        state.failed += _mark(state, number)
        case _:
            state.anomalies += 1


def _take(state: BatchState, event: ResultsTaken) -> None:
    part = _part(state, event.part)
    if part is None:
        return
    failed = set(event.failed)
    for number in event.numbers:
        if _mark(state, number):
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
    byte, bit = number >> 3, 1 << (number & 7)
    if not 0 <= number < state.lines or byte >= len(state.settled) or state.settled[byte] & bit:
        state.anomalies += 1
        return False
    state.settled[byte] |= bit
    return True


def blocked(state: BatchState) -> str:
    """Why the batch waits for somebody, "" when it does not."""
    for part in state.parts:
        if part.blocked:
            return part.blocked
        if part.phase == "ready" and part.purchase.blocked:
            return part.purchase.blocked
    return ""


def is_lost(part: PartState) -> bool:
    """Whether it cannot be told if the part was bought: it waits for `ResubmitBatch` or a cancel."""
    return part.phase == "ready" and part.purchase.phase == "lost"


def uncertain(state: BatchState) -> bool:
    """Whether the batch has come to rest with a purchase in doubt, which only `ResubmitBatch` or a cancel moves on."""
    return any(is_lost(part) for part in state.parts) and all(
        is_lost(part) or part.phase == "settled" for part in state.parts
    )


def row(state: BatchState) -> Row:
    """What lists show of a batch."""
    opened = state.opened
    waiting_for = blocked(state)
    in_doubt = state.phase == "closed" and uncertain(state)
    if state.phase in ("discarded", "finished"):
        status = state.status
    elif in_doubt:
        status = "uncertain"
    elif waiting_for:
        status = "blocked"
    elif any(part.phase in ("submitted", "ended", "settled") for part in state.parts):
        status = "running"
    else:
        status = "pending"
    done = state.ok + state.failed
    return Row(
        status=status,
        terminal=(state.phase in ("discarded", "finished") or in_doubt) and not state.unwanted,
        provider=opened.provider if opened else "",
        group=" ".join((opened.endpoint, opened.model, opened.credential)) if opened else "",
        tags=opened.tags if opened else {},
        progress=f"{max(done, sum(part.completed for part in state.parts))}/{state.lines} {waiting_for}".rstrip(),
        keep_key=state.phase != "discarded",
    )


def index(event: Event) -> Index:
    """Every line is an item: named when collected, pointing at its result once there is one."""
    match event:
        case LinesCollected():
            items: list[ItemRow] = []
            offset = 0
            for number, (name, length) in enumerate(zip(event.names, event.lengths, strict=True), event.first):
                items.append(ItemRow(number, name, "waiting", event.blob, offset, length))
                offset += length
            return Index(items, (event.blob,))
        case ResultsTaken():
            failed = set(event.failed)
            blob = event.blob
            return Index(
                [
                    ItemRow(number, "", "error" if number in failed else "ok", blob, offset, length)
                    for number, offset, length in zip(event.numbers, event.offsets, event.lengths, strict=True)
                ],
                (blob,),
            )
        case PartSettled():
            return Index(
                [
                    ItemRow(number, "", "unanswered", settlement.blob, settlement.offset, settlement.length)
                    for settlement in event.settlements
                    for first, last in settlement.ranges
                    for number in range(first, last + 1)
                ],
                [*{settlement.blob for settlement in event.settlements}],
            )
        case _:
            return NO_INDEX


def weight(state: BatchState) -> int:
    """About how many bytes a state holds in memory."""
    return 2_000 + len(state.settled) + 300 * len(state.chunks) + 1_500 * len(state.parts)


def overall(statuses: Sequence[str], cancel: str) -> str:
    """The operation's status from how its parts ended: the worst of them, in the words of the API."""
    worst = next((status for status in WORST_FIRST if status in statuses), "completed")
    if worst == "cancelled" and cancel == "deadline":
        return "expired"
    return STATUSES.get(worst, worst)
