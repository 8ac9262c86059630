"""Price books one behind the other, and the one that a configuration is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perdure.actors.costs.pricing import PriceBook
from perdure.events.cost import Source
from perdure.events.pricing import PriceList, Rates, price_list


class Books:
    """Asks one book after the other: the first that knows a model has the say."""

    def __init__(self, books: Sequence[PriceBook]) -> None:
        self._books = books

    async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        """See `PriceBook`."""
        for book in self._books:
            found = await book.find(provider, model, tier, at)
            if found is not None:
                return found
        return None


CONFIGURED: Final = "configuration"


class ConfiguredPrices:
    """Rates by `provider/model`, or by a model's bare name; a model may have other names (`Rates.aliases`)."""

    def __init__(self, rates: Mapping[str, Rates], *, source: Source = "config", version: str = CONFIGURED) -> None:
        self._rates = dict(rates)
        self._source: Source = source
        self._version = version
        for name, one in rates.items():
            provider, slash, _ = name.rpartition("/")
            for alias in one.aliases:
                self._rates.setdefault(f"{provider}{slash}{alias}", one)

    async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        """See `PriceBook`. Does not checkpoint."""
        rates = self._rates.get(f"{provider}/{model}") or self._rates.get(model)
        return None if rates is None else price_list(rates, tier, source=self._source, version=self._version)
