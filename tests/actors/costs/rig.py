"""A service with prices of the test's own, and its simulated providers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

import perdure
from perdure.testing import Simulation, simulation
from tests.secrets import unique_key

MODEL = "gpt-test"
RATES = perdure.Rates(
    input_per_m_tok=10.0,
    output_per_m_tok=20.0,
    tiers={"batch": perdure.TierRates(input_per_m_tok=5.0, output_per_m_tok=10.0)},
)
PROVIDERS = ("openai", "anthropic", "google", "xai")


def config(*budgets: perdure.Budget, prices: Mapping[str, perdure.Rates] | None = None) -> perdure.Config:
    """A configuration with a key for each provider, and a price for `MODEL` unless the test has others."""
    credentials = {"default": perdure.Secret(unique_key())}
    providers = {name: perdure.ProviderConfig(credentials=credentials) for name in PROVIDERS}
    return perdure.Config(providers=providers, budgets=budgets, prices={MODEL: RATES} if prices is None else prices)


@asynccontextmanager
async def serving(
    *budgets: perdure.Budget,
    simulated: Simulation | None = None,
    prices: Mapping[str, perdure.Rates] | None = None,
) -> AsyncGenerator[perdure.Service]:
    """A service whose log verifies when it is left."""
    if simulated is None:
        async with simulation() as fresh, serving(*budgets, simulated=fresh, prices=prices) as service:
            yield service
        return
    async with simulated.open(config=config(*budgets, prices=prices)) as service:
        yield service
        (await service.log.verify()).raise_if_bad()


def ask(text: str = "why?", *, model: str = MODEL, custom_id: str | None = None) -> perdure.Prompt:
    """A question."""
    return perdure.Prompt(text, model=model, custom_id=custom_id, max_output_tokens=50)


async def recorded(service: perdure.Service) -> Sequence[perdure.CostRecorded]:
    """Every cost on record, in order."""
    return [
        msgspec.json.decode(record.payload, type=perdure.CostRecorded)
        async for record in service.log.read()
        if record.type == "CostRecorded"
    ]


def expected(usage: perdure.Usage | None, share: int = 1) -> int:
    """What a usage costs at `RATES` in ticks; a batch takes the half of it."""
    assert usage is not None
    return ((usage.input_tokens or 0) * 10 + (usage.output_tokens or 0) * 20) * 10_000 // share
