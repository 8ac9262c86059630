"""The batch's judgement: what happens when a command reaches it. Pure; raises only `Rejected` kinds.

Whoever asks "what happens when a batch expires" reads `_end` and `_settle` here and `PartEnded`, `PartSettled` in
`state.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.actors.batch.bitmap import Ranges, runs, size_of, within
from perdure.actors.batch.direct import decide as direct
from perdure.actors.batch.state import (
    BatchState,
    Chunk,
    PartState,
    gone_as,
    is_being_read,
    is_lost,
    overall,
    withdrawn,
)
from perdure.events.batch import (
    BatchClosed,
    BatchDiscarded,
    BatchFinished,
    BatchOpened,
    BatchPolled,
    BatchSubmitted,
    CancelBatch,
    CancelLines,
    CancelRequested,
    CancelSent,
    CloseBatch,
    CollectLines,
    DiscardBatch,
    DuplicateCancelled,
    EndPart,
    EndStatus,
    ExpireLines,
    FailLine,
    FileAsked,
    FileBlocked,
    FileFailed,
    FileNotNeeded,
    FileReady,
    FileResumeAsked,
    FileResumed,
    FileStored,
    FileTroubled,
    LinesAbandoned,
    LinesCollected,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NoteLineAnswered,
    NotePolled,
    NoteSubmitted,
    NoteTrouble,
    OpenBatch,
    Part,
    PartEnded,
    PartSettled,
    PollRecovered,
    PollTroubled,
    ResubmitBatch,
    ResultsTaken,
    ResumeBatch,
    SettleLine,
    Settlement,
    SettlePart,
    TakeResults,
    WindowClosed,
)
from perdure.events.command import Command, Orphan
from perdure.events.errors import InvalidRequest, Rejected, TooLarge
from perdure.events.event import Event
from perdure.events.purchase import (
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
    RefusePurchase,
)
from perdure.events.sealed import plain

CANCELLED_TEXT = "the batch was cancelled before this line was sent"
UNCERTAIN_TEXT = "the batch was given up; whether the provider had taken this line cannot be told"
DEADLINE_TEXT = "the deadline passed before this line was sent"


def decide(state: BatchState, command: Command, at: int) -> Sequence[Event]:
    """Judges `command` on `state` at `at` (µs since 1970 UTC)."""
    match command:
        case OpenBatch():
            return _open(state, command, at)
        case CollectLines():
            return _collect(state, command)
        case CloseBatch():
            return _close(state, at)
        case DiscardBatch():
            return (BatchDiscarded(reason=plain(command.reason)),) if state.phase == "collecting" else ()
        case CancelBatch():
            return _cancel(state, command, at)
        case CancelLines():
            return _cancel_lines(state, command)
        case ExpireLines():
            return _expire_lines(state, command)
        case ResumeBatch():
            return _resume(state)
        case ResubmitBatch():
            return _resubmit(state)
        case Orphan(report=NoteSubmitted() as report):
            return _orphaned(state, report, at)
        case NoteLineAnswered() | FailLine() | SettleLine() | Orphan(report=NoteLineAnswered()):
            return direct.decide(state, command, at)
        case _ if state.direct is not None and isinstance(command, direct.PURCHASE_REPORTS):
            return direct.decide(state, command, at)
        case NoteDuplicateCancelled():
            known = command.provider_batch in state.unwanted
            return (DuplicateCancelled(provider_batch=command.provider_batch),) if known else ()
        case _:
            return _decide_part(state, command, at)


def difference(state: BatchState, command: OpenBatch) -> str | None:
    """How a request differs from the one that this batch was opened with; None when it is the same request."""
    if state.opened is None:
        return None
    for name in ("provider", "endpoint", "model", "credential"):
        was, wanted = getattr(state.opened, name), getattr(command, name)
        if wanted and was != wanted:
            return f"{name} was {was!r} and is now {wanted!r}"
    return None


# ---------------------------------------------------------------- the window


def _open(state: BatchState, command: OpenBatch, at: int) -> Sequence[Event]:
    if state.opened is not None:
        differs = difference(state, command)
        if differs is not None:
            raise Rejected(f"{state.actor} is open with another request: its {differs}", field="request")
        return ()
    return (
        BatchOpened(
            provider=command.provider,
            endpoint=command.endpoint,
            model=command.model,
            credential=command.credential,
            max_lines=command.max_lines,
            max_bytes=command.max_bytes,
            window_us=command.window_us,
            settle_us=command.settle_us,
            every_us=command.every_us,
            searchable=command.searchable,
            first_poll_us=command.first_poll_us,
            hint=command.hint,
            on_uncertain=command.on_uncertain,
            deadline_at=at + command.deadline_us if command.deadline_us else 0,
            close_at=at + command.close_after_us if command.close_after_us else 0,
            tags=command.tags,
            minimum=command.minimum,
            direct=command.direct,
        ),
    )


def _collect(state: BatchState, command: CollectLines) -> Sequence[Event]:
    opened = state.opened
    if opened is None:
        raise Rejected(f"{state.actor} is not open: open it before lines are added", field="batch")
    if command.first < state.lines:
        same = any(chunk.first == command.first and chunk.blob == command.blob for chunk in state.chunks)
        if same:
            return ()
        raise Rejected(f"line {command.first} of {state.actor} was collected with other content", field="lines")
    if state.phase != "collecting":
        raise WindowClosed(f"{state.actor} is closed: no line can be added", field="batch")
    if command.first != state.lines:
        raise Rejected(f"{state.actor} expects line {state.lines} next, not {command.first}", field="first")
    count, size_bytes = len(command.lengths), sum(command.lengths)
    if not count or len(command.names) not in (0, count):
        raise Rejected(f"a run has a line at least, and a name for each or for none: {state.actor}", field="names")
    if any(not 0 <= note.number - command.first < count for note in command.notes):
        raise Rejected(f"a run has notes on its own lines only: {state.actor}", field="notes")
    if count > opened.max_lines or size_bytes > opened.max_bytes:
        raise TooLarge(
            f"a run of {size_bytes} bytes exceeds what {opened.provider} takes in one batch ({opened.max_bytes} bytes)",
            limit=opened.max_bytes,
            size=size_bytes,
            field="lines",
        )
    lines, total = state.lines + count, state.size_bytes + size_bytes
    if opened.close_at and (lines > opened.max_lines or total > opened.max_bytes):
        raise WindowClosed(f"{state.actor} has no room for {count} more lines of {size_bytes} bytes", field="lines")
    collected = LinesCollected(
        first=command.first, blob=command.blob, names=command.names, lengths=command.lengths, notes=command.notes
    )
    if opened.close_at and (lines == opened.max_lines or total == opened.max_bytes):
        return (
            collected,
            *_closed(state, opened, [*state.chunks, Chunk(command.first, count, command.blob, size_bytes)]),
        )
    return (collected,)


def _close(state: BatchState, at: int) -> Sequence[Event]:
    opened = state.opened
    if opened is None:
        raise Rejected(f"{state.actor} is not open: there is nothing to close", field="batch")
    if state.phase != "collecting":
        return ()
    if state.lines:
        return _closed(state, opened, state.chunks)
    if opened.close_at and at >= opened.close_at:
        return (BatchDiscarded(reason=plain("its window closed before any line came")),)
    raise InvalidRequest("the batch has no lines: give it at least one request", field="lines", limit=1, value=0)


def _closed(state: BatchState, opened: BatchOpened, chunks: Sequence[Chunk]) -> Sequence[Event]:
    """What becomes of a window with lines: parts, single live requests, or nothing where nobody waits any more."""
    lines = chunks[-1].first + chunks[-1].count
    waiting = lines - state.abandoned
    if not waiting:
        nothing_sent = BatchFinished(status="cancelled", ok=0, failed=lines)
        return (BatchClosed(lines=lines, parts=()), nothing_sent)
    if opened.direct or waiting < opened.minimum:
        return (BatchClosed(lines=lines, parts=(), direct=True),)
    parts = [part for part in _split(opened, chunks) if state.open_in(part.first, part.last)]
    return (BatchClosed(lines=lines, parts=parts),)


def _split(opened: BatchOpened, chunks: Sequence[Chunk]) -> list[Part]:
    """Groups chunks into parts within the provider's limits."""
    parts: list[Part] = []
    first, last, size_bytes = 0, -1, 0
    for chunk in chunks:
        lines = chunk.first + chunk.count - first
        if last >= first and (lines > opened.max_lines or size_bytes + chunk.size_bytes > opened.max_bytes):
            parts.append(Part(first, last, size_bytes))
            first, size_bytes = chunk.first, 0
        last = chunk.first + chunk.count - 1
        size_bytes += chunk.size_bytes
    parts.append(Part(first, last, size_bytes))
    return parts


