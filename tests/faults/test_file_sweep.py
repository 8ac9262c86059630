"""A file dies at every crash point and goes on: no copy twice at a provider, no file lost, no blob without a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.store.crash_points import CRASH_POINTS
from tests.actors.file.memory import PLAIN, RESUMABLE
from tests.faults.file_case import STORING, DeletedFile, ExpiringFile, PushedFile, StoredFile
from tests.faults.sweep import Death, sweep

PROVIDERS = [PLAIN, RESUMABLE]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place) / "lives"


def test_w52_every_death_of_a_file_on_its_way_to_the_store(lives: Path) -> None:
    swept = sweep(StoredFile, lives, expected=STORING)
    assert swept.names == STORING


@pytest.mark.parametrize("provider", PROVIDERS)
def test_w46_w52_every_death_of_a_file_on_its_way_to_a_provider(lives: Path, provider: str) -> None:
    swept = sweep(lambda: PushedFile(provider), lives, expected=CRASH_POINTS)
    assert swept.names == CRASH_POINTS


@pytest.mark.parametrize("provider", PROVIDERS)
def test_w54_every_death_of_a_file_that_is_put_there_again_after_expiry(lives: Path, provider: str) -> None:
    sweep(lambda: ExpiringFile(provider), lives, expected=CRASH_POINTS)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_death_of_a_file_that_is_deleted_everywhere(lives: Path, provider: str) -> None:
    sweep(lambda: DeletedFile(provider), lives, expected=CRASH_POINTS)


@pytest.mark.sweep
@pytest.mark.parametrize("then", sorted(CRASH_POINTS))
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_death_followed_by_a_second_one(lives: Path, provider: str, then: str) -> None:
    kind = "file" if then.startswith("report") else ""
    sweep(lambda: DeletedFile(provider), lives, expected=CRASH_POINTS, then=[Death(then, kind, 1)], every=2)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(20))
def test_seeds(lives: Path, seed: int) -> None:
    sweep(lambda: PushedFile(RESUMABLE), lives, expected=CRASH_POINTS, every=3, seed=seed * 1_000)
