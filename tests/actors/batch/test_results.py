"""Results: each line settles once, by the first result that comes, or with an error that says why there is none."""

from __future__ import annotations

import pytest

from perdure.actors.batch.effects import Batches
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchDiscarded,
    BatchFinished,
    CancelBatch,
    CloseBatch,
    EndPart,
    FileBlocked,
    FileStored,
    NoteFileAsked,
    NoteTrouble,
    Part,
    ResultsTaken,
    ResumeBatch,
)
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.purchase import (
    IntendPurchase,
)
from tests.actors.batch.given import (
    AT,
    CLOSED,
    COLLECTING,
    ENDED,
    LINES,
    PHASES,
    REFUSED,
    SUBMITTED,
    collected,
    end,
    fold,
    names,
    opened,
    settle,
    sold,
    take,
    taken,
    when,
)


def test_b29_b30_results_settle_their_lines_in_any_order() -> None:
    """B-29, B-30: answers and errors settle each line for itself, whatever their order."""
    (event,) = when(ENDED, take(3, 0, 2, failed=[1]))
    assert isinstance(event, ResultsTaken)
    assert (list(event.numbers), list(event.failed)) == ([3, 0, 2], [0])
    state = fold(*ENDED, event)
    assert (state.ok, state.failed, state.open_ranges(Part(0, 3, 0))) == (2, 1, [(1, 1)])
    rows = {row.number: row.status for row in Batches.unwired().index(event).items}
    assert rows == {3: "ok", 0: "error", 2: "ok"}


@pytest.mark.parametrize(
    ("failed", "kept"), [([0], [1]), ([1], []), ([0, 1], [1])], ids=["first failed", "second failed", "both failed"]
)
def test_b31_of_two_results_in_a_run_the_first_counts_once(failed: list[int], kept: list[int]) -> None:
    """B-31: a line that comes twice keeps its first result; it is counted once, whichever of the two failed."""
    (event,) = when(ENDED, take(1, 1, failed=failed))
    assert isinstance(event, ResultsTaken)
    assert (list(event.numbers), list(event.offsets), list(event.failed), event.duplicate) == ([1], [0], kept, 1)
    state = fold(*ENDED, event)
    assert (state.ok, state.failed, state.duplicate) == (1 - len(kept), len(kept), 1)


def test_b31_b6_w21_duplicates_over_runs_and_foreign_lines_are_counted_and_ignored() -> None:
    """B-31 with B-6 and W-21: a result that nobody asked for is recorded and ignored, never put in another's place by
    position; one that came before in another run is recorded and ignored."""
    given = [*ENDED, taken(0, 1)]
    (event,) = when(given, take(1, 2, 77, behind=100, cursor=200, foreign=1, unreadable=1))
    assert isinstance(event, ResultsTaken)
    assert (list(event.numbers), event.duplicate, event.extra, event.unreadable) == ([2], 1, 2, 1)


def test_b31_w7_lines_without_a_result_settle_with_an_error() -> None:
    """B-31, W-7: at the end each line that did not come settles with the batch's error, once."""
    given = [*ENDED, taken(1)]
    part, finished = when(given, settle())
    assert finished == BatchFinished(status="succeeded", ok=1, failed=3)
    rows = [(row.number, row.status) for row in Batches.unwired().index(part).items]
    assert rows == [(0, "unanswered"), (2, "unanswered"), (3, "unanswered")]
    state = fold(*given, part, finished)
    assert (state.ok, state.failed) == (1, 3)


def test_w9_lines_that_the_provider_names_get_their_own_error() -> None:
    """W-9: a line with an error of its own points at it; the others share one. A number that is none of the part's
    lines changes nothing."""
    part, _ = when([*ENDED, taken(1)], settle(own={2: (5, 7), 1: (12, 3), 99: (1, 1)}))
    rows = [(row.number, row.offset, row.length) for row in Batches.unwired().index(part).items]
    assert sorted(rows) == [(0, 0, 5), (2, 5, 7), (3, 0, 5)]