# ---------------------------------------------------------------- cancel, resume, resubmit


def _cancel(state: BatchState, command: CancelBatch, at: int) -> Sequence[Event]:
    if state.phase in ("discarded", "finished") or state.cancel:
        return ()
    if state.phase == "new":
        raise Rejected(f"{state.actor} does not exist: there is nothing to cancel", field="batch")
    requested = CancelRequested(reason=command.reason, at=at)
    if state.phase == "collecting":
        return (requested, BatchDiscarded(reason=plain(f"cancelled by the {command.reason}")))
    if state.direct is not None:
        return (requested, *direct.cancel(state, command.reason))
    return (requested, *_end_unsent(state.parts, command.reason))


def _end_unsent(parts: Iterable[PartState], reason: str) -> Sequence[Event]:
    """The ends of those of `parts` that the provider does not have, and of which nothing is owed."""
    unsent = [part for part in parts if part.phase in ("closed", "filing", "ready") and not part.purchase.owed]
    return [_in_doubt(part, reason) if is_lost(part) else _not_bought(part, reason) for part in unsent]


def _cancel_lines(state: BatchState, command: CancelLines) -> Sequence[Event]:
    for number in command.numbers:
        if not 0 <= number < state.lines:
            raise Rejected(f"{state.actor} has no line {number}", field="numbers", value=number)
    return _abandon(state, command.numbers, command.reason)


