"""Pricing an answer where it arrives: the rates are looked up once a day for each model, the arithmetic is pure.

The invariant: pricing never fails an answer and never waits for a network. What no price is known for is recorded as
such, at an amount of zero, and told once for each model.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from perdure.events.cost import Cost, Units
from perdure.events.pricing import PriceList, billed_tier, priced
from perdure.events.requests import Answer, LineError, Usage

logger = logging.getLogger("perdure")

LISTS_KEPT: Final = 2_000
"""How many looked up price lists stay in memory, some 0.5 KiB each."""

DAY_US: Final = 86_400 * 1_000_000
"""Rates may change with the day, by UTC: an answer is priced by those of the day on which it arrives."""

PAID_STATUS: Final = 200
"""The status of answers that were given, whatever can be read in them; all others are refusals, which cost nothing."""


class PriceBook(Protocol):
    """Knows what models cost. Looked into off the hot path; may take its time, and must not raise."""

    async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        """What a model costs in one tier at `at` (µs since 1970 UTC), None where it is not known."""
        ...


class NoPrices:
    """A price book without prices."""

    async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        """See `PriceBook`."""
        return None


class Pricing:
    """Prices answers by a book, whose answers it remembers."""

    def __init__(self, book: PriceBook | None = None) -> None:
        self._book: PriceBook = NoPrices() if book is None else book
        self._lists: dict[tuple[str, str, str, int], PriceList | None] = {}
        self._told: set[tuple[str, str]] = set()

    async def prepare(self, provider: str, model: str, *, batch: bool, at: int) -> None:
        """Looks up what will be asked for, so that an answer in hand does not wait for it. Call it before buying."""
        await self._find(provider, model, billed_tier(None, batch=batch), at)

    async def of(
        self,
        said: Answer | LineError,
        *,
        provider: str,
        model: str,
        credential: str,
        batch: bool,
        at: int,
    ) -> Cost | None:
        """What an answer cost; None for a refusal, which costs nothing. Checkpoints only when it looks something up.

        `model` is the one that was asked for; where nothing is known of it, or none was named, the one that answered.
        """
        usage = said.usage
        if isinstance(said, LineError) and usage is None and said.status != PAID_STATUS:
            return None
        answered = said.model if isinstance(said, Answer) else None
        return await self.of_usage(
            usage,
            provider=provider,
            model=model or answered or "",
            answered=answered,
            credential=credential,
            batch=batch,
            at=at,
        )

    async def of_usage(
        self,
        usage: Usage | None,
        *,
        provider: str,
        model: str,
        credential: str,
        batch: bool,
        at: int,
        answered: str | None = None,
        units: Units | None = None,
        estimated: bool = False,
    ) -> Cost:
        """What a usage, or so many units, cost: as `of`, for what is no answer with text."""
        tier = billed_tier(None if usage is None else usage.service_tier, batch=batch)
        prices = None
        if usage is None or usage.cost_ticks is None:
            prices = await self._find(provider, model, tier, at)
            if prices is None and answered and answered != model:
                prices = await self._find(provider, answered, tier, at)
            if prices is None and units is not None:
                prices = await self._find(provider, units.kind, tier, at)
        cost = priced(
            prices,
            provider=provider,
            model=model,
            credential=credential,
            tier=tier,
            usage=usage,
            units=units,
            estimated=estimated,
        )
        if cost.source == "unknown" and (provider, model) not in self._told:
            self._told.add((provider, model))
            logger.warning("answers of %s %r cannot be priced: %s; name it in `prices`", provider, model, cost.note)
        return cost

    async def _find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        key = (provider, model, tier, at // DAY_US)
        try:
            return self._lists[key]
        except KeyError:
            pass
        found = await self._book.find(provider, model, tier, at)
        if len(self._lists) >= LISTS_KEPT:
            self._lists.clear()
        self._lists[key] = found
        return found
