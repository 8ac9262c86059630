"""A batch dies at every crash point and goes on: every answer once, every purchase once, the log verifies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store.crash_points import CRASH_POINTS
from tests.faults.batch_case import (
    POINTS,
    CancelledBatch,
    InlineBatch,
    InlineRescuedBatch,
    OneBatch,
    RescuedBatch,
)
from tests.faults.sweep import Death, sweep


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place)


def test_the_batch_passes_every_crash_point_there_is() -> None:
    assert POINTS == CRASH_POINTS


def test_sample_of_deaths(lives: Path) -> None:
    swept = sweep(OneBatch, lives / "lives", expected=POINTS, every=7)
    assert swept.deaths >= len(POINTS)


@pytest.mark.parametrize("case", [InlineBatch, RescuedBatch, InlineRescuedBatch])
def test_sample_of_deaths_without_a_file_and_with_a_rescue(lives: Path, case: type[OneBatch]) -> None:
    swept = sweep(case, lives / "lives", expected=POINTS, every=17)
    assert swept.deaths >= len(POINTS)


@pytest.mark.sweep
@pytest.mark.parametrize("case", [OneBatch, InlineBatch, RescuedBatch, InlineRescuedBatch])
def test_every_death(lives: Path, case: type[OneBatch]) -> None:
    swept = sweep(case, lives / "lives", expected=POINTS)
    assert swept.names == POINTS


@pytest.mark.sweep
@pytest.mark.parametrize("then", sorted(POINTS))
def test_every_death_followed_by_a_second_one(lives: Path, then: str) -> None:
    kind = "batch" if then.startswith("report") or then in ("commit.before", "commit.written") else ""
    sweep(OneBatch, lives / "lives", expected=POINTS, then=[Death(then, kind, 1)], every=1)


@pytest.mark.sweep
def test_every_death_of_a_batch_that_is_cancelled(lives: Path) -> None:
    sweep(CancelledBatch, lives / "lives", expected=POINTS)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(50))
def test_seeds(lives: Path, seed: int) -> None:
    sweep(OneBatch, lives / "lives", expected=POINTS, every=17, seed=seed * 1_000)


class Forgetful(OneBatch):
    """A provider whose lists are always empty, so that what is looked for is bought again."""

    def __init__(self) -> None:
        super().__init__()
        act = self.world.act
        self.world.act = lambda route, asked, body: [] if route == "list" else act(route, asked, body)  # type: ignore[method-assign]


def test_a_sweep_sees_a_double_purchase(lives: Path) -> None:
    with pytest.raises(AssertionError, match="batch log_"):
        sweep(Forgetful, lives / "lives", expected=POINTS)
