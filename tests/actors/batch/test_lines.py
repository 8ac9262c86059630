"""Single lines of a shared window: given up one by one, by their callers or by their deadlines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.actors.batch.asks import AskForFile, Collect, Poll, ReachLineDeadline
from perdure.actors.batch.effects import Batches
from perdure.actors.kind import Effect
from perdure.actors.lane import LOCAL
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchClosed,
    BatchFinished,
    CancelLines,
    CloseBatch,
    ExpireLines,
    LineNote,
    LinesAbandoned,
    Part,
    PartEnded,
    ResultsTaken,
)
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.purchase import LosePurchase, MissPurchase, RefusePurchase
from tests.actors.batch.given import (
    AT,
    BLOB,
    CLOSED,
    COLLECTING,
    DOUBTFUL,
    ENDED,
    FINISHED,
    INTENDED,
    LOST,
    READY,
    SUBMITTED,
    abandoned,
    closed,
    collected,
    ended,
    fold,
    names,
    opened,
    settle,
    sold,
    take,
    taken,
    when,
)

ALL = CancelLines(numbers=range(4))


def asked(*given: Event) -> Sequence[Effect]:
    return Batches.unwired().effects(fold(*given))


def statuses(*given: Event) -> dict[int, str]:
    """What the lines' rows say."""
    return {item.number: item.status for event in given for item in Batches.unwired().index(event).items}


def test_w17_a_line_is_given_up_once_and_a_settled_one_not_at_all() -> None:
    """W-17: the line has ended for its caller at once; asking again, or too late, changes nothing."""
    (event,) = when(COLLECTING, CancelLines(numbers=[2, 0, 2]))
    assert event == LinesAbandoned(ranges=[(0, 0), (2, 2)], reason="caller")
    assert statuses(*COLLECTING, event) == {0: "cancelled", 1: "waiting", 2: "cancelled", 3: "waiting"}
    assert when([*COLLECTING, event], CancelLines(numbers=[0, 2])) == []
    assert names(when([*COLLECTING, event], CancelLines(numbers=[1, 2]))) == "LinesAbandoned"
    assert when(FINISHED, ALL) == []
    with pytest.raises(Rejected, match="no line 4"):
        when(COLLECTING, CancelLines(numbers=[4]))


def test_w17_a_line_that_was_given_up_while_collecting_is_never_sent() -> None:
    """W-17: the input file is made without it, and a problem that the provider has with a line of that file is counted
    past the gap."""
    given = [*COLLECTING, abandoned((1, 1))]
    given += when(given, CloseBatch())
    (order,) = asked(*given)
    assert isinstance(order, AskForFile)
    assert order.left_out == [(1, 1)]
    submitted = [*given, *SUBMITTED[len(CLOSED) :]]
    (collecting,) = asked(*submitted, ended())
    assert isinstance(collecting, Collect)
    assert collecting.left_out == [(1, 1)]


def test_w17_a_line_given_up_after_the_window_closed_changes_no_file() -> None:
    """W-17: the file is fixed when the window closes, so that it is the same after every crash."""
    (order,) = asked(*CLOSED, abandoned((1, 1)))
    assert isinstance(order, AskForFile)
    assert order.left_out == []


def test_w17_a_part_of_which_nobody_waits_for_a_line_is_no_part() -> None:
    """W-17: what nobody waits for when the window closes is not bought."""
    given = [opened(max_lines=2), collected(0, 2), collected(2, 2), abandoned((0, 1))]
    assert when(given, CloseBatch()) == [BatchClosed(lines=4, parts=[Part(2, 3, 20)])]


def test_w17_a_window_that_everybody_left_ends_when_it_closes() -> None:
    """W-17: it stays open for others; at its end nothing is sent, and its lines keep their ends and their keys."""
    left = [*COLLECTING, *when(COLLECTING, ALL)]
    assert names(when(left, ALL)) == ""
    assert fold(*left).phase == "collecting"
    happened = when(left, CloseBatch())
    assert happened == [
        BatchClosed(lines=4, parts=()),
        BatchFinished(status="cancelled", ok=0, failed=4),
    ]
    row = Batches.unwired().row(fold(*left, *happened))
    assert (row.status, row.terminal, row.keep_key) == ("cancelled", True, True)


@pytest.mark.parametrize("given", [CLOSED, READY, LOST], ids=["closed", "ready", "in doubt"])
def test_w17_the_last_line_given_up_before_the_purchase_ends_the_part(given: Sequence[Event]) -> None:
    """W-17: nobody waits any more and nothing was bought: nothing is."""
    some = when(given, CancelLines(numbers=[0, 1, 2]))
    assert names(some) == "LinesAbandoned"
    (_, end) = when([*given, *some], CancelLines(numbers=[3], reason="deadline"))
    assert isinstance(end, PartEnded)
    assert (end.status, end.code) == ("expired", "batch_uncertain" if given is LOST else "batch_expired")


