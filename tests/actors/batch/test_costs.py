"""What a batch costs: an entry for each answered line, at batch rates."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path

import pytest
from trio.abc import Clock

from perdure.events.pricing import CostEntry, Rates, TierRates
from tests.actors.batch.memory import NAME, World, prompts
from tests.actors.batch.rig import serving

RATES = Rates(
    input_per_m_tok=10.0, output_per_m_tok=20.0, tiers={"batch": TierRates(input_per_m_tok=5.0, output_per_m_tok=10.0)}
)


@pytest.mark.trio
async def test_b7_b8_one_entry_for_each_answer_at_batch_rates(tmp_path: Path, clock: Clock) -> None:
    """B-7, B-8: each answered line gives one cost entry, tagged type=batch and the provider, priced at the batch tier:
    30.00 at standard rates is 15.00 here. Lines with an error give none."""
    world = World()
    world.edit = lambda lines: [b'{"id": "%s", "error": "x"}' % json.loads(lines[0])["id"].encode(), *lines[1:]]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await service.batches.submit(prompts(3), provider=NAME)
        entries = [entry async for entry in handle.costs(RATES)]
        assert [entry.amount for entry in entries] == [15.0, 15.0]
        assert {entry.tier for entry in entries} == {"batch"}
        assert [entry.tags for entry in entries] == [
            {"type": "batch", "provider": NAME, "batch_id": handle.id, "custom_id": name} for name in ("r-1", "r-2")
        ]


@pytest.mark.trio
async def test_b7_costs_are_read_from_the_log_as_often_as_one_likes(tmp_path: Path, clock: Clock) -> None:
    """B-7: costs are computed from the log: the same in a later process, and going on behind a line's cursor."""
    path, world = tmp_path / "p.db", World()
    async with serving(path, world) as service:
        handle = await service.batches.submit(prompts(2_500), provider=NAME, key="k")
        first: list[CostEntry] = [entry async for entry in handle.costs(RATES)]
    async with serving(path, world) as service:
        again = await service.find("k")
        assert again is not None
        assert [
            entry async for entry in (await service.batches.submit((), provider=NAME, key="k")).costs(RATES)
        ] == first
        handle = await service.batches.submit((), provider=NAME, key="k")
        async with handle.results() as lines:
            cursors = [line.cursor async for line in lines]
        async with aclosing(handle.costs(RATES, after=cursors[2_398])) as rest:
            assert [entry async for entry in rest] == first[2_399:]
    assert len(first) == 2_500
