"""A program of single requests dies at every crash point and asks again by key: all are told, once and the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.batch_case import POINTS
from tests.faults.submit_case import Program
from tests.faults.sweep import Death, sweep


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path / "lives"
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place) / "lives"


def test_sample_of_deaths(lives: Path) -> None:
    swept = sweep(Program, lives, expected=POINTS, every=5)
    assert swept.deaths >= len(POINTS)


@pytest.mark.sweep
def test_every_death(lives: Path) -> None:
    swept = sweep(Program, lives, expected=POINTS)
    assert swept.names == POINTS


@pytest.mark.sweep
@pytest.mark.parametrize("then", sorted(POINTS))
def test_every_death_followed_by_a_second_one(lives: Path, then: str) -> None:
    kind = "batch" if then.startswith("report") or then in ("commit.before", "commit.written") else ""
    sweep(Program, lives, expected=POINTS, then=[Death(then, kind, 1)])


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(20))
def test_seeds(lives: Path, seed: int) -> None:
    sweep(Program, lives, expected=POINTS, every=7, seed=seed * 1_000)


class Forgetful(Program):
    """A provider whose lists are always empty, so that what is looked for is bought again."""

    def __init__(self) -> None:
        super().__init__()
        act = self.world.act
        self.world.act = lambda route, asked, body: [] if route == "list" else act(route, asked, body)  # type: ignore[method-assign]


def test_a_sweep_sees_a_double_purchase(lives: Path) -> None:
    with pytest.raises(AssertionError, match="batch log_"):
        sweep(Forgetful, lives, expected=POINTS)
