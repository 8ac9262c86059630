"""A batch in a real process against a real simulator, killed by SIGKILL: every answer once, every purchase once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from perdure.store.crash_points import CRASH_POINTS
from tests.adapters.simulator.process import Running, running
from tests.faults.killing import Job, die_at_random, die_everywhere, life_s

BETWEEN_INTENT_AND_OUTCOME = ("send.before", "send.after_last_byte", "answer.received", "report.before")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Running]:
    """One provider for all jobs, in a process of its own; its batches are done when first asked for."""
    with running("--batch-seconds", "0") as simulator:
        yield simulator


@pytest.mark.trio
async def test_an_undisturbed_worker_passes_every_crash_point(tmp_path: Path, simulator: Running) -> None:
    job = Job(tmp_path / "job", simulator)
    told = await job.work()
    assert told is not None
    await job.check(told)
    assert set(told.hits) == CRASH_POINTS


@pytest.mark.trio
async def test_sample_of_kills(tmp_path: Path, simulator: Running) -> None:
    deaths = await die_everywhere(tmp_path, simulator, CRASH_POINTS, only=[2])
    assert sorted(deaths) == sorted(CRASH_POINTS), "a crash point was never hit"


@pytest.mark.trio
async def test_w4_reconcile_pages_past_newer_batches(tmp_path: Path, simulator: Running) -> None:
    """W-4: killed between the provider's acceptance and the log, with 250 newer batches on its list, the next process
    pages until it finds its own."""
    deaths = await die_everywhere(tmp_path, simulator, ["send.after_last_byte"], only=[2], newer=250)
    assert deaths == {"send.after_last_byte": 1}


@pytest.mark.trio
async def test_random_kills(tmp_path: Path, simulator: Running) -> None:
    life = await life_s(tmp_path, simulator)
    async with trio.open_nursery() as nursery:
        for seed in range(3):
            nursery.start_soon(die_at_random, tmp_path, simulator, seed, life)


@pytest.mark.sweep
@pytest.mark.trio
async def test_every_kill(tmp_path: Path, simulator: Running) -> None:
    deaths = await die_everywhere(tmp_path, simulator, CRASH_POINTS)
    assert sorted(deaths) == sorted(CRASH_POINTS), "a crash point was never hit"
    assert sum(deaths.values()) > 50, deaths


@pytest.mark.sweep
@pytest.mark.trio
async def test_w4_every_kill_with_250_newer_batches(tmp_path: Path) -> None:
    """W-4: the same at every point between intent and outcome, with a list that must be paged each time."""
    with running("--batch-seconds", "0") as simulator:
        deaths = await die_everywhere(tmp_path, simulator, BETWEEN_INTENT_AND_OUTCOME, newer=250)
    assert sorted(deaths) == sorted(BETWEEN_INTENT_AND_OUTCOME)


@pytest.mark.sweep
@pytest.mark.trio
async def test_50_seeds_of_random_kills(tmp_path: Path, simulator: Running) -> None:
    life = await life_s(tmp_path, simulator)
    limiter = trio.CapacityLimiter(2)
    deaths = 0

    async def one(seed: int) -> None:
        nonlocal deaths
        async with limiter:
            deaths += await die_at_random(tmp_path, simulator, 1_000 + seed, life)

    async with trio.open_nursery() as nursery:
        for seed in range(50):
            nursery.start_soon(one, seed)
    assert deaths >= 50
