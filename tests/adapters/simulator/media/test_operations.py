"""How a video goes: a pure function of what is recorded and of the time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.simulator.media.operations import (
    DOWNLOAD_LIFE_S,
    ENDED,
    Complaint,
    Mishap,
    Operation,
    Phase,
    standing,
)

MISHAPS = st.builds(
    Mishap,
    fails=st.none() | st.just(Complaint("code", "words")),
    stuck_at=st.none() | st.floats(0, 0.99),
    expired=st.booleans(),
)
OPERATIONS = st.builds(
    Operation,
    id=st.just("video_1"),
    created_at=st.just(1_000.0),
    pace_s=st.floats(0, 1_000),
    mishap=MISHAPS,
    cancel_at=st.none() | st.floats(1_000, 3_000),
)


def operation(*, mishap: Mishap | None = None, cancel_at: float | None = None) -> Operation:
    return Operation(id="video_1", created_at=1_000.0, pace_s=100.0, mishap=mishap or Mishap(), cancel_at=cancel_at)


@pytest.mark.parametrize(
    ("after_s", "phase", "percent"),
    [
        (0, "queued", 0),
        (9, "queued", 0),
        (10, "running", 10),
        (55, "running", 55),
        (99.9, "running", 99),
        (100, "completed", 100),
        (10_000, "completed", 100),
    ],
)
def test_a_video_without_trouble_goes_its_way(after_s: float, phase: Phase, percent: int) -> None:
    at = standing(operation(), 1_000.0 + after_s)
    assert (at.phase, at.percent) == (phase, percent)


def test_what_it_made_goes_an_hour_after_it_was_completed_and_not_before() -> None:
    ends = 1_100.0 + DOWNLOAD_LIFE_S
    at = standing(operation(), ends)
    assert at.expires_at == ends
    assert (at.gone(ends - 0.1), at.gone(ends)) == (False, True)
    gone = standing(operation(mishap=Mishap(expired=True)), 1_100.0)
    assert (gone.phase, gone.gone(1_100.0)) == ("completed", True)


def test_one_that_fails_does_so_half_way() -> None:
    failing = operation(mishap=Mishap(fails=Complaint("code", "words")))
    assert standing(failing, 1_049.9).phase == "running"
    assert (standing(failing, 1_050.0).phase, standing(failing, 9_999.0).percent) == ("failed", 50)


def test_one_that_is_stuck_stays_until_it_is_cancelled() -> None:
    stuck = Mishap(stuck_at=0.3)
    assert standing(operation(mishap=stuck), 1e9).phase == "running"
    assert standing(operation(mishap=stuck), 1e9).percent == 30
    assert standing(operation(mishap=stuck, cancel_at=5_000.0), 1e9).phase == "cancelled"


def test_a_cancellation_that_comes_too_late_changes_nothing() -> None:
    assert standing(operation(cancel_at=1_099.0), 2_000.0).phase == "cancelled"
    assert standing(operation(cancel_at=1_101.0), 2_000.0).phase == "completed"


@given(operation=OPERATIONS, times=st.lists(st.floats(1_000, 10_000), min_size=2, max_size=20))
def test_it_only_goes_forward_and_stays_where_it_ended(operation: Operation, times: list[float]) -> None:
    order: list[Phase] = ["queued", "running", "completed", "failed", "cancelled"]
    for before, after in pairwise(standing(operation, now) for now in sorted(times)):
        assert after.percent >= before.percent
        assert (
            after.phase == before.phase
            if before.phase in ENDED
            else order.index(after.phase) >= order.index(before.phase)
        )
        assert (after.expires_at is not None) == (after.phase == "completed")
        assert (after.percent == 100) == (after.phase == "completed")
