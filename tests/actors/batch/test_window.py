"""The window: lines are collected, and it closes once, by time, by number, by bytes or by its caller."""

from __future__ import annotations

import pytest

from perdure.actors.batch.effects import Batches
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchClosed,
    CloseBatch,
    CollectLines,
    LineNote,
    Part,
    WindowClosed,
)
from perdure.events.command import Command
from perdure.events.errors import InvalidRequest, Rejected, TooLarge
from perdure.events.event import Event
from perdure.store.records import Claim
from tests.actors.batch.given import (
    AT,
    COLLECTING,
    abandoned,
    collect,
    collected,
    fold,
    names,
    open_batch,
    opened,
    when,
)


def test_b24_reaching_the_maximum_closes_at_once_exactly_once() -> None:
    """B-24: the line that fills a timed window closes it in the same commit; the timer is not asked for any more, and
    closing again, by the timer or a caller, changes nothing."""
    given: list[Event] = [opened(max_lines=4, close_at=AT + 10 * SECOND_US), collected(0, 3)]
    assert [effect.id for effect in Batches.unwired().effects(fold(*given))] == ["close"]
    happened = when(given, collect(3, 1))
    assert names(happened) == "LinesCollected BatchClosed"
    full = [*given, *happened]
    assert "close" not in [effect.id for effect in Batches.unwired().effects(fold(*full))]
    assert when(full, CloseBatch()) == []
    assert when(full, collect(3, 1)) == [], "a repeat of what was collected is answered, not refused"
    with pytest.raises(Rejected, match="closed"):
        when(full, collect(4, 1))


def test_b24_reaching_the_maximum_of_bytes_closes_too() -> None:
    """B-24: the limit of bytes counts like the limit of lines."""
    given = [opened(max_bytes=40, close_at=AT + 10 * SECOND_US), collected(0, 3)]
    assert names(when(given, collect(3, 1))) == "LinesCollected BatchClosed"


def test_b24_a_batch_without_a_window_stays_open_beyond_one_part() -> None:
    """B-24: a batch that is submitted whole is not closed by its size; it becomes parts."""
    assert names(when([opened(max_lines=4)], collect(0, 4))) == "LinesCollected"


def test_b24_the_timer_closes_a_window_with_lines_and_gives_up_an_empty_one() -> None:
    """B-24: at its time a window is closed; one into which nothing came ends without a batch and without an error."""
    empty = [opened(close_at=AT)]
    assert names(when([*empty, collected()], CloseBatch())) == "BatchClosed"
    assert names(when(empty, CloseBatch(), at=AT)) == "BatchDiscarded"
    with pytest.raises(InvalidRequest, match="no lines"):
        when([opened()], CloseBatch())


def test_b23_the_window_ends_by_the_time_of_its_first_request() -> None:
    """B-23: the time runs from the opening, which the first request brings about; later ones do not move it, and once
    it is over the next request needs another window."""
    (first,) = when([], open_batch(close_after_us=10 * SECOND_US))
    ends = AT + 10 * SECOND_US
    given: list[Event] = [first]
    for second, number in enumerate(range(0, 9, 3), 1):
        given += when(given, collect(number, 3), at=AT + second * SECOND_US)
        asked = Batches.unwired().effects(fold(*given))
        assert [(effect.id, effect.not_before) for effect in asked] == [("close", ends)]
    given += when(given, CloseBatch(), at=ends)
    assert Batches.unwired().effects(fold(*given))[0].id == "file/0"
    with pytest.raises(WindowClosed):
        when(given, collect(9, 1))


@pytest.mark.parametrize("limits", [{"max_lines": 4}, {"max_bytes": 40}], ids=["lines", "bytes"])
def test_b24_what_does_not_fit_any_more_is_for_another_window(limits: dict[str, int]) -> None:
    """B-24: a run beyond what is left is refused in a way that says so; the window stays as it was. What no window can
    hold is refused with the limit."""
    given = [opened(close_at=AT + 10 * SECOND_US, **limits), collected(0, 3)]
    with pytest.raises(WindowClosed, match="no room"):
        when(given, collect(3, 2))
    assert names(when(given, collect(3, 1))) == "LinesCollected BatchClosed"
    with pytest.raises(TooLarge):
        when(given, collect(3, 5))


