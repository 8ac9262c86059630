"""Shared windows against the simulator, on its wire: files without some lines, and lines that go live."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.abc import Clock

import perdure
from perdure.testing import Simulation, faults, simulation
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio

ASK = "POST /openai/v1/responses"
FEW = perdure.BatchStrategy(minimum=9)

Line = perdure.Handle[perdure.Answer]


def config(*, secret: str | None = None, strategy: perdure.BatchStrategy = FEW) -> perdure.Config:
    """A configuration with a key, one that is taken unless told otherwise."""
    credentials = {"default": perdure.Secret(secret or unique_key())}
    return perdure.Config(providers={"openai": perdure.ProviderConfig(credentials=credentials)}, batching=strategy)


@asynccontextmanager
async def serving(simulated: Simulation, **how: Any) -> AsyncGenerator[perdure.Service]:
    """A service whose log verifies when it is left."""
    async with simulated.open(config=config(**how)) as service:
        yield service
        (await service.log.verify()).raise_if_bad()


async def ask(service: perdure.Service, count: int, **how: Any) -> list[Line]:
    """`count` requests that wait for each other."""
    options: dict[str, Any] = {"provider": "openai", "via": "auto", **how}
    return [
        await service.submit(perdure.Prompt(f"question {number}", model="m"), key=f"k-{number}", **options)
        for number in range(count)
    ]


async def said(lines: list[Line]) -> list[str]:
    """`ok`, or what the caller of each line is told."""
    told: list[str] = []
    for line in lines:
        try:
            told.append("ok" if (await line.result()).text else "empty")
        except perdure.OperationFailed as failure:
            told.append(str(failure.cause))
        except perdure.OperationError as error:
            told.append(type(error).__name__)
    return told


def bought(simulated: Simulation) -> dict[str, int]:
    """How much of each kind was bought."""
    return dict(Counter(str(purchase.kind) for purchase in simulated.account.purchases()))


async def test_w9_w17_a_line_is_named_in_a_file_without_its_neighbour(clock: Clock) -> None:
    """W-9, W-17: the provider counts the lines that it was sent; what it says of one reaches its caller."""
    async with simulation() as simulated, serving(simulated, strategy=perdure.BatchStrategy(minimum=1)) as service:
        simulated.faults.arm(faults.FailValidation(code="invalid_json_line", message="Broken.", line=2))
        lines = await ask(service, 4)
        assert await lines[1].cancel() == "cancelled"
        assert await said(lines) == ["batch_failed", "OperationCancelled", "invalid_json_line", "batch_failed"]
        (batch,) = [purchase for purchase in simulated.account.purchases() if purchase.kind == "batch"]
        assert batch.units == 3


async def test_w13_lines_that_go_live_outlive_a_crash(clock: Clock) -> None:
    """W-13: too few for a batch: each is bought by itself, once, and found by its key in the next process."""
    async with simulation() as simulated:
        async with serving(simulated) as service:
            lines = await ask(service, 4)
            assert await lines[0].cancel() == "cancelled"
            await trio.sleep(3)
            await simulated.crash()
        async with serving(simulated) as service:
            found = [await service.find(f"k-{number}") for number in range(4)]
            again: list[Any] = [line for line in found if line is not None]
            assert [line.id for line in again] == [line.id for line in lines]
            assert await said(again) == ["OperationCancelled", "ok", "ok", "ok"]
            assert (simulated.account.bought_twice(), bought(simulated)) == ([], {"text": 3})
            batch = await service.get(again[0].id.rpartition("-")[0])
            assert isinstance(batch, perdure.BatchHandle)
            assert (await batch.result()).ok == 3


async def test_w13_a_busy_provider_is_asked_again_and_a_refusal_ends_its_line(clock: Clock) -> None:
    async with simulation() as simulated, serving(simulated) as service:
        simulated.faults.arm(
            faults.AnswerStatus(route=ASK, status=429, headers={"retry-after": "3"}, count=2),
            faults.AnswerStatus(route=ASK, status=400, body={"error": {"code": "odd", "message": "No."}}),
        )
        lines = await ask(service, 4)
        assert sorted(await said(lines)) == ["odd", "ok", "ok", "ok"]
        assert bought(simulated) == {"text": 3}


@pytest.mark.parametrize(
    ("policy", "told", "times"), [("fail", "OutcomeUncertain", 1), ("resubmit", "ok", 2)], ids=["fail", "resubmit"]
)
async def test_w13_a_lost_answer_ends_by_policy(clock: Clock, policy: str, told: str, times: int) -> None:
    """What is asked live cannot be found again: it is bought twice only where the caller says so."""
    async with simulation() as simulated, serving(simulated) as service:
        simulated.faults.arm(faults.ActThenDrop(route=ASK))
        (line,) = await ask(service, 1, on_uncertain=policy)
        assert await said([line]) == [told]
        assert bought(simulated) == {"text": times}


async def test_w13_a_wrong_key_blocks_lines_that_go_live_until_it_is_mended(clock: Clock) -> None:
    async with simulation() as simulated:
        async with serving(simulated, secret=wrong_key()) as service:
            (line,) = await ask(service, 1)
            await trio.sleep(30)
            assert await line.refresh() == "blocked"
        async with serving(simulated) as service:
            again = await service.find("k-0")
            assert again is not None
            await again.resume()
            assert await said([again]) == ["ok"]
        assert bought(simulated) == {"text": 1}


async def test_the_bodies_are_the_lines_own(clock: Clock) -> None:
    """Going live a line is the request alone: what a batch wraps around it stays behind."""
    async with simulation() as simulated, serving(simulated) as service:
        body = {"model": "m", "input": "raw", "metadata": {"custom_id": "mine"}}
        raw = perdure.RawRequest("/v1/responses", body)
        line = await service.submit(raw, provider="openai", via="auto")
        answer = await line.result()
        assert json.loads(answer.raw)["metadata"] == {"custom_id": "mine"}
