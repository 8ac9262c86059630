"""Batches at all providers while everything goes wrong at once: faults, kills, and clocks that are an hour wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio
from msgspec import Struct

import perdure
from perdure.actors.fetch import Fetch
from perdure.actors.lane import Lane
from perdure.adapters.composition import Resolver
from perdure.adapters.composition import providers as batch_providers
from perdure.adapters.network import Engine
from perdure.adapters.simulator import Simulator, faults
from perdure.adapters.testing.aim import aimed, environment
from tests.faults.crowding import Worker, working

BATCHES: Final = 20
LINES: Final = 250
DEATHS: Final = 3
BATCH_S: Final = 1.0
"""How long a batch takes, in the providers' seconds."""
DAY_S: Final = 86_400.0
STORM_S: Final = 12.0
"""How long new faults come, in real seconds."""
DEADLINE_S: Final = 120.0
PREFIXES: Final = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "xai": "/xai/v1"}

CREATES: Final = (
    "POST /openai/v1/files",
    "POST /openai/v1/batches",
    "POST /anthropic/v1/messages/batches",
    "POST /google/v1/models/{model}",
    "POST /xai/v1/files",
    "POST /xai/v1/batches",
)
READS: Final = (
    "GET /openai/v1/batches/{batch_id}",
    "GET /openai/v1/files/{file_id}/content",
    "GET /openai/v1/batches",
    "GET /anthropic/v1/messages/batches/{batch_id}",
    "GET /anthropic/v1/messages/batches/{batch_id}/results",
    "GET /anthropic/v1/messages/batches",
    "GET /google/v1/batches/{batch_id}",
    "GET /xai/v1/batches/{batch_id}",
    "GET /xai/v1/batches/{batch_id}/results",
    "GET /xai/v1/batches",
)


class Providers(Struct):
    """All providers, and where they are."""

    simulator: Simulator
    url: str


@asynccontextmanager
async def serving() -> AsyncGenerator[Providers]:
    """The providers, which nothing of what follows takes down."""
    with Simulator(batch_s=BATCH_S) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            yield Providers(simulator, bound.url)
            nursery.cancel_scope.cancel()


def misfortune(random: Random) -> faults.Fault:
    """Something that goes wrong."""
    route = random.choice(random.choice((CREATES, READS)))
    on_route: Sequence[faults.Fault] = (
        faults.AnswerStatus(route=route, status=429, headers={"retry-after": "1"}),
        faults.AnswerStatus(route=route, status=500),
        faults.AnswerStatus(route=route, status=503),
        faults.AnswerStatus(route=route, status=502, act=True),
        faults.Drop(route=route),
        faults.ActThenDrop(route=route),
        faults.Truncate(route=random.choice(READS), after_bytes=random.randrange(2_000)),
    )
    on_batch: Sequence[faults.Fault] = (
        faults.ExpireNow(done=random.random()),
        faults.Cancelled(done=random.random()),
        faults.Stuck(status="in_progress", done=random.random()),
        faults.Missing(lines=random.randrange(1, 20)),
        faults.Duplicate(lines=random.randrange(1, 20)),
        faults.Extra(lines=random.randrange(1, 20)),
        faults.Shuffled(),
    )
    return random.choice(random.choice((on_route, on_route, on_batch)))


async def storm(providers: Providers, random: Random, calm: trio.Event) -> None:
    """Arms faults for a while, then lets a day pass for what is stuck, until it is told to stop."""
    with trio.move_on_after(STORM_S):
        while True:
            providers.simulator.faults.arm(*(misfortune(random) for _ in range(4)))
            await trio.sleep(0.4)
    providers.simulator.faults.clear()
    while not calm.is_set():
        providers.simulator.clock.advance(DAY_S + 60)
        with trio.move_on_after(3.0):
            await calm.wait()


@asynccontextmanager
async def fetching(providers: Providers) -> AsyncGenerator[Mapping[str, Fetch]]:
    """A way to ask each provider what it has."""
    engine = Engine(Resolver(aimed(perdure.Config(), providers.url), environment(providers.url)))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield {name: engine.bind(Lane("", name, "default", "batch")) for name in PREFIXES}
        nursery.cancel_scope.cancel()


async def sold(providers: Providers) -> dict[str, set[str]]:
    """Every answer in any provider's results: by our batch and line, all texts that were sold for it."""
    answers: dict[str, set[str]] = {}
    async with fetching(providers) as fetches:
        for purchase in providers.simulator.account.purchases(kind="batch"):
            adapter, fetch = batch_providers()[purchase.provider], fetches[purchase.provider]
            seen = await adapter.status(fetch, purchase.id)
            for source in seen.sources:
                async with adapter.results(fetch, source, skip_bytes=0) as read:
                    async for run in read:
                        for raw in run:
                            line = adapter.parse_line(raw)
                            if line is None or not line.ok or not line.line_id.startswith("batch_"):
                                continue
                            answer = adapter.answer(adapter.endpoints[0], raw)
                            assert isinstance(answer, perdure.Answer)
                            answers.setdefault(line.line_id, set()).add(answer.text)
    return answers


@pytest.mark.sweep
@pytest.mark.trio
@pytest.mark.parametrize("seed", [1, 2])
async def test_after_three_kills_every_answer_that_was_sold_is_delivered(tmp_path: Path, seed: int) -> None:
    path, random = tmp_path / "log.db", Random(seed)
    calm = trio.Event()
    async with serving() as providers:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(storm, providers, random, calm)
                for life in range(DEATHS):
                    async with _working(path, providers, seed * 10 + life) as worker:
                        with trio.move_on_after(random.uniform(0.5, 5.0)):
                            await worker.ends()
                        worker.process.kill()
                async with _working(path, providers, seed * 10 + DEATHS) as worker:
                    told: dict[str, dict[str, str | None]] = await worker.ends()
                calm.set()
        delivered = {
            f"{batch}-{name.removeprefix('req-')}": text
            for batch, lines in told.items()
            for name, text in lines.items()
        }
        assert len(delivered) == BATCHES * LINES
        answers = await sold(providers)
    assert answers.keys() <= delivered.keys()
    assert {line for line, texts in answers.items() if delivered[line] not in texts} == set()
    assert sum(text is not None for text in delivered.values()) == len(answers)
    async with perdure.read(path) as reader:
        (await reader.log.verify()).raise_if_bad()
        statuses = [summary.status async for summary in reader.list(kind="batch")]
    assert statuses == ["succeeded"] * BATCHES


def _working(path: Path, providers: Providers, seed: int) -> AbstractAsyncContextManager[Worker]:
    return working("chaos_worker", path, BATCHES, LINES, seed, environment=environment(providers.url))