def test_w19_a_run_that_was_taken_is_not_taken_again() -> None:
    """W-19: a crash during delivery repeats nothing: what is behind the cursor is not taken a second time."""
    given = [*ENDED, *when(ENDED, take(0, 1))]
    assert when(given, take(0, 1)) == []
    assert when(given, take(2, behind=100, cursor=150, source=0)) != []
    assert when(given, take(2, behind=7)) == []


def test_a_run_of_results_that_is_not_whole_is_refused() -> None:
    with pytest.raises(Rejected, match="not whole"):
        when(ENDED, take(0, 1, lengths=[9]))


def test_b32_w2_after_delivery_the_stream_is_closed_and_nothing_is_deleted() -> None:
    """B-32, W-2: a finished batch asks for nothing and takes nothing in; its results stay. (B-32 drops the record:
    W-2 holds.)"""
    state = fold(*PHASES["finished"])
    row = Batches.unwired().row(state)
    assert (row.status, row.terminal) == ("succeeded", True)
    assert list(Batches.unwired().effects(state)) == []
    assert (state.lines, state.ok, state.failed) == (LINES, 3, 1)
    assert row.keep_key


@pytest.mark.parametrize(
    ("ends", "cancel", "status"),
    [
        (("completed", "completed"), "", "succeeded"),
        (("completed", "cancelled"), "caller", "cancelled"),
        (("completed", "cancelled"), "deadline", "expired"),
        (("cancelled", "expired"), "", "expired"),
        (("expired", "failed"), "", "failed"),
    ],
)
def test_a_batch_of_several_parts_ends_as_the_worst_of_them(ends: tuple[str, str], cancel: str, status: str) -> None:
    given: list[Event] = [opened(max_lines=2), collected(0, 2), collected(2, 2)]
    given += when(given, CloseBatch())
    for part in (0, 1):
        given += when(given, FileStored(part=part, provider_file=f"f-{part}"))
        given += when(given, IntendPurchase(ordinal=part, attempt=1, identity="i"))
        report = sold(f"p-{part}")
        given += when(given, type(report)(part=part, attempt=1, provider_batch=report.provider_batch))
    if cancel:
        given += when(given, CancelBatch(reason=cancel))
    for part, how in enumerate(ends):
        report_end = end(how)
        given += when(given, EndPart(part=part, status=report_end.status, code="c", message="m"))
        given += when(given, settle(part=part))
    assert Batches.unwired().row(fold(*given)).status == status


def test_a_discarded_batch_frees_its_key() -> None:
    state = fold(*COLLECTING, BatchDiscarded())
    row = Batches.unwired().row(state)
    assert (row.status, row.terminal, row.keep_key) == ("cancelled", True, False)
    late = fold(*COLLECTING, *when(COLLECTING, CancelBatch(reason="deadline")))
    assert Batches.unwired().row(late).status == "expired"


def test_resume_moves_whatever_is_blocked() -> None:
    assert names(when(REFUSED, ResumeBatch())) == "PurchaseResumed"
    blocked = [*CLOSED, *when(CLOSED, FileBlocked(part=0, error="no key"))]
    given = [*blocked, *when(blocked, ResumeBatch())]
    given += when(given, NoteFileAsked(part=0, file="pfile_1"))
    assert [effect.id for effect in Batches.unwired().effects(fold(*given))] == ["resume-file/0/1"], (
        "a warning that overtook the order is not forgotten"
    )
    polling = [*SUBMITTED, *when(SUBMITTED, NoteTrouble(part=0, error="401", blocked=True))]
    (waiting,) = Batches.unwired().effects(fold(*polling))
    (at_once,) = Batches.unwired().effects(fold(*polling, *when(polling, ResumeBatch())))
    assert waiting.not_before > AT + 60 * SECOND_US >= at_once.not_before
    assert waiting.id != at_once.id
