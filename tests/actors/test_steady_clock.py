"""The service's clock: true to the wall clock, but for jumps of it that do not last."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.runtime.steady_clock import PATIENCE_US, TOLERANCE_US, SteadyClock
from perdure.store.log import FARTHEST_AHEAD_US
from perdure.store.sqlite import open_log

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
AT_US = 1_900_000_000 * SECOND_US


class Clocks:
    """A wall clock that can be set, a monotonic one, and the steady one over both."""

    def __init__(self) -> None:
        self.elapsed_us = 77 * SECOND_US
        self.off_us = 0
        self.steady = SteadyClock(self.wall, lambda: self.elapsed_us / 1_000_000)

    def wall(self) -> int:
        """The wall clock's time."""
        return AT_US + self.elapsed_us + self.off_us

    def right(self) -> int:
        """The time as it is."""
        return AT_US + self.elapsed_us


def test_it_is_the_wall_clock_and_follows_its_adjustments() -> None:
    clocks = Clocks()
    for _ in range(100):
        clocks.elapsed_us += 10 * SECOND_US
        clocks.off_us += TOLERANCE_US // 2
        assert clocks.steady() == clocks.wall()


@given(st.lists(st.tuples(st.sampled_from([-HOUR_US, 0, HOUR_US]), st.integers(0, 20 * SECOND_US)), max_size=50))
def test_jumps_that_do_not_last_are_not_followed(jumps: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    stayed, was = 0, 0
    for off_us, for_us in jumps:
        stayed = stayed + for_us if off_us == was else 0
        was = clocks.off_us = off_us
        if stayed >= PATIENCE_US - 20 * SECOND_US:
            return
        assert clocks.steady() == clocks.right()
        clocks.elapsed_us += for_us
        clocks.off_us = 0
        clocks.steady()


def test_a_jump_that_lasts_is_believed_after_a_minute() -> None:
    clocks = Clocks()
    clocks.off_us = 5 * HOUR_US  # the computer slept
    for _ in range(6):
        assert clocks.steady() == clocks.right()
        clocks.elapsed_us += PATIENCE_US // 6
    assert clocks.steady() == clocks.wall()


def test_it_goes_on_from_what_was_recorded_a_little_ahead() -> None:
    clocks = Clocks()
    clocks.steady.go_on_from(clocks.right() + HOUR_US)
    assert clocks.steady() == clocks.right() + HOUR_US
    clocks.elapsed_us += PATIENCE_US
    assert clocks.steady() == clocks.wall()


def test_what_was_recorded_in_another_year_or_earlier_is_not_the_time() -> None:
    clocks = Clocks()
    for recorded in (clocks.right() + FARTHEST_AHEAD_US + SECOND_US, clocks.right() - 1, 0):
        clocks.steady.go_on_from(recorded)
        assert clocks.steady() == clocks.right()


@pytest.mark.trio
async def test_a_process_goes_on_from_the_clock_of_the_one_before_it(tmp_path: Path) -> None:
    """Waits that it left behind were measured by that clock, and may be all that it wrote."""
    clock = Clocks()

    async def last_seen(off_us: int) -> int:
        clock.off_us = off_us
        async with open_log(tmp_path / "log.db", codecs=[], clock=clock.wall) as log:
            return await log.last_time()

    assert await last_seen(HOUR_US) == clock.right() + HOUR_US
    assert await last_seen(0) == clock.right() + HOUR_US
    assert await last_seen(-HOUR_US) == clock.right() + HOUR_US
    assert await last_seen(-HOUR_US - SECOND_US) == clock.right() - HOUR_US - SECOND_US
