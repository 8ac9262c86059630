"""What a batch asks for, and when: first polls, windows of parts, deadlines, and nothing at rest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.actors.batch.asks import CANCEL_PATIENCE_US, OVERDUE_MARGIN_US, PARTS_AT_A_TIME, Poll, effects
from perdure.actors.batch.effects import Batches
from perdure.actors.batch.state import first_poll_us
from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US, jitter
from perdure.events.batch import BatchClosed, CancelBatch, CancelSent, FileReady, Part, PollTroubled, ResubmitBatch
from perdure.events.event import Event
from perdure.events.purchase import PurchaseIntended, PurchaseLost
from tests.actors.batch.given import (
    AT,
    CANCELLING,
    CLOSED,
    INTENDED,
    LATE,
    LOST,
    OVERDUE,
    PHASES,
    READY,
    SUBMITTED,
    collected,
    fold,
    opened,
    settled,
    submitted,
    when,
)


def asked(*events: Event) -> Sequence[Effect]:
    """What is asked for after `events`."""
    return effects(fold(*events))


@pytest.mark.parametrize(
    ("lines", "seconds"), [(1, 30), (9, 30), (10, 60), (99, 60), (100, 300), (999, 300), (1_000, 600), (50_000, 600)]
)
def test_b25_the_first_poll_by_batch_size(lines: int, seconds: int) -> None:
    """B-25: below 10 lines after 30 s, below 100 after a minute, below 1,000 after five, else after ten."""
    assert first_poll_us(lines) == seconds * SECOND_US
    given = [opened(), collected(0, lines), BatchClosed(lines=lines, parts=[Part(0, lines - 1, 10)])]
    (poll,) = asked(*given, FileReady(part=0, provider_file="f"), submitted())
    assert poll.not_before == AT + seconds * SECOND_US


def test_w18_the_providers_hint_goes_before_the_table_and_the_callers_word_before_both() -> None:
    """W-18: the curve can be set; a provider's hint wins over the table, what the caller set wins over the hint."""

    def first(hint_us: int, **how: object) -> int:
        given = [opened(**how), *SUBMITTED[1:-1], submitted(hint_us=hint_us)]
        return asked(*given)[0].not_before - AT

    assert first(7, hint=True) == 7
    assert first(0, hint=True) == 30 * SECOND_US
    assert first(7, hint=False) == 30 * SECOND_US
    assert first(7, hint=True, first_poll_us=3) == 3


def test_a_batch_that_was_found_again_is_asked_about_at_once() -> None:
    """It has been at the provider for an unknown time: the table by size would only add to that."""
    (poll,) = asked(opened(), *SUBMITTED[1:-1], submitted(reconciled=True))
    assert poll.not_before == AT


def test_w18_jitter_is_fixed_for_an_effect_and_differs_between_actors() -> None:
    """W-18: waits are spread by a tenth around their length, the same for an effect in every process."""
    factors = [jitter(f"batch_{number}", "poll/0/0") for number in range(1_000)]
    assert factors == [jitter(f"batch_{number}", "poll/0/0") for number in range(1_000)]
    assert 0.9 <= min(factors) < 0.92
    assert 1.08 < max(factors) <= 1.1


def test_w11_one_batch_has_one_poll() -> None:
    """W-11: a part that the provider works on asks for one poll, whatever happened before; replay adds none."""
    for given in (SUBMITTED, [*SUBMITTED, PollTroubled(part=0, error="x", at=AT)], CANCELLING):
        assert [type(effect).__name__ for effect in asked(*given)].count("Poll") == 1


def test_w10_a_batch_is_overdue_an_hour_after_the_providers_window() -> None:
    """W-10: a part that never ends is overdue after the provider's window and an hour, which is said once; then it is
    cancelled, and given up when even that does not end it. After a cancel all that comes much sooner."""
    (poll,) = asked(*SUBMITTED)
    assert isinstance(poll, Poll)
    assert (poll.overdue_at, poll.give_up_at) == (AT + 86_400 * SECOND_US + OVERDUE_MARGIN_US, 0)
    poll, cancel = asked(*OVERDUE)
    assert isinstance(poll, Poll)
    assert (poll.overdue_at, poll.give_up_at, poll.overdue) == (0, LATE + CANCEL_PATIENCE_US, True)
    assert (cancel.id, cancel.not_before) == ("cancel/0", 0)
    poll = asked(*CANCELLING, CancelSent(part=0, at=AT + 5))[0]
    assert isinstance(poll, Poll)
    assert poll.give_up_at == AT + 5 + CANCEL_PATIENCE_US
    assert poll.not_before == 0, "a cancelled batch is looked at at once"
    poll = asked(*CANCELLING)[0]
    assert isinstance(poll, Poll)
    assert poll.give_up_at == AT + CANCEL_PATIENCE_US, "also when the cancel never gets through"


