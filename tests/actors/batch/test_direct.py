"""Lines that go live: each is bought once, a few at a time, and ends with an answer or with why it has none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.actors.batch.direct.asks import AskLive, WriteError
from perdure.actors.batch.direct.state import DIRECT_AT_A_TIME
from perdure.actors.batch.effects import Batches
from perdure.actors.kind import Effect
from perdure.actors.purchase import BLOCKED_RETRY_US
from perdure.actors.request.state import RESUBMIT_WAITS_US
from perdure.events.batch import (
    BatchFinished,
    CancelBatch,
    CancelLines,
    LineAnswered,
    LineFailed,
    LinesAbandoned,
    LineSettled,
    ResumeBatch,
    SettleLine,
)
from perdure.events.command import Orphan
from perdure.events.errors import Superseded
from perdure.events.event import Event
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    PurchaseResubmitted,
    PurchaseUncertain,
    RefusePurchase,
)
from tests.actors.batch.given import (
    AT,
    BLOB,
    DIRECT,
    DIRECT_DOUBTFUL,
    DIRECT_INTENDED,
    abandoned,
    answer,
    answered,
    closed,
    collected,
    fold,
    intended,
    names,
    opened,
    when,
)

REFUSED = RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="too long", code="bad", status=400)


def asked(*given: Event) -> Sequence[Effect]:
    return Batches.unwired().effects(fold(*given))


def ids(*given: Event) -> list[str]:
    return [effect.id for effect in asked(*given)]


def test_each_line_is_a_purchase_of_its_own_in_the_live_lane() -> None:
    """Its number is the ordinal, it cannot be searched for, and its bytes lie in the run that it was collected in."""
    given = [opened(), collected(0, 3), collected(3, 2), closed(5, direct=True)]
    buys = asked(*given)
    assert [effect.id for effect in buys] == [f"buy/{number}/1" for number in range(5)]
    for number, effect in enumerate(buys):
        assert isinstance(effect, AskLive)
        assert (str(effect.lane), effect.ordinal, effect.chunk.first) == (
            "-/openai/default/live",
            number,
            0 if number < 3 else 3,
        )
        assert (effect.purchase, effect.intended, effect.searchable, effect.can_find) == (True, False, False, False)


def test_a_few_lines_are_on_their_way_at_a_time_and_the_state_holds_no_others() -> None:
    """Memory is bounded by running work: of any number of lines the state knows those on their way, and bits."""
    lines = 50_000
    given: list[Event] = [opened(direct=True), *[collected(first, 1_000) for first in range(0, lines, 1_000)]]
    state = fold(*given, closed(lines, direct=True))
    kind = Batches.unwired()
    for number in range(40_000):
        state = kind.evolve(state, answered(number))
        if number % 1_000 == 0:
            assert [effect.id for effect in kind.effects(state)] == [
                f"buy/{number + place}/1" for place in range(1, DIRECT_AT_A_TIME + 1)
            ]
    assert state.direct is not None
    assert len(state.direct.lines) == DIRECT_AT_A_TIME
    assert (state.ok, state.open, len(state.settled.bits)) == (40_000, 10_000, 5_000)


def test_an_answer_settles_its_line_and_the_last_one_the_batch() -> None:
    """The provider's body is kept whether or not there is an answer in it; which it is was judged when it came."""
    given = [*DIRECT]
    for number in range(3):
        given += when(given, answer(number, ok=number != 1))
        assert names(given[-1:]) == "LineAnswered"
    rows = {item.number: item.status for event in given for item in Batches.unwired().index(event).items}
    assert rows == {0: "direct", 1: "direct_error", 2: "direct", 3: "waiting"}
    assert when(given, answer(0)) == []
    row = Batches.unwired().row(fold(*given))
    assert (row.status, row.progress) == ("running", "3/4")
    assert when(given, answer(3))[-1] == BatchFinished(status="succeeded", ok=3, failed=1)


def test_a_line_that_is_refused_for_good_has_that_written_down() -> None:
    """First the refusal is durable, then its text is a blob, then the line has ended."""
    given = [*DIRECT_INTENDED, *when(DIRECT_INTENDED, REFUSED)]
    (failed,) = given[-1:]
    assert isinstance(failed, LineFailed)
    assert (failed.code, failed.message.open(), failed.status) == ("bad", "too long", 400)
    write = asked(*given)[0]
    assert isinstance(write, WriteError)
    assert (write.number, write.code, write.message, write.status) == (0, "bad", "too long", 400)
    (settled,) = when(given, SettleLine(number=0, blob=BLOB, length=5))
    assert settled == LineSettled(number=0, blob=BLOB, length=5)
    assert [item.status for item in Batches.unwired().index(settled).items] == ["unanswered"]
    assert when([*given, settled], SettleLine(number=0, blob=BLOB, length=5)) == []


def test_a_line_in_doubt_ends_where_the_policy_says_fail() -> None:
    lose = LosePurchase(ordinal=0, attempt=1)
    _, failed = when(DIRECT_DOUBTFUL, lose)
    assert isinstance(failed, LineFailed)
    assert failed.code == "batch_uncertain"


