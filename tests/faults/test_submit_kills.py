"""Many callers of single requests in real processes that are killed, and readers in others that outlive them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

import perdure
from perdure.testing import LoopbackSimulator, faults, loopback_simulator
from tests.faults.crowding import working
from tests.faults.workers.waiter_worker import WAITERS

ASK: Final = "POST /openai/v1/responses"
OPEN_S: Final = 0.6
"""How long the windows of those collect who die at random, in real seconds."""
MOST_DEATHS: Final = 4


@pytest.fixture
def simulator() -> Iterator[LoopbackSimulator]:
    """The provider: its batches are done when first asked for."""
    with loopback_simulator() as simulator:
        yield simulator


async def check(path: Path, simulator: LoopbackSimulator, told: dict[str, str], *, callers: int, live: int) -> int:
    """All were told, and are told the same by the log; everything was bought once. Gives the number of batches."""
    keys = {f"batch-{number}" for number in range(callers)} | {f"live-{number}" for number in range(live)}
    assert told.keys() == keys
    resubmitted = 0
    async with perdure.read(path) as reader:
        (await reader.log.verify()).raise_if_bad()
        async with trio.open_nursery() as nursery:

            async def compare(key: str) -> None:
                view = await reader.find(key)
                assert view is not None
                assert (await view.result()).text == told[key]

            for key in keys:
                nursery.start_soon(compare, key)
        async for record in reader.log.read():
            resubmitted += record.type == "PurchaseResubmitted"
    purchases = simulator.account.purchases()
    assert [mark for mark in simulator.account.bought_twice() if not mark.startswith("text ")] == []
    sold = Counter(str(each.kind) for each in purchases)
    assert sold["text"] <= live + resubmitted, "a live request is bought again only on record"
    assert sum(each.units for each in purchases if each.kind == "batch") == callers
    assert sold["file"] == sold["batch"]
    return sold["batch"]


@pytest.mark.trio
async def test_a_kill_with_callers_waiting_in_the_window_and_as_many_new_ones(
    tmp_path: Path, simulator: LoopbackSimulator
) -> None:
    path = tmp_path / "log.db"
    how = (path, 300, 10, 2.0)
    async with working("crowd_worker", *how, environment=simulator.environment) as first:
        assert await first.says("waiting")
        first.process.kill()
        assert await first.ends() is None
    async with working("crowd_worker", *how, environment=simulator.environment) as second:
        told = await second.ends()
    assert await check(path, simulator, told, callers=300, live=10) == 1


async def die_at_random(path: Path, simulator: LoopbackSimulator, seed: int, *, callers: int, live: int) -> int:
    """Writers are killed at any time of their life, `MOST_DEATHS` of them, then one is left alone. Gives the deaths."""
    random = Random(seed)
    deaths = 0
    while True:
        async with working("crowd_worker", path, callers, live, OPEN_S, environment=simulator.environment) as worker:
            if deaths < MOST_DEATHS:
                if deaths == 0 or random.random() < 0.5:
                    await worker.says("waiting")
                    life_s = random.uniform(0.0, OPEN_S)
                else:
                    life_s = random.uniform(0.3, 1.0)  # its first third is Python starting
                with trio.move_on_after(life_s):
                    await worker.process.wait()
                worker.process.kill()
            told = await worker.ends()
        if told is not None:
            break
        deaths += 1
    try:
        await check(path, simulator, told, callers=callers, live=live)
    except BaseException as error:
        error.add_note(f"seed {seed}, after {deaths} deaths")
        raise
    return deaths


@pytest.mark.trio
async def test_a_sample_of_random_kills(tmp_path: Path, simulator: LoopbackSimulator) -> None:
    assert await die_at_random(tmp_path / "log.db", simulator, 0, callers=200, live=10) > 0


@pytest.mark.sweep
@pytest.mark.trio
@pytest.mark.parametrize("seed", range(1, 21))
async def test_seeds_of_random_kills(tmp_path: Path, simulator: LoopbackSimulator, seed: int) -> None:
    await die_at_random(tmp_path / "log.db", simulator, seed, callers=1_000, live=20)


@pytest.mark.trio
async def test_readers_outlive_a_writer_and_are_told_what_its_heir_finds_out(
    tmp_path: Path, simulator: LoopbackSimulator
) -> None:
    """`perdure.read` finds keys, and their results arrive, while the writer runs, dies and is replaced."""
    path = tmp_path / "log.db"
    writer, keys = ("crowd_worker", path, 5, 1, 3.0), ("live-0", "batch-0", "batch-4")
    await trio.to_thread.run_sync(simulator.faults.arm, faults.Hold(route=ASK))
    async with trio.open_nursery() as nursery:
        async with working(*writer, environment=simulator.environment) as first:
            assert await first.says("waiting")
            await trio.to_thread.run_sync(simulator.holds.wait_held)
            told: list[dict[str, list[str]]] = []
            found: list[trio.Event] = [trio.Event(), trio.Event()]

            async def read(number: int) -> None:
                async with working("waiter_worker", path, *keys, environment=simulator.environment) as reader:
                    assert await reader.says("found")
                    found[number].set()
                    told.append(await reader.ends())

            for number in range(len(found)):
                nursery.start_soon(read, number)
            for event in found:
                await event.wait()
            first.process.kill()
            assert await first.ends() is None
        await trio.to_thread.run_sync(simulator.holds.release)
        async with working(*writer, environment=simulator.environment) as heir:
            answers = await heir.ends()
    assert told == [{key: [answers[key]] * WAITERS for key in keys}] * len(found)
    assert await check(path, simulator, answers, callers=5, live=1) == 1
