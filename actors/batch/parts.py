"""The parts of a batch, the judgement: from the order of an input file to the last line. Pure.

Whoever asks "what happens when a batch expires" reads `_end` and `_settle` here and `PartEnded`, `PartSettled` in
`state.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.actors.batch.bitmap import size_of
from perdure.actors.batch.costs import spent
from perdure.actors.batch.rescue import deferred, is_rescued, resubmitted
from perdure.actors.batch.state import BatchState, PartState, file_of, gone_as, overall, withdrawn
from perdure.events.batch import (
    BatchFinished,
    BatchOverdue,
    BatchPolled,
    BatchSubmitted,
    CancelSent,
    DeferPart,
    EndPart,
    EndStatus,
    FileAsked,
    FileBlocked,
    FileFailed,
    FileNotNeeded,
    FileReady,
    FileResumed,
    FileStored,
    FileTroubled,
    NoteCancelSent,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NoteOverdue,
    NotePolled,
    NoteSubmitted,
    NoteTrouble,
    PartEnded,
    PartSettled,
    PollRecovered,
    PollTroubled,
    ResultsTaken,
    Settlement,
    SettlePart,
    TakeResults,
)
from perdure.events.command import Command
from perdure.events.cost import Cost
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.purchase import (
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseLost,
    PurchaseResubmitted,
    RefusePurchase,
)
from perdure.events.sealed import plain

CANCELLED_TEXT = "the batch was cancelled before this line was sent"
UNCERTAIN_TEXT = "the batch was given up; whether the provider had taken this line cannot be told"
DEADLINE_TEXT = "the deadline passed before this line was sent"


def decide_part(state: BatchState, command: Command, at: int) -> Sequence[Event]:
    number = getattr(command, "part", getattr(command, "ordinal", -1))
    if not 0 <= number < len(state.parts):
        raise Rejected(f"{state.actor} has no part {number}", field="part", value=number)
    part = state.parts[number]
    match command:
        case NoteFileAsked():
            return (FileAsked(part=number, file=command.file),) if part.phase == "closed" else ()
        case NoteFileNotNeeded():
            return (FileNotNeeded(part=number),) if part.phase == "closed" else ()
        case FileStored() | FileFailed() | FileBlocked() if command.file not in ("", file_of(state.actor, part)):
            return ()  # of an earlier round
        case FileStored():
            if part.phase not in ("closed", "filing"):
                return ()
            return (FileReady(part=number, provider_file=command.provider_file),)
        case FileBlocked():
            if part.phase not in ("closed", "filing") or part.blocked:
                return ()
            return (FileTroubled(part=number, error=command.error, at=at),)
        case NoteFileResumed():
            return (FileResumed(part=number),) if part.resume_file else ()
        case FileFailed():
            if part.phase not in ("closed", "filing"):
                return ()
            return (PartEnded(part=number, status="failed", code=command.code, message=plain(command.message)),)
        case NoteSubmitted():
            return _submitted(part, command, at)
        case NotePolled():
            return _polled(part, command)
        case NoteTrouble():
            if part.phase not in ("submitted", "ended") or (part.trouble and bool(part.blocked) == command.blocked):
                return ()
            return (PollTroubled(part=number, error=command.error, at=at, blocked=command.blocked),)
        case NoteCancelSent():
            sent = part.phase != "submitted" or part.cancel_sent_at
            return () if sent else (CancelSent(part=number, at=at),)
        case NoteOverdue():
            late = part.phase == "submitted" and command.provider_batch == part.provider_batch and not part.overdue_at
            return (BatchOverdue(part=number, provider_batch=part.provider_batch, at=at),) if late else ()
        case DeferPart():
            return _defer(state, part, command, at)
        case EndPart():
            return _end(part, command)
        case TakeResults():
            return _take(state, part, command)
        case SettlePart():
            return _settle(state, part, command)
        case _:
            return _purchase(state, part, command, at)


def _purchase(state: BatchState, part: PartState, command: Command, at: int) -> Sequence[Event]:
    assert state.opened is not None
    purchase = part.purchase
    if part.phase != "ready":
        if isinstance(command, IntendPurchase):
            raise purchase.superseded(state.actor, command.attempt)
        return ()
    if isinstance(command, NoteDuplicate) and command.provider_id in (*state.unwanted, part.provider_batch):
        return ()
    if isinstance(command, LosePurchase):
        if command.attempt != purchase.attempt or not purchase.owed:
            return ()
        lost = PurchaseLost(ordinal=part.number, attempt=purchase.attempt)
        if withdrawn(state, part):
            return (lost, in_doubt(part, withdrawn(state, part)))
        if state.opened.on_uncertain == "resubmit":
            return (PurchaseResubmitted(ordinal=part.number, attempt=purchase.attempt, policy="resubmit"),)
        return (lost,)
    events = purchase.decide(state.actor, command, at, patience_us=state.opened.window_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        return (PartEnded(part=part.number, status="failed", code=command.kind, message=plain(command.message)),)
    reopened = bool(events) and isinstance(command, (RefusePurchase, MissPurchase))
    if reopened and withdrawn(state, part):
        return (*events, not_bought(part, withdrawn(state, part)))
    return events


def _submitted(part: PartState, command: NoteSubmitted, at: int) -> Sequence[Event]:
    if part.phase != "ready" or command.attempt != part.purchase.attempt:
        return ()
    return (adopted(part, command, at),)


def adopted(part: PartState, report: NoteSubmitted, at: int) -> BatchSubmitted:
    """The part is the provider's from here on."""
    return BatchSubmitted(
        part=part.number,
        attempt=report.attempt,
        provider_batch=report.provider_batch,
        at=at,
        hint_us=report.hint_us,
        reconciled=report.reconciled,
    )


