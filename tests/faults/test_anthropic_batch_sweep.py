"""A batch at Anthropic, which has no place for an identity, dies at every crash point and goes on.

Every answer once, every purchase once, the log verifies: while nobody else's batch is in the way, what was bought is
found again by when it was made and how many requests it has, or by its results.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest
import trio

from perdure.actors.batch.ports import ProviderBatch as Shown
from perdure.actors.batch.ports import Sought
from perdure.actors.fetch import Fetch
from perdure.adapters.anthropic import AnthropicBatches
from perdure.adapters.simulator.faults import ActThenDrop, Fault, Truncate, Unlisted, Unseen
from tests.faults.batch_case import POINTS
from tests.faults.provider_batch_case import CancelledProviderBatch, ProviderBatch
from tests.faults.sweep import sweep

CREATE = "POST /anthropic/v1/messages/batches"
RESULTS = "GET /anthropic/v1/messages/batches/*/results"
LOST = (ActThenDrop(route=CREATE), Truncate(route=RESULTS, after_bytes=600))
LATE = (Unlisted(for_s=20.0), Unseen(for_s=25.0))

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
    """Makes cases at Anthropic, each with a provider of its own."""
    homes = count()

    def made(case: type[ProviderBatch] = ProviderBatch, *faults: Fault) -> Callable[[], ProviderBatch]:
        return lambda: case("anthropic", lives / f"provider-{next(homes)}", *faults)

    return made


def test_w4_sample_of_deaths(lives: Path, make: Make) -> None:
    swept = sweep(make(ProviderBatch, *LATE), lives / "lives", expected=POINTS, every=9)
    assert swept.deaths >= len(POINTS)


def test_w4_sample_of_deaths_with_answers_that_are_lost(lives: Path, make: Make) -> None:
    sweep(make(ProviderBatch, *LOST), lives / "lives", expected=POINTS, every=9)


@pytest.mark.sweep
def test_w4_every_death(lives: Path, make: Make) -> None:
    sweep(make(ProviderBatch, *LATE), lives / "lives", expected=POINTS)


@pytest.mark.sweep
def test_w4_every_death_with_answers_that_are_lost(lives: Path, make: Make) -> None:
    sweep(make(ProviderBatch, *LOST), lives / "lives", expected=POINTS)


@pytest.mark.sweep
def test_every_death_of_a_batch_that_is_cancelled(lives: Path, make: Make) -> None:
    sweep(make(CancelledProviderBatch), lives / "lives", expected=POINTS, every=2)


def test_a_sweep_sees_a_batch_that_was_bought_twice(lives: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(self: AnthropicBatches, fetch: Fetch, sought: Sought) -> Sequence[Shown]:
        await trio.lowlevel.checkpoint()
        return ()

    monkeypatch.setattr(AnthropicBatches, "find", find)
    with pytest.raises(AssertionError, match="batch identity"):
        sweep(make(), lives / "lives", expected=POINTS)
