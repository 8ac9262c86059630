"""Prompts with files in them, from `submit` to each provider's own wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest
from trio.testing import MockClock as Clock

import perdure
from perdure.testing import Simulation, simulation

pytestmark = pytest.mark.trio

PROVIDERS = ("anthropic", "google", "openai", "xai")
LARGE_PDF = b"%PDF-1.7\n" + bytes(range(256)) * 400
DAY_S = 86_400.0

ASKS = {
    "openai": "POST /openai/v1/responses",
    "anthropic": "POST /anthropic/v1/messages",
    "google": "POST /google/v1/models/{model}",
    "xai": "POST /xai/v1/responses",
}


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Simulation, perdure.Service]]:
    """A service whose log verifies when it is left, and its simulated providers."""
    async with simulation() as simulated, simulated.open() as service:
        yield simulated, service
        (await service.log.verify()).raise_if_bad()


def about(source: object, words: str = "what is this?") -> perdure.Prompt:
    """A question about a document."""
    parts = (perdure.Text(words), perdure.Document(source, "tides.pdf"))  # type: ignore[arg-type] - tests give anything
    return perdure.Prompt([perdure.Message("user", parts)], model="m-1")


def bought(simulated: Simulation, kind: str) -> int:
    """How many of a kind were bought, at all providers; none of them twice."""
    assert simulated.account.bought_twice() == []
    return len(simulated.account.purchases(kind=kind))


async def events_of(handle: perdure.Handle[perdure.Answer]) -> list[perdure.Event]:
    """What happened to a request."""
    async with aclosing(handle.events()) as events:
        return [record.event async for record in events]


# ---------------------------------------------------------------- live


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_f6_a_file_of_ours_is_uploaded_once_and_named(autojump_clock: Clock, provider: str) -> None:
    async with serving() as (simulated, service):
        file = await service.files.upload(LARGE_PDF, filename="tides.pdf")
        for words in ("what is this?", "and when is high tide?"):
            handle = await service.submit(about(file, words), provider=provider)
            answer = await handle.result()
            assert words in answer.text
        assert bought(simulated, "file") == 1
        assert bought(simulated, "text") == 2