def test_a_line_in_doubt_is_bought_again_with_growing_waits_and_not_for_ever() -> None:
    """`resubmit` is for those who would rather pay twice: three times, then the line ends in doubt."""
    given: list[Event] = [opened(on_uncertain="resubmit"), collected(), closed(direct=True)]
    waits: list[float] = []
    for attempt in range(1, len(RESUBMIT_WAITS_US) + 2):
        given += [intended(attempt), PurchaseUncertain(ordinal=0, attempt=attempt, reason="cut")]
        given += when(given, LosePurchase(ordinal=0, attempt=attempt))
        if isinstance(given[-1], PurchaseResubmitted):
            waits.append(asked(*given)[0].not_before - AT)
    assert waits == pytest.approx(RESUBMIT_WAITS_US, rel=0.1)
    assert isinstance(given[-1], LineFailed)
    assert given[-1].code == "batch_uncertain"


def test_a_refused_key_blocks_the_batch_until_somebody_mends_it() -> None:
    """No line fails over a key; `resume` tries all of them at once."""
    given = [*DIRECT]
    for number in (0, 1):
        given += when(given, RefusePurchase(ordinal=number, attempt=1, kind="auth", message="no"))
    row = Batches.unwired().row(fold(*given))
    assert (row.status, row.progress) == ("blocked", "0/4 auth: no")
    assert [effect.not_before for effect in asked(*given)] == [AT + BLOCKED_RETRY_US] * 2 + [0, 0]
    given += when(given, ResumeBatch())
    assert [effect.not_before for effect in asked(*given)] == [0] * 4
    assert when(given, ResumeBatch()) == []


def test_a_cancel_settles_what_is_owed_first() -> None:
    """The lines that nobody has sent end at once; the one on the wire keeps the answer that it gets."""
    given = [*DIRECT_INTENDED, *when(DIRECT_INTENDED, CancelBatch())]
    assert given[-1] == LinesAbandoned(ranges=[(1, 3)], reason="caller")
    assert ids(*given) == ["buy/0/1"]
    assert when(given, answer(0)) == [answered(0), BatchFinished(status="cancelled", ok=1, failed=3)]
    passing = RefusePurchase(ordinal=0, attempt=1, kind="rate_limit", message="m")
    assert names(when(given, passing)) == "PurchaseRefused LinesAbandoned BatchFinished"


def test_a_deadline_ends_it_in_the_same_way() -> None:
    happened = when(DIRECT, CancelBatch(reason="deadline"))
    assert happened[-1] == BatchFinished(status="expired", ok=0, failed=4)


def test_w17_a_line_given_up_on_the_wire_is_owed_and_its_answer_is_kept() -> None:
    """W-17: its caller is told at once; the batch waits for what is paid for."""
    given = [*DIRECT_INTENDED, *when(DIRECT_INTENDED, CancelLines(numbers=range(4)))]
    assert names(given[-1:]) == "LinesAbandoned"
    assert ids(*given) == ["buy/0/1"]
    given += when(given, DoubtPurchase(ordinal=0, attempt=1, reason="cut"))
    assert ids(*given) == ["find/0/1"]
    happened = when(given, answer(0))
    assert happened == [
        LineAnswered(number=0, attempt=1, blob=BLOB, length=9, ok=True, late="cancelled"),
        BatchFinished(status="cancelled", ok=0, failed=4),
    ]
    assert [(item.status, item.blob) for item in Batches.unwired().index(happened[0]).items] == [("cancelled", BLOB)]
    assert names(when(given, LosePurchase(ordinal=0, attempt=1))) == "PurchaseLost BatchFinished"


def test_w17_a_line_given_up_before_its_turn_is_never_sent() -> None:
    given = [*DIRECT, abandoned((0, 1))]
    assert ids(*given) == ["buy/2/1", "buy/3/1"]
    with pytest.raises(Superseded):
        when(given, IntendPurchase(ordinal=0, attempt=1, identity="i"))


def test_an_answer_that_nobody_awaits_is_adopted_or_put_on_record() -> None:
    """What was paid for is never dropped: the first answer counts, whatever was thought of its line meanwhile."""
    failing = [*DIRECT_INTENDED, *when(DIRECT_INTENDED, REFUSED)]
    assert names(when(failing, Orphan(effect="buy/0/1", report=answer(0)))) == "LineAnswered"
    settled = [*failing, *when(failing, SettleLine(number=0, blob=BLOB, length=5))]
    (second,) = when(settled, Orphan(effect="buy/0/1", report=answer(0)))
    assert isinstance(second, DuplicatePurchase)
    state = fold(*settled, second)
    assert (state.duplicate, state.unwanted) == (1, [])


def test_a_batch_that_owes_is_not_over() -> None:
    """No state that owes is terminal."""
    given = [*DIRECT_INTENDED, abandoned((0, 3))]
    assert Batches.unwired().row(fold(*given)).terminal is False