def test_w13_what_waits_at_the_windows_end_decides() -> None:
    """W-13: a window is batched if enough requests wait when it closes, in whatever way; who gave up does not count."""
    for reason in (CloseBatch(), collect(3, 1)):
        window = [opened(max_lines=4, close_at=AT, minimum=3), collected(0, 3)]
        (*_, closed) = when(window, reason)
        assert isinstance(closed, BatchClosed)
        assert (closed.direct, len(closed.parts)) == (False, 1)
        (*_, closed) = when([*window, abandoned((0, 1))], reason)
        assert isinstance(closed, BatchClosed)
        assert (closed.direct, closed.parts) == (True, ())


def test_w13_a_direct_window_is_never_batched() -> None:
    (closed,) = when([opened(direct=True), collected()], CloseBatch())
    assert closed == BatchClosed(lines=4, parts=(), direct=True)


def test_w15_a_window_is_one_group() -> None:
    """W-15: provider, endpoint, model and credential of a window are fixed when it opens, for all of its lines."""
    window = fold(opened(), collected())
    assert window.opened is not None
    group = Batches.unwired().row(window).group
    assert group == "/v1/responses m default"
    for changed in ({"provider": "other"}, {"endpoint": "/v1/other"}, {"model": "n"}, {"credential": "other"}):
        with pytest.raises(Rejected, match="with another request"):
            when(COLLECTING, open_batch(**changed))


def test_a_run_brings_notes_on_its_own_lines_and_keys_become_claims() -> None:
    notes = [LineNote(1, key="k-1", digest="d-1"), LineNote(2, custom_id="mine")]
    command = CollectLines(first=0, blob=collect().blob, names=(), lengths=[10] * 4, notes=notes)
    (event,) = when([opened()], command)
    index = Batches.unwired().index(event)
    assert [(item.name, item.status) for item in index.items] == [("", "waiting")] * 4
    assert index.claims == [Claim("k-1", 1, "d-1")]
    with pytest.raises(Rejected, match="its own lines"):
        when([opened(), event], collect(4, 1, notes=[LineNote(3, key="k-3")]))


def test_w16_a_batch_is_cut_into_parts_by_lines_and_by_bytes() -> None:
    """W-16: parts stay within the provider's number of lines and number of bytes; no line is in two or in none."""
    by_lines = [opened(max_lines=5), collected(0, 3), collected(3, 3), collected(6, 2), collected(8, 3)]
    (closed,) = when(by_lines, CloseBatch())
    assert isinstance(closed, BatchClosed)
    assert closed.parts == [Part(0, 2, 30), Part(3, 7, 50), Part(8, 10, 30)]
    by_bytes = [opened(max_bytes=70), collected(0, 3), collected(3, 3), collected(6, 2)]
    (closed,) = when(by_bytes, CloseBatch())
    assert isinstance(closed, BatchClosed)
    assert closed.parts == [Part(0, 5, 60), Part(6, 7, 20)]


def test_w16_a_run_beyond_the_limit_is_refused() -> None:
    """W-16: what no batch of the provider can hold is refused with the limit."""
    with pytest.raises(TooLarge) as refusal:
        when([opened(max_bytes=30)], collect(0, 4))
    assert refusal.value.limit == 30


@pytest.mark.parametrize(
    "command",
    [collect(0, 4, blob="c" * 64), collect(2, 2), collect(5, 1)],
    ids=["other content", "within a run", "a gap"],
)
def test_w1_lines_come_in_order_and_once(command: Command) -> None:
    """W-1: a run is taken once and in order; a repeat with other content is refused."""
    with pytest.raises(Rejected):
        when(COLLECTING, command)


def test_w3_w78_a_run_of_lines_is_one_event_that_points_at_its_bytes() -> None:
    """W-3, W-78: lines are in the log as they are collected: one event for a run, with names and lengths; the bytes are
    in a blob, and each line is a row of its own."""
    (event,) = when([opened()], collect(0, 1000))
    state = fold(opened(), event)
    assert (state.lines, len(state.chunks)) == (1000, 1)
    index = Batches.unwired().index(event)
    assert [(row.number, row.name, row.offset) for row in index.items[:2]] == [(0, "r-0", 0), (1, "r-1", 10)]
    assert list(index.references) == [collect().blob]


def test_a_run_without_lines_or_with_too_few_names_is_refused() -> None:
    for command in (collect(0, 0), collect(0, 1).__class__(first=0, blob="b", names=["a"], lengths=[1, 2])):
        with pytest.raises(Rejected, match="a run has"):
            when([opened()], command)


def test_opening_again_with_another_request_is_refused() -> None:
    with pytest.raises(Rejected, match=r"model was 'm' and is now 'n'"):
        when(COLLECTING, open_batch(model="n"))
