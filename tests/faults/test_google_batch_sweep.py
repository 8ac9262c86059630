"""A batch at Google dies at every crash point and goes on: every answer once, every purchase once, the log verifies."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from perdure.adapters import composition
from perdure.adapters.google import GoogleBatches
from perdure.adapters.simulator.faults import ActThenDrop, Fault, Truncate
from tests.faults.batch_case import POINTS
from tests.faults.provider_batch_case import CancelledProviderBatch, ProviderBatch
from tests.faults.sweep import sweep

CREATE: Final = "POST /google/v1/models/*:batchGenerateContent"
STATUS: Final = "GET /google/v1/batches/*"
DOWNLOAD: Final = "GET /google/download/v1/files/*"

Make = Callable[..., Callable[[], ProviderBatch]]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Path]:
    """Where lives are lived: in memory where there is such a folder, for no power is cut here."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as place:
        yield Path(place)


@pytest.fixture
def make(lives: Path) -> Make:
    """Makes cases at Google, each with a provider of its own."""
    homes = count()

    def made(case: type[ProviderBatch] = ProviderBatch, *faults: Fault) -> Callable[[], ProviderBatch]:
        return lambda: case("google", lives / f"provider-{next(homes)}", *faults)

    return made


@pytest.fixture
def in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go into a file, however few."""
    monkeypatch.setattr(composition, "providers", lambda: {"google": GoogleBatches(inline_bytes=0)})


def test_sample_of_deaths(lives: Path, make: Make) -> None:
    swept = sweep(make(), lives / "lives", expected=POINTS, every=9)
    assert swept.deaths >= len(POINTS)


def test_w4_sample_of_deaths_with_answers_that_are_lost(lives: Path, make: Make) -> None:
    faults = (ActThenDrop(route=CREATE), Truncate(route=STATUS, after_bytes=900))
    sweep(make(ProviderBatch, *faults), lives / "lives", expected=POINTS, every=9)


@pytest.mark.usefixtures("in_a_file")
def test_w4_sample_of_deaths_with_requests_in_a_file(lives: Path, make: Make) -> None:
    faults = (ActThenDrop(route=CREATE), Truncate(route=DOWNLOAD, after_bytes=300))
    sweep(make(ProviderBatch, *faults), lives / "lives", expected=POINTS, every=17)


@pytest.mark.sweep
def test_every_death(lives: Path, make: Make) -> None:
    swept = sweep(make(), lives / "lives", expected=POINTS)
    assert swept.names == POINTS


@pytest.mark.sweep
@pytest.mark.usefixtures("in_a_file")
def test_w4_every_second_death_with_requests_in_a_file(lives: Path, make: Make) -> None:
    faults = (ActThenDrop(route=CREATE), Truncate(route=DOWNLOAD, after_bytes=300))
    sweep(make(ProviderBatch, *faults), lives / "lives", expected=POINTS, every=2)


@pytest.mark.sweep
def test_every_death_of_a_batch_that_is_cancelled(lives: Path, make: Make) -> None:
    sweep(make(CancelledProviderBatch), lives / "lives", expected=POINTS, every=2)
