"""Prices of the `genai-prices` library (MIT), which knows the text models of many providers, and some by the piece.

It is optional (`perdure[prices]`), takes a quarter of a second and some 28 MiB to load, and is loaded on threads that
do blocking work, once something is to be priced. It is never asked to update itself: the prices are those of the
installed version, which is recorded beside every cost. Only rates are read from it; the arithmetic is ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from perdure.events.cost import Tariff, ticks_of
from perdure.events.pricing import BATCH_TIER, STANDARD_TIER, PriceList
from perdure.store.disk import Disk

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

logger = logging.getLogger("perdure")

HALVED: Final = frozenset({"openai", "anthropic", "google"})
"""Who takes half for what goes through its batches, of whatever model (contracts/providers.md sections 5 and 7). Used
where the library lists no batch rates for a model."""

_HALF_NOTE: Final = "no batch rates are listed for this model: half of the standard ones, as the provider has it"

_TOKENS: Final[Mapping[str, str]] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "image_input": "input_image_mtok",
    "image_output": "output_image_mtok",
}
"""Our rates by their name in the library; both are for a million tokens."""

_HOUR_MINUTES: Final = 60


class _Found(Protocol):
    """What the library says of a model at some time: its rates, in some tier."""

    def __call__(self, provider: str, model: str, tier: str, at: datetime) -> tuple[ModelPrice, bool] | None:
        """The rates, and whether they are those of the tier; None for a model that it does not know."""
        ...


class LibraryPrices:
    """The library as a price book; one without prices where it is not installed."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._find: _Found | None = None
        self._version = ""
        self._missing = False

    async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
        """See `PriceBook`."""
        if self._missing or not model:
            return None
        if self._find is None:
            await self._disk.run(self._load)
        find = self._find
        if find is None:
            return None
        found = find(provider, model, tier, datetime.fromtimestamp(at / 1_000_000, UTC))
        if found is None:
            return None
        rates, exact = found
        return _price_list(rates, self._version, half=tier == BATCH_TIER and not exact and provider in HALVED)

    def _load(self) -> None:
        try:
            import genai_prices
            from genai_prices.data_snapshot import get_snapshot
        except ImportError:
            logger.info("token prices are not known without the price library: install perdure[prices]")
            self._missing = True
            return
        self._version = f"genai-prices {genai_prices.__version__}"
        self._find = _finder(get_snapshot())


def _finder(snapshot: Any) -> _Found:
    def find(provider: str, model: str, tier: str, at: datetime) -> tuple[ModelPrice, bool] | None:
        try:
            _, known = snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return None
        if tier in ("", STANDARD_TIER):
            return known.get_prices(at), True
        wanted = {"processing": "batch"} if tier == BATCH_TIER else {"service_tier": tier}
        listed = any(
            variant.when == wanted and (variant.constraint is None or variant.constraint.active(at))
            for variant in known.price_variants or ()
        )
        return known.get_prices(at, wanted if listed else None), listed

    return find


def _price_list(rates: ModelPrice, version: str, *, half: bool) -> PriceList:
    values: dict[str, Decimal | TieredPrices] = {
        name: value for name, value in vars(rates).items() if value is not None and not name.startswith("_")
    }
    share = Decimal("0.5") if half else Decimal(1)
    starts = sorted({tier.start for value in values.values() for tier in getattr(value, "tiers", ())})
    return PriceList(
        source="prices",
        version=version,
        base=_tariff(values, lambda value: _base(value) * share),
        above=[(start, _tariff(values, lambda value, start=start: _above(value, start) * share)) for start in starts],  # type: ignore[misc]
        free=not values,
        note=_HALF_NOTE if half else "",
    )


def _tariff(values: Mapping[str, Decimal | TieredPrices], rate: Callable[[Decimal | TieredPrices], Decimal]) -> Tariff:
    def ticks(name: str, by: int = 1) -> int | None:
        value = values.get(name)
        return None if value is None else ticks_of(rate(value) / by)

    tokens = {ours: ticks(theirs) for ours, theirs in _TOKENS.items()}
    hours = "input_audio_hours" if "input_audio_hours" in values else "audio_hours"
    return Tariff(**tokens, minute=ticks(hours, _HOUR_MINUTES), characters=ticks("input_mchars"))


def _base(value: Decimal | TieredPrices) -> Decimal:
    return value if isinstance(value, Decimal) else value.base


def _above(value: Decimal | TieredPrices, start: int) -> Decimal:
    """The rate of requests with more input tokens than `start`."""
    if isinstance(value, Decimal):
        return value
    rate = value.base
    for tier in value.tiers:
        if tier.start <= start:
            rate = tier.price
    return rate
