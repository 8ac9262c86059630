"""The lifecycle of a batch: a pure function of what is recorded and of the time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.simulator.batching import TERMINAL, Complaint, Phase, Plan, input_due
from perdure.adapters.simulator.openai.lifecycle import WINDOW_S, BatchRecord, Checked, stage, wire
from perdure.adapters.simulator.openai.wire import LineError


def record(
    *,
    plan: Plan | None = None,
    checked: Checked | None = None,
    pace_s: float = 100.0,
    cancel_at: float | None = None,
    expire_at: float | None = None,
) -> BatchRecord:
    return BatchRecord(
        id="batch_1",
        endpoint="/v1/responses",
        input_file_id="file-1",
        metadata=None,
        created_at=1000.0,
        pace_s=pace_s,
        output_life_s=None,
        plan=plan or Plan(),
        checked=checked or Checked(10, "m"),
        cancel_at=cancel_at,
        expire_at=expire_at,
    )


@pytest.mark.parametrize(
    ("after_s", "status", "done"),
    [
        (0, "validating", 0),
        (9.9, "validating", 0),
        (10, "in_progress", 0),
        (50, "in_progress", 5),
        (89, "in_progress", 9),
        (90, "finalizing", 10),
        (100, "completed", 10),
        (WINDOW_S * 2, "completed", 10),
    ],
)
def test_a_batch_without_trouble_goes_through_its_stages_at_its_pace(after_s: float, status: Phase, done: int) -> None:
    at = stage(record(), 1000.0 + after_s)
    assert (at.status, at.done) == (status, done)


def test_bad_input_fails_when_validation_is_over_and_not_before() -> None:
    bad = record(checked=Checked(1, None, (LineError("empty_file", "nothing"),)))
    assert stage(bad, 1009.0).status == "validating"
    assert stage(bad, 1010.0).status == "failed"
    assert stage(bad, 1000.0 + WINDOW_S).status == "failed"


def test_a_cancelled_batch_keeps_what_was_done_and_is_cancelling_first() -> None:
    cancelled = record(cancel_at=1050.0)
    assert stage(cancelled, 1049.0).status == "in_progress"
    assert stage(cancelled, 1050.0).status == "cancelling"
    assert (stage(cancelled, 1060.0).status, stage(cancelled, 1060.0).done) == ("cancelled", 5)


def test_a_cancellation_that_came_in_time_wins_over_the_end_that_was_near() -> None:
    assert stage(record(cancel_at=1099.0), 1105.0).status == "cancelling"
    assert stage(record(cancel_at=1099.0), 1109.0).status == "cancelled"


@pytest.mark.parametrize(("stuck", "done"), [("validating", 0), ("in_progress", 5), ("finalizing", 10)])
def test_a_stuck_batch_stays_until_its_window_ends(stuck: Phase, done: int) -> None:
    plan = Plan(stuck=stuck, done=0.5 if stuck == "in_progress" else 1.0)  # type: ignore[arg-type]
    assert stage(record(plan=plan), 1000.0 + WINDOW_S - 1).status == stuck
    assert stage(record(plan=plan), 1000.0 + WINDOW_S).status == "expired"
    assert stage(record(plan=plan), 1000.0 + WINDOW_S).done == done


def test_a_batch_with_no_pace_is_done_as_soon_as_somebody_looks() -> None:
    assert stage(record(pace_s=0.0), 1000.0).status == "completed"


def test_times_are_shown_for_what_was_reached_and_for_nothing_else() -> None:
    done = wire(record(), 1200.0)
    assert (done.in_progress_at, done.finalizing_at, done.completed_at) == (1010, 1090, 1100)
    cancelled = wire(record(cancel_at=1050.0), 1200.0)
    assert (cancelled.in_progress_at, cancelled.finalizing_at) == (1010, None)
    assert (cancelled.cancelling_at, cancelled.cancelled_at, cancelled.completed_at) == (1050, 1060, None)
    fresh = wire(record(), 1000.0)
    assert (fresh.in_progress_at, fresh.request_counts.total) == (None, 0)


times = st.floats(min_value=0, max_value=3 * WINDOW_S)
plans = st.builds(
    Plan,
    stuck=st.sampled_from(["", "validating", "in_progress", "finalizing"]),
    done=st.floats(min_value=0, max_value=1),
    fail=st.none() | st.just(Complaint("x", "y")),
)
maybe = st.none() | times.map(lambda s: 1000.0 + s)


@given(plan=plans, cancel_at=maybe, expire_at=maybe, pace_s=times, moments=st.lists(times, min_size=2, max_size=6))
def test_time_never_takes_anything_back(
    plan: Plan, cancel_at: float | None, expire_at: float | None, pace_s: float, moments: list[float]
) -> None:
    batch = record(plan=plan, cancel_at=cancel_at, expire_at=expire_at, pace_s=pace_s)
    stages = [stage(batch, 1000.0 + moment) for moment in sorted(moments)]
    ended = False
    for before, after in pairwise(stages):
        assert after.done >= before.done or after.status == "failed"
        ended = ended or before.status in TERMINAL
        if ended:
            assert after == before
    assert stage(batch, 1000.0 + WINDOW_S).status in TERMINAL


@given(plan=plans, cancel_at=maybe, pace_s=times, moment=times)
def test_a_batch_that_ended_or_is_past_validation_has_had_its_input_read(
    plan: Plan, cancel_at: float | None, pace_s: float, moment: float
) -> None:
    batch = record(plan=plan, cancel_at=cancel_at, pace_s=pace_s)
    if stage(batch, 1000.0 + moment).status not in ("validating", "cancelling"):
        assert input_due(batch, 1000.0 + moment)
