"""An order for pictures dies at every crash point and goes on: what is paid for twice is the policy's doing, on record.

Nobody can look an order up, and between the answer and the bytes only one process has them. With "fail" nothing is ever
bought twice: it rests uncertain, or has failed and its cost is told.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.events.purchase import OnUncertain
from perdure.store.crash_points import CRASH_POINTS
from tests.faults.media_case import CancelledPictures, Pictures
from tests.faults.sweep import sweep

POLICIES: list[OnUncertain] = ["resubmit", "fail"]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place) / "lives"


def test_w34_w37_every_death_of_pictures_that_are_not_bought_again(lives: Path) -> None:
    """W-37: whatever dies after the answer, what was spent is on record."""
    met: set[tuple[str, int]] = set()
    swept = sweep(lambda: Pictures("fail", met), lives, expected=CRASH_POINTS)
    assert swept.names == CRASH_POINTS
    assert met == {("succeeded", 1), ("uncertain", 0), ("uncertain", 1), ("failed", 1)}


def test_w37_every_death_of_pictures_that_are_bought_again(lives: Path) -> None:
    met: set[tuple[str, int]] = set()
    swept = sweep(lambda: Pictures("resubmit", met), lives, expected=CRASH_POINTS)
    assert swept.names == CRASH_POINTS
    assert met == {("succeeded", 1), ("succeeded", 2)}, "a loss costs a second purchase, and never a third"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_death_of_pictures_that_are_cancelled(lives: Path, policy: OnUncertain) -> None:
    met: set[tuple[str, int]] = set()
    sweep(lambda: CancelledPictures(policy, met), lives, expected=CRASH_POINTS)
    assert met == {("cancelled", 0), ("cancelled", 1)}


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(5))
def test_seeds(lives: Path, seed: int) -> None:
    sweep(lambda: Pictures("resubmit", set()), lives, expected=CRASH_POINTS, seed=seed * 1_000)