def _expire_lines(state: BatchState, command: ExpireLines) -> Sequence[Event]:
    """Lines whose results are being read are left: what the provider has for them is about to come."""
    due = [
        number
        for deadline in state.deadlines
        if deadline.at <= command.until
        for first, last in deadline.ranges
        for number in range(first, last + 1)
        if not is_being_read(state, number)
    ]
    return _abandon(state, due, "deadline")


def _abandon(state: BatchState, numbers: Iterable[int], reason: str) -> Sequence[Event]:
    """Gives up those of some lines that are not settled, and ends the parts that nobody waits for any more."""
    if state.phase in ("discarded", "finished"):
        return ()
    ranges = runs(number for number in sorted({*numbers}) if not state.is_settled(number))
    if not ranges:
        return ()
    abandoned = LinesAbandoned(ranges=ranges, reason=reason)
    if state.direct is not None:
        return (abandoned, *direct.finish(state, abandoned=size_of(ranges)))
    left = [part for part in state.parts if _covers(state, part, ranges)]
    return (abandoned, *_end_unsent(left, reason))


def _covers(state: BatchState, part: PartState, ranges: Ranges) -> bool:
    """Whether `ranges`, which are open lines, are all that a part has left."""
    first, last = part.part.first, part.part.last
    inside = within(ranges, first, last)
    return bool(inside) and size_of(inside) == state.open_in(first, last)


def _not_bought(part: PartState, reason: str) -> PartEnded:
    """The end of a part that was never sent and never will be."""
    if reason == "deadline":
        return PartEnded(part=part.number, status="expired", code="batch_expired", message=plain(DEADLINE_TEXT))
    return PartEnded(part=part.number, status="cancelled", code="batch_cancelled", message=plain(CANCELLED_TEXT))


def _in_doubt(part: PartState, reason: str) -> PartEnded:
    """The end of a part of which it cannot be told whether it was sent."""
    status: EndStatus = gone_as(reason)
    return PartEnded(part=part.number, status=status, code="batch_uncertain", message=plain(UNCERTAIN_TEXT))