def test_w17_what_is_owed_is_settled_before_the_part_ends() -> None:
    """W-17: the intent stands: the purchase is made out first, then it is cancelled there or ended here."""
    given = [*INTENDED, *when(INTENDED, ALL)]
    assert [effect.id for effect in asked(*given)] == ["buy/0/1"]
    refused = RefusePurchase(ordinal=0, attempt=1, kind="rate_limit", message="m")
    assert names(when(given, refused)) == "PurchaseRefused PartEnded"
    assert names(when(given, MissPurchase(ordinal=0, attempt=1))) == "PurchaseAbsent PartEnded"
    doubtful = [*DOUBTFUL, *when(DOUBTFUL, ALL)]
    assert names(when(doubtful, LosePurchase(ordinal=0, attempt=1))) == "PurchaseLost PartEnded"
    assert [effect.id for effect in asked(*given, *when(given, sold()))] == ["poll/0/0", "cancel/0"]


def test_w17_a_batch_for_which_nobody_waits_is_cancelled_at_the_provider() -> None:
    """W-17: while one line has a caller the batch goes on; after the last one it is cancelled there."""
    some = [*SUBMITTED, *when(SUBMITTED, CancelLines(numbers=[0, 1, 3]))]
    assert [effect.id for effect in asked(*some)] == ["poll/0/0"]
    poll, cancel = asked(*some, *when(some, CancelLines(numbers=[2])))
    assert cancel.id == "cancel/0"
    assert isinstance(poll, Poll)
    assert poll.cancelling


def test_w17_an_answer_to_a_line_that_was_given_up_is_kept_and_changes_nothing() -> None:
    """W-17: it is paid for, so its row points at it; for its caller the line stays as it ended. A second answer is one
    too many."""
    given = [*ENDED, *when(ENDED, CancelLines(numbers=[0])), *when(ENDED, CancelLines(numbers=[1], reason="deadline"))]
    (event,) = when(given, take(0, 1, 2, failed=[1]))
    assert isinstance(event, ResultsTaken)
    assert (event.numbers, event.failed, event.cancelled, event.expired) == ([0, 1, 2], [], [0], [1])
    rows = {item.number: item for item in Batches.unwired().index(event).items}
    assert [(rows[number].status, rows[number].blob) for number in (0, 1, 2)] == [
        ("cancelled", BLOB),
        ("expired", BLOB),
        ("ok", BLOB),
    ]
    state = fold(*given, event)
    assert (state.ok, state.failed, state.duplicate) == (1, 2, 0)
    (again,) = when([*given, event], take(0, behind=100, cursor=200))
    assert isinstance(again, ResultsTaken)
    assert (again.numbers, again.duplicate) == ([], 1)
    happened = when([*given, event], settle())
    assert happened[-1] == BatchFinished(status="succeeded", ok=1, failed=3)


# ---------------------------------------------------------------- deadlines


def noted(*deadlines: int) -> list[Event]:
    """A window whose lines have these deadlines, in seconds from its opening; 0 for none."""
    notes = [LineNote(number, deadline_at=AT + at * SECOND_US) for number, at in enumerate(deadlines) if at]
    return [opened(), collected(0, len(deadlines), notes=notes)]


def deadline_of(*given: Event) -> int:
    """When the next line expires, in seconds; -1 for never."""
    found = [effect.not_before for effect in asked(*given) if isinstance(effect, ReachLineDeadline)]
    return (found[0] - AT) // SECOND_US if found else -1


def test_deadlines_come_one_after_the_other_and_only_for_lines_that_are_open() -> None:
    given = noted(60, 30, 0, 30, 60)
    assert [due.ranges for due in fold(*given).deadlines] == [[(1, 1), (3, 3)], [(0, 0), (4, 4)]]
    assert deadline_of(*given) == 30
    given += when(given, ExpireLines(until=AT + 30 * SECOND_US))
    assert given[-1] == LinesAbandoned(ranges=[(1, 1), (3, 3)], reason="deadline")
    assert statuses(*given)[3] == "expired"
    assert deadline_of(*given) == 60
    given += when(given, CancelLines(numbers=[0, 4]))
    assert deadline_of(*given) == -1
    assert fold(*given).deadlines == []
    assert when(given, ExpireLines(until=AT + 60 * SECOND_US)) == []


def test_neighbours_with_one_deadline_are_one_range() -> None:
    """However many lines there are, what is kept of their deadlines grows with how often they change."""
    assert [due.ranges for due in fold(*noted(*[60] * 1_000)).deadlines] == [[(0, 999)]]


def test_before_a_line_expires_the_provider_is_asked_once_more() -> None:
    """The effect goes to the provider where that has the part; it waits while results are read, for they may be its."""
    window = noted(60, 0, 0, 0)
    (deadline, _) = asked(*window, *CLOSED[2:])
    assert isinstance(deadline, ReachLineDeadline)
    assert (deadline.lane, deadline.provider_batch) == (LOCAL, "")
    (deadline, _) = asked(*window, *SUBMITTED[2:])
    assert isinstance(deadline, ReachLineDeadline)
    assert (deadline.lane.traffic, deadline.provider_batch) == ("batch", "p-1")
    assert deadline_of(*window, *ENDED[2:]) == -1
    assert when([*window, *ENDED[2:]], ExpireLines(until=AT + 60 * SECOND_US)) == []
    assert deadline_of(*window, *ENDED[2:], taken(0)) == -1


def test_a_batch_at_rest_asks_for_no_deadline() -> None:
    window = noted(60, 0, 0, 0)
    assert deadline_of(*window, *LOST[2:]) == -1
    assert deadline_of(*window, *FINISHED[2:]) == -1
    assert deadline_of(*window, closed(direct=True)) == 60
