"""A large batch: what it keeps in memory is a bit for each line, and no step of it is longer than a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trio.abc import Clock

from perdure.actors.batch import intake as collecting
from perdure.actors.batch import reading as taking
from perdure.actors.batch.effects import Batches
from tests.actors.batch.memory import NAME, World, prompts
from tests.actors.batch.rig import serving, verified

LINES = 100_000
PARTS = 2


@pytest.mark.trio
async def test_w12_w22_w78_a_hundred_thousand_lines_over_two_parts(tmp_path: Path, clock: Clock) -> None:
    """W-12, W-22, W-78: the state stays a bit for each line and a number for each run; each event holds a run at most;
    a reader gets the lines in pages."""
    world = World(batch_s=30.0, max_lines=LINES // PARTS)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await service.batches.submit(prompts(LINES), provider=NAME)
        summary = await handle.result()
        assert (summary.lines, summary.ok, summary.failed) == (LINES, LINES, 0)
        state = await handle.state()
        runs = LINES // collecting.RUN_LINES
        assert (len(state.parts), len(state.chunks), len(state.settled.bits)) == (PARTS, runs, LINES // 8)
        assert Batches.unwired().weight(state) < 64_000
        longest = 0
        count = 0
        async for record in handle.events(follow=False):
            count += 1
            event = json.loads(record.payload)
            longest = max(longest, *(len(event.get(field, ())) for field in ("names", "numbers")))
        assert longest <= max(collecting.RUN_LINES, taking.RUN_LINES)
        assert count < 3 * runs + 40, "a run of lines, a run of results, what that cost"
        assert world.longest_chunk <= 1 << 20, "the upload is streamed"
        last = -1
        async with handle.results(order="input") as lines:
            async for line in lines:
                assert line.index == last + 1
                last = line.index
        assert last == LINES - 1
        assert (len(world.sold("batch")), world.bought_twice()) == (PARTS, [])
        await verified(service)
