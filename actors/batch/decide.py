"""The batch's judgement: what happens when a command reaches it. Pure; raises only `Rejected` kinds.

| module | judges |
| --- | --- |
| `collecting` | opening, collecting, closing |
| `parts` | what becomes of each part at the provider |
| `direct.decide` | lines that go live |
| here | cancelling, giving lines up, trying again |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.actors.batch.bitmap import Ranges, runs, size_of, within
from perdure.actors.batch.collecting import close_window, collect, open_window
from perdure.actors.batch.direct import decide as direct
from perdure.actors.batch.parts import adopted, decide_part, in_doubt, not_bought
from perdure.actors.batch.state import BatchState, PartState, is_being_read, is_lost
from perdure.events.batch import (
    BatchDiscarded,
    CancelBatch,
    CancelLines,
    CancelRequested,
    CloseBatch,
    CollectLines,
    DiscardBatch,
    DuplicateCancelled,
    ExpireLines,
    FailLine,
    FileResumeAsked,
    LinesAbandoned,
    NoteDuplicateCancelled,
    NoteLineAnswered,
    NoteSubmitted,
    OpenBatch,
    PollRecovered,
    ResubmitBatch,
    ResumeBatch,
    SettleLine,
)
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.purchase import DuplicatePurchase, PurchaseResubmitted, PurchaseResumed
from perdure.events.sealed import plain


def decide(state: BatchState, command: Command, at: int) -> Sequence[Event]:
    """Judges `command` on `state` at `at` (µs since 1970 UTC)."""
    match command:
        case OpenBatch():
            return open_window(state, command, at)
        case CollectLines():
            return collect(state, command)
        case CloseBatch():
            return close_window(state, at)
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
            return decide_part(state, command, at)


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
    return [in_doubt(part, reason) if is_lost(part) else not_bought(part, reason) for part in unsent]


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
    known = {batch for part in state.parts for batch in (part.provider_batch, *part.past)}
    if report.provider_batch in known | {*state.unwanted}:
        return ()
    part = state.parts[report.part] if 0 <= report.part < len(state.parts) else None
    if part is not None and part.phase == "ready" and report.attempt >= part.since_attempt:
        purchase = part.purchase
        if purchase.phase in ("open", "lost") or report.attempt == purchase.attempt:
            return (adopted(part, report, at),)
    return (DuplicatePurchase(ordinal=report.part, provider_id=report.provider_batch),)
