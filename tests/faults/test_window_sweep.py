"""Shared windows die at every crash point and go on: nothing is bought twice, every line ends as was said."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.batch_case import POINTS
from tests.faults.sweep import Case, Death, sweep
from tests.faults.window_case import DirectWindow, InsistentWindow, SharedWindow

CASES = [SharedWindow, DirectWindow, InsistentWindow]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_sample_of_deaths(lives: Path, case: type[Case]) -> None:
    swept = sweep(case, lives / "lives", expected=POINTS, every=5)
    assert swept.deaths >= len(POINTS)


@pytest.mark.sweep
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_death(lives: Path, case: type[Case]) -> None:
    swept = sweep(case, lives / "lives", expected=POINTS)
    assert swept.names == POINTS


@pytest.mark.sweep
@pytest.mark.parametrize("then", sorted(POINTS))
def test_every_death_of_a_shared_window_followed_by_a_second_one(lives: Path, then: str) -> None:
    kind = "batch" if then.startswith("report") or then in ("commit.before", "commit.written") else ""
    sweep(SharedWindow, lives / "lives", expected=POINTS, then=[Death(then, kind, 1)])


class Careless(DirectWindow):
    """Buys again where it may not."""

    policy = "resubmit"


def test_a_sweep_sees_a_line_that_was_bought_twice(lives: Path) -> None:
    with pytest.raises(AssertionError, match="bought twice"):
        sweep(Careless, lives / "lives", expected=POINTS)