def test_what_is_blocked_is_tried_slowly() -> None:
    (poll,) = asked(*SUBMITTED, PollTroubled(part=0, error="401", at=AT, blocked=True))
    assert poll.not_before == AT + 300 * SECOND_US


def test_a_reconcile_waits_until_a_listing_must_show_the_purchase() -> None:
    (buy,) = asked(*INTENDED)
    assert (buy.id, buy.intended, buy.not_before) == ("buy/0/1", True, AT + 5 * SECOND_US)
    (buy,) = asked(*READY)
    assert (buy.id, buy.intended, buy.not_before) == ("buy/0/1", False, 0)


def test_s1_a_deadline_is_a_time_in_the_state_and_not_a_task() -> None:
    given = [opened(deadline_at=AT + 60 * SECOND_US), *CLOSED[1:]]
    assert [(effect.id, effect.not_before) for effect in asked(*given)] == [
        ("deadline", AT + 60 * SECOND_US),
        ("file/0", 0),
    ]
    assert "deadline" not in [effect.id for effect in asked(*given, *when(given, CancelBatch(reason="deadline")))]


@pytest.mark.parametrize("phase", PHASES)
def test_what_is_at_rest_asks_for_nothing(phase: str) -> None:
    state = fold(*PHASES[phase])
    if Batches.unwired().row(state).terminal:
        assert list(effects(state)) == []
    elif phase not in ("new", "collecting", "filing", "file blocked"):
        assert list(effects(state)) != [], "only its caller and its file's actor can be waited for without an effect"


def test_in_doubt_even_a_deadline_waits_for_somebody() -> None:
    given = [opened(deadline_at=AT + 60 * SECOND_US), *LOST[1:]]
    assert list(asked(*given)) == []
    assert Batches.unwired().row(fold(*given)).terminal


# ---------------------------------------------------------------- many parts


def many(count: int) -> list[Event]:
    """A closed batch of `count` parts with two lines each."""
    parts = [Part(2 * number, 2 * number + 1, 20) for number in range(count)]
    return [opened(), collected(0, 2 * count), BatchClosed(lines=2 * count, parts=parts)]


def in_doubt(part: int) -> list[Event]:
    """What happens to a part until it is lost."""
    return [
        FileReady(part=part, provider_file=f"f-{part}"),
        PurchaseIntended(ordinal=part, attempt=1, identity="i", at=AT),
        PurchaseLost(ordinal=part, attempt=1),
    ]


def test_a_window_of_parts_is_under_way_at_a_time() -> None:
    given = many(40)
    assert [effect.id for effect in asked(*given)] == [f"file/{number}" for number in range(PARTS_AT_A_TIME)]
    given += [submitted(part) for part in range(4)]
    assert len(asked(*given)) == PARTS_AT_A_TIME


def test_parts_in_doubt_hold_nobodys_place() -> None:
    given = many(PARTS_AT_A_TIME + 3)
    for part in range(PARTS_AT_A_TIME):
        given += in_doubt(part)
    assert [effect.id for effect in asked(*given)] == ["file/16", "file/17", "file/18"]
    assert not Batches.unwired().row(fold(*given)).terminal


def test_what_is_owed_is_asked_for_whoever_comes_before_it() -> None:
    given = many(2 * PARTS_AT_A_TIME)
    for part in range(PARTS_AT_A_TIME):
        given += in_doubt(part)
    last = 2 * PARTS_AT_A_TIME - 1
    given += [FileReady(part=last, provider_file="f")]
    given += [PurchaseIntended(ordinal=last, attempt=1, identity="i", at=AT)]
    given += when(given, ResubmitBatch())
    effects_now = asked(*given)
    assert effects_now[0].id == f"buy/{last}/1"
    assert effects_now[0].intended
    assert len(effects_now) == PARTS_AT_A_TIME


def test_cancelling_many_parts_settles_them_in_turn() -> None:
    given = many(100)
    given += when(given, CancelBatch())
    assert [effect.id for effect in asked(*given)] == [f"collect/{number}/0" for number in range(PARTS_AT_A_TIME)]
    assert asked(*given, settled((0, 1)))[0].id == "collect/1/0"
