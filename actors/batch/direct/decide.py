"""Lines that go live, the judgement: each is bought once, and ends with an answer or with why it has none.

Pure; raises only `Rejected` kinds. A line whose caller gave it up is settled for him at once; its purchase, if it is
owed, is settled all the same, and the batch ends only after that.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.bitmap import runs, size_of
from perdure.actors.batch.costs import spent
from perdure.actors.batch.direct.state import Direct, DirectLine
from perdure.actors.batch.state import BatchState, gone_as
from perdure.actors.purchase import jitter
from perdure.actors.request.state import RESUBMIT_WAITS_US
from perdure.events.batch import (
    BatchFinished,
    FailLine,
    LineAnswered,
    LineFailed,
    LinesAbandoned,
    LineSettled,
    NoteLineAnswered,
    SettleLine,
)
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected, Superseded
from perdure.events.event import Event
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
    RefusePurchase,
)
from perdure.events.sealed import plain

PURCHASE_REPORTS = (IntendPurchase, DoubtPurchase, RefusePurchase, LosePurchase)
"""What is reported of a line's purchase: never that it is surely absent, for there is no list to look at."""

UNCERTAIN_TEXT = "whether the provider took this line cannot be told"


def decide(state: BatchState, command: Command, at: int) -> Sequence[Event]:
    """Judges a report about a line that goes live."""
    report = command.report if isinstance(command, Orphan) else command
    number = getattr(report, "number", getattr(report, "ordinal", -1))
    direct = state.direct
    if direct is None or not 0 <= number < state.lines:
        raise Rejected(f"{state.actor} sends no line {number} by itself", field="number", value=number)
    line = direct.find(number)
    match report:
        case NoteLineAnswered():
            return _answered(state, report, orphaned=report is not command)
        case SettleLine():
            if line is None or not line.code or state.is_settled(number):
                return ()
            return (LineSettled(number=number, blob=report.blob, length=report.length), *finish(state, failed=1))
        case FailLine():
            if line is None or line.purchase.phase != "open":
                return ()
            return (LineFailed(number=number, code=report.code, message=plain(report.message)),)
        case IntendPurchase() if line is None:
            raise Superseded(f"line {number} of {state.actor} has ended: nothing may be sent", field="ordinal")
        case _:
            return () if line is None else _purchase(state, line, report, at)


def cancel(state: BatchState, reason: str) -> Sequence[Event]:
    """Gives up all lines but those that owe a purchase or have only to be written down: these end by themselves."""
    assert state.direct is not None
    kept = {line.number for line in state.direct.lines if line.purchase.owed or line.code}
    ranges = runs(number for number in range(state.lines) if number not in kept and not state.is_settled(number))
    if not ranges:
        return ()
    return (
        LinesAbandoned(ranges=ranges, reason=reason),
        *finish(state, abandoned=size_of(ranges), cancel=reason),
    )


def resume(direct: Direct) -> Sequence[Event]:
    """Tries all blocked lines again now."""
    return [
        PurchaseResumed(ordinal=line.number, attempt=line.purchase.attempt)
        for line in direct.lines
        if line.purchase.phase == "open" and line.purchase.blocked
    ]


def finish(
    state: BatchState, *, ok: int = 0, failed: int = 0, abandoned: int = 0, over: int = -1, cancel: str = ""
) -> Sequence[Event]:
    """The end of the batch, if nothing is open and nothing owed once so many more lines have ended as told.

    `over` is the line whose purchase is settled by now; `cancel` is why the batch is being given up just now.
    """
    assert state.direct is not None
    if state.open > ok + failed + abandoned or state.direct.owing(but=over):
        return ()
    reason = state.cancel or cancel
    nobody_waits = state.abandoned + abandoned == state.lines
    status = gone_as(reason) if reason else "cancelled" if nobody_waits else "succeeded"
    ok += state.ok
    return (BatchFinished(status=status, ok=ok, failed=state.lines - ok),)


def _answered(state: BatchState, report: NoteLineAnswered, *, orphaned: bool) -> Sequence[Event]:
    """What was paid for is kept. The first answer counts; another one that somebody paid for is put on record."""
    number = report.number
    costs = spent(state, () if report.cost is None else ((number, report.cost),))
    abandoned = state.awaits_answer(number)
    if state.is_settled(number) and not abandoned:
        again = DuplicatePurchase(ordinal=number, provider_id=report.blob)
        return (*costs, again) if orphaned else ()
    answered = LineAnswered(
        number=number,
        attempt=report.attempt,
        blob=report.blob,
        length=report.length,
        ok=report.ok,
        late=abandoned,
    )
    if state.phase == "finished":
        return (*costs, answered)
    if abandoned:
        return (*costs, answered, *finish(state, over=number))
    return (*costs, answered, *finish(state, ok=report.ok, failed=not report.ok, over=number))


def _purchase(state: BatchState, line: DirectLine, command: Command, at: int) -> Sequence[Event]:
    assert state.opened is not None
    purchase = line.purchase
    number = purchase.ordinal
    wanted = not state.is_settled(number)
    if isinstance(command, LosePurchase):
        return _lost(state, line, command, at)
    events = purchase.decide(state.actor, command, at, patience_us=state.opened.window_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        failed = LineFailed(
            number=number,
            code=command.code or command.kind,
            message=plain(command.message),
            status=command.status,
        )
        return (failed,) if wanted else (failed, *finish(state, over=number))
    if not events or not isinstance(command, RefusePurchase):
        return events
    if not wanted:
        return (*events, *finish(state, over=number))
    if state.cancel:
        given_up = LinesAbandoned(ranges=((number, number),), reason=state.cancel)
        return (*events, given_up, *finish(state, abandoned=1, over=number))
    return events


def _lost(state: BatchState, line: DirectLine, command: LosePurchase, at: int) -> Sequence[Event]:
    """It cannot be told whether the line was bought: the policy says what comes of it."""
    assert state.opened is not None
    purchase = line.purchase
    number, attempt = purchase.ordinal, purchase.attempt
    if command.attempt != attempt or not purchase.owed:
        return ()
    lost = PurchaseLost(ordinal=number, attempt=attempt)
    if state.is_settled(number):
        return (lost, *finish(state, over=number))
    again = state.opened.on_uncertain == "resubmit" and not state.cancel
    if again and line.resubmits < len(RESUBMIT_WAITS_US):
        wait_us = RESUBMIT_WAITS_US[line.resubmits] * jitter(state.actor, f"resubmit/{number}/{attempt}")
        return (PurchaseResubmitted(ordinal=number, attempt=attempt, policy="resubmit", retry_at=at + int(wait_us)),)
    return (lost, LineFailed(number=number, code="batch_uncertain", message=plain(UNCERTAIN_TEXT)))
