"""A file dies at every crash point on its way to each real file store and goes on: no copy twice, none lost, none left.

The same as `test_file_sweep`, with the adapters and the simulated providers in the place of stores in memory.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from perdure.actors.remote_files import RemoteFiles
from perdure.adapters import composition
from perdure.adapters.simulator.faults import ActThenDrop, Fault
from perdure.store.crash_points import CRASH_POINTS
from tests.faults.file_ways import RESUMABLE, WAYS, small_stores
from tests.faults.provider_case import DeletedFile, ExpiredFile, LostFile, PushedFile
from tests.faults.sweep import Death, sweep

WITH_EXPIRY: Final = ("google", "google-film")
"""The ways to providers whose files end by themselves; at the others a file is over when a request does not find it."""

SAMPLE: Final = [
    *((PushedFile, way) for way in WAYS),
    (LostFile, "openai-parts"),
    (DeletedFile, "anthropic"),
    (DeletedFile, "google"),
]

Making = Callable[..., Callable[[], PushedFile]]


def lost_answers(case: type[PushedFile], way: str) -> list[Fault]:
    """Answers that are lost after the provider did what was asked: of what makes the file, and of what deletes it."""
    told = WAYS[way]
    lost: list[Fault] = [ActThenDrop(route=told.makes, skip=told.before)]
    if told.sends != told.makes:
        lost.append(ActThenDrop(route=told.sends, skip=1))
    if case is DeletedFile:
        lost.append(ActThenDrop(route=told.deletes))
    return lost


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as made:
        yield Path(made)


@pytest.fixture
def making(place: Path, monkeypatch: pytest.MonkeyPatch) -> Making:
    """Makes what makes cases, each with a provider of its own."""
    monkeypatch.setattr(composition, "remote_files", small_stores)
    number = itertools.count()

    def make(case: type[PushedFile], way: str, *faults: Fault) -> Callable[[], PushedFile]:
        return lambda: case(way, place / "providers" / str(next(number)), *faults)

    return make


def named(value: object) -> str:
    """A case or a way as part of a test's name."""
    return value.__name__ if isinstance(value, type) else str(value)


@pytest.mark.parametrize(("case", "way"), SAMPLE, ids=named)
def test_w46_w52_w54_a_sample_of_deaths_with_lost_answers(
    place: Path, making: Making, case: type[PushedFile], way: str
) -> None:
    sweep(making(case, way, *lost_answers(case, way)), place / "lives", expected=CRASH_POINTS, every=50)


@pytest.mark.sweep
@pytest.mark.parametrize("lost", [False, True], ids=["", "lost answers"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [PushedFile, LostFile, DeletedFile], ids=named)
def test_w46_w52_w54_every_death(place: Path, making: Making, case: type[PushedFile], way: str, lost: bool) -> None:
    faults = lost_answers(case, way) if lost else []
    swept = sweep(making(case, way, *faults), place / "lives", expected=CRASH_POINTS)
    assert swept.names == CRASH_POINTS


@pytest.mark.sweep
@pytest.mark.parametrize("lost", [False, True], ids=["", "lost answers"])
@pytest.mark.parametrize("way", WITH_EXPIRY)
def test_w54_every_third_death_of_a_file_that_is_put_there_again_after_two_days(
    place: Path, making: Making, way: str, lost: bool
) -> None:
    faults = lost_answers(ExpiredFile, way) if lost else []
    sweep(making(ExpiredFile, way, *faults), place / "lives", expected=CRASH_POINTS, every=3)


@pytest.mark.sweep
@pytest.mark.parametrize("then", ["answer.received", "commit.after", "send.after_last_byte"])
@pytest.mark.parametrize("way", WAYS)
def test_every_eighth_death_followed_by_a_second_one(place: Path, making: Making, way: str, then: str) -> None:
    faults = lost_answers(DeletedFile, way)
    sweep(making(DeletedFile, way, *faults), place / "lives", expected=CRASH_POINTS, then=[Death(then, "", 1)], every=8)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("way", RESUMABLE)
def test_seeds(place: Path, making: Making, way: str, seed: int) -> None:
    sweep(making(LostFile, way), place / "lives", expected=CRASH_POINTS, every=9, seed=seed * 1_000)


def blind_stores() -> Mapping[str, RemoteFiles]:
    """Stores in which nothing is found again."""
    stores = small_stores()
    for store in stores.values():
        store.searchable = False
    return stores


def test_a_sweep_sees_a_file_that_was_stored_twice(
    place: Path, making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "remote_files", blind_stores)
    with pytest.raises(AssertionError, match="stored twice"):
        sweep(making(PushedFile, "openai"), place / "lives", expected=CRASH_POINTS)