def _resume(state: BatchState) -> Sequence[Event]:
    if state.direct is not None:
        return direct.resume(state.direct)
    events: list[Event] = []
    for part in state.parts:
        if part.phase == "ready" and part.purchase.phase == "open" and part.purchase.blocked:
            events.append(PurchaseResumed(ordinal=part.number, attempt=part.purchase.attempt))
        elif part.blocked and part.phase in ("closed", "filing"):
            events.append(FileResumeAsked(part=part.number))
        elif part.blocked:
            events.append(PollRecovered(part=part.number))
    return events


def _resubmit(state: BatchState) -> Sequence[Event]:
    lost = [part for part in state.parts if part.phase == "ready" and part.purchase.phase == "lost"]
    if not lost:
        raise Rejected(f"{state.actor} has no purchase in doubt: there is nothing to buy again", field="batch")
    return [PurchaseResubmitted(ordinal=part.number, attempt=part.purchase.attempt, policy="caller") for part in lost]


def _orphaned(state: BatchState, report: NoteSubmitted, at: int) -> Sequence[Event]:
    """A purchase that nobody asks for now: adopted while its part has none and tries for none, else to be cancelled."""
    if state.opened is None:
        raise Rejected(f"{state.actor} is not open: it bought nothing", field="batch")
    if report.provider_batch in {*(part.provider_batch for part in state.parts), *state.unwanted}:
        return ()
    part = state.parts[report.part] if 0 <= report.part < len(state.parts) else None
    if part is not None and part.phase == "ready":
        purchase = part.purchase
        if purchase.phase in ("open", "lost") or report.attempt == purchase.attempt:
            return (_adopted(part, report, at),)
    return (DuplicatePurchase(ordinal=report.part, provider_id=report.provider_batch),)


# ---------------------------------------------------------------- parts


def _decide_part(state: BatchState, command: Command, at: int) -> Sequence[Event]:
    number = getattr(command, "part", getattr(command, "ordinal", -1))
    if not 0 <= number < len(state.parts):
        raise Rejected(f"{state.actor} has no part {number}", field="part", value=number)
    part = state.parts[number]
    match command:
        case NoteFileAsked():
            return (FileAsked(part=number, file=command.file),) if part.phase == "closed" else ()
        case NoteFileNotNeeded():
            return (FileNotNeeded(part=number),) if part.phase == "closed" else ()
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
            return (lost, _in_doubt(part, withdrawn(state, part)))
        if state.opened.on_uncertain == "resubmit":
            return (PurchaseResubmitted(ordinal=part.number, attempt=purchase.attempt, policy="resubmit"),)
        return (lost,)
    events = purchase.decide(state.actor, command, at, patience_us=state.opened.window_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        return (PartEnded(part=part.number, status="failed", code=command.kind, message=plain(command.message)),)
    reopened = bool(events) and isinstance(command, (RefusePurchase, MissPurchase))
    if reopened and withdrawn(state, part):
        return (*events, _not_bought(part, withdrawn(state, part)))
    return events


def _submitted(part: PartState, command: NoteSubmitted, at: int) -> Sequence[Event]:
    if part.phase != "ready" or command.attempt != part.purchase.attempt:
        return ()
    return (_adopted(part, command, at),)


def _adopted(part: PartState, report: NoteSubmitted, at: int) -> BatchSubmitted:
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
    if not len(command.numbers) == len(command.offsets) == len(command.lengths):
        raise Rejected(f"a run of results for {state.actor} is not whole", field="numbers")
    expected = part.cursor if command.source == part.source else 0
    if part.phase != "ended" or command.source < part.source or command.behind != expected:
        return ()
    numbers: list[int] = []
    offsets: list[int] = []
    lengths: list[int] = []
    failed: list[int] = []
    late: dict[str, list[int]] = {"cancelled": [], "expired": []}
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
        if abandoned:
            late[abandoned].append(number)
        elif place in errors:
            failed.append(number)
    return (
        ResultsTaken(
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
        ),
    )


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