def _polled(part: PartState, command: NotePolled) -> Sequence[Event]:
    """A poll is an event only when it shows something new: another status, or progress of at least a hundredth."""
    if part.phase != "submitted":
        return ()
    step = max(1, (command.total or part.part.last - part.part.first + 1) // 100)
    done, before = command.completed + command.failed, part.completed + part.failed
    events: list[Event] = [PollRecovered(part=part.number)] if part.trouble else []
    if command.status != part.status or abs(done - before) >= step:
        events.append(
            BatchPolled(
                part=part.number,
                status=command.status,
                total=command.total,
                completed=command.completed,
                failed=command.failed,
            )
        )
    return events


def _defer(state: BatchState, part: PartState, command: DeferPart, at: int) -> Sequence[Event]:
    if part.phase != "submitted" or command.provider_batch != part.provider_batch:
        return ()
    waits = deferred(state, part, command, at)
    if waits is not None:
        return (waits,)
    return (PartEnded(part=part.number, status="failed", code=command.code, message=plain(command.message)),)


def _end(part: PartState, command: EndPart) -> Sequence[Event]:
    if part.phase != "submitted":
        return ()
    return (
        PartEnded(
            part=part.number,
            status=command.status,
            code=command.code,
            message=plain(command.message),
            sources=command.sources,
            problems=command.problems,
            abandoned=command.abandoned,
        ),
    )


def _take(state: BatchState, part: PartState, command: TakeResults) -> Sequence[Event]:
    """Takes in a run of results: the first answer to a line counts, later ones and foreign ones are only counted.

    The first answer to an abandoned line is kept too: it is paid for.
    """
    count = len(command.numbers)
    if not (count == len(command.offsets) == len(command.lengths) and len(command.costs) in (0, count)):
        raise Rejected(f"a run of results for {state.actor} is not whole", field="numbers")
    expected = part.cursor if command.source == part.source else 0
    if part.phase != "ended" or command.source < part.source or command.behind != expected:
        return ()
    numbers: list[int] = []
    offsets: list[int] = []
    lengths: list[int] = []
    failed: list[int] = []
    late: dict[str, list[int]] = {"cancelled": [], "expired": []}
    costs: list[tuple[int, Cost]] = []
    errors, seen = set(command.failed), set[int]()
    foreign, duplicate = command.foreign, 0
    first, last = part.part.first, part.part.last
    rows = zip(command.numbers, command.offsets, command.lengths, strict=True)
    for place, (number, offset, length) in enumerate(rows):
        if not first <= number <= last:
            foreign += 1
            continue
        abandoned = state.awaits_answer(number)
        if number in seen or (state.is_settled(number) and not abandoned):
            duplicate += 1
            continue
        seen.add(number)
        numbers.append(number)
        offsets.append(offset)
        lengths.append(length)
        cost = command.costs[place] if command.costs else None
        if cost is not None:
            costs.append((number, cost))
        if abandoned:
            late[abandoned].append(number)
        elif place in errors:
            failed.append(number)
    taken = ResultsTaken(
        part=part.number,
        source=command.source,
        cursor=command.cursor,
        blob=command.blob,
        numbers=numbers,
        offsets=offsets,
        lengths=lengths,
        failed=failed,
        extra=foreign,
        duplicate=duplicate,
        unreadable=command.unreadable,
        cancelled=late["cancelled"],
        expired=late["expired"],
    )
    return (*spent(state, costs), taken)


def _settle(state: BatchState, part: PartState, command: SettlePart) -> Sequence[Event]:
    """Every line of the part that is still open ends with an error; the last part to settle ends the batch."""
    if part.phase != "ended" or part.end is None:
        return ()
    ranges = state.open_ranges(part.part)
    first, last = part.part.first, part.part.last
    own = {
        number: place
        for number, place in command.own.items()
        if first <= number <= last and not state.is_settled(number)
    }
    settlements = [
        Settlement(command.code, ((number, number),), command.blob, offset, length)
        for number, (offset, length) in sorted(own.items())
    ]
    rest = _without(ranges, own)
    if rest and is_rescued(state, part):
        return (resubmitted(part, settlements),)
    if rest:
        settlements.append(Settlement(command.code, rest, command.blob, command.offset, command.length))
    settled = PartSettled(part=part.number, settlements=settlements)
    others = [other for other in state.parts if other is not part]
    if any(other.phase != "settled" for other in others):
        return (settled,)
    ends = [other.end.status for other in state.parts if other.end is not None]
    failed = state.failed + size_of(ranges)
    return (settled, BatchFinished(status=overall(ends, state.cancel), ok=state.lines - failed, failed=failed))


def _without(ranges: Sequence[tuple[int, int]], numbers: Iterable[int]) -> list[tuple[int, int]]:
    """`ranges`, which are in order, without some single numbers: one pass over both."""
    rest: list[tuple[int, int]] = []
    holes = sorted(numbers)
    place = 0
    for first, last in ranges:
        start = first
        while place < len(holes) and holes[place] <= last:
            if holes[place] > start:
                rest.append((start, holes[place] - 1))
            start = max(start, holes[place] + 1)
            place += 1
        if start <= last:
            rest.append((start, last))
    return rest


def not_bought(part: PartState, reason: str) -> PartEnded:
    """The end of a part that was never sent and never will be."""
    if reason == "deadline":
        return PartEnded(part=part.number, status="expired", code="batch_expired", message=plain(DEADLINE_TEXT))
    return PartEnded(part=part.number, status="cancelled", code="batch_cancelled", message=plain(CANCELLED_TEXT))


def in_doubt(part: PartState, reason: str) -> PartEnded:
    """The end of a part of which it cannot be told whether it was sent."""
    status: EndStatus = gone_as(reason)
    return PartEnded(part=part.number, status=status, code="batch_uncertain", message=plain(UNCERTAIN_TEXT))
