"""What something cost, as it is recorded: once, in the commit of the outcome that it was paid for.

Amounts are whole ticks of 1e-10 US dollars, so that sums are exact, in any order and in any language; 64 bits hold nine
hundred million dollars. Nothing is priced twice: a projection only adds up what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from perdure.events.event import Event
from perdure.events.requests import Usage

TICKS_A_DOLLAR: Final = 10_000_000_000
"""xAI's unit, the finest that a provider bills in (`usage.cost_in_usd_ticks`, contracts/providers.md section 4)."""

CURRENCY: Final = "USD"

Source = Literal["provider", "config", "prices", "table", "unknown"]
"""Who says what it cost: the provider itself; or the rates do, of the configuration, of the price library, of our own
table. `unknown`: nobody does, and the amount is zero."""


class Units(Struct, frozen=True, omit_defaults=True):
    """What is billed by the piece. None means "not known", which is not zero.

    `kind`: `image`, `video`, `speech` or `transcription`. `count`: pieces that were made. `seconds` of video, or of
    audio that was read. `characters` that were spoken. `resolution`: the provider's word, such as `720p`.
    """

    kind: str
    count: int | None = None
    seconds: float | None = None
    characters: int | None = None
    resolution: str = ""


class Tariff(Struct, frozen=True, omit_defaults=True):
    """Rates in ticks: for a million tokens of each sort, a piece (`image`), a second, a minute, a million characters.

    None: not billed by this, or, of the finer sorts of tokens, as the coarser one is.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    image: int | None = None
    second: int | None = None
    minute: int | None = None
    characters: int | None = None


class Cost(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one answer cost, priced where it arrived; the fields of `CostRecorded`."""

    provider: str
    model: str
    credential: str
    tier: str
    amount: int
    source: Source
    price_version: str = ""
    rates: Tariff | None = None
    usage: Usage | None = None
    units: Units | None = None
    estimated: bool = False
    note: str = ""


class CostRecorded(Event, frozen=True, tag="CostRecorded", kw_only=True):
    """What answers of one actor cost: `requests` of them, all at the same rates; written in the commit that keeps them.

    `amount` is in ticks (1e-10) of `currency`, at `rates` (ticks too, see `Tariff`) of `price_version` of `source` (see
    `Source`). `tier` is what was billed: `batch`, else the provider's word, "" where it said none. `usage` and `units`
    are sums. `estimated`: a quantity was not reported, as `note` says; a `note` also tells why nothing could be priced.

    `numbers` are the lines of a shared window that it is made up of and `amounts` what each cost, in step; both are
    empty where nobody asked for a line by itself.
    """

    provider: str
    model: str
    credential: str
    tier: str
    amount: int
    currency: str
    source: str
    requests: int
    price_version: str = ""
    rates: Tariff | None = None
    usage: Usage | None = None
    units: Units | None = None
    estimated: bool = False
    note: str = ""
    numbers: Sequence[int] = ()
    amounts: Sequence[int] = ()


def recorded_cost(cost: Cost) -> CostRecorded:
    """The event of one answer's cost."""
    return gathered([cost])[0]


def gathered(costs: Sequence[Cost], numbers: Sequence[int] = ()) -> list[CostRecorded]:
    """The events of some answers' costs: one for all those that were priced alike, in order of the first of each.

    `numbers` are their lines, in step; empty where nobody asks for a line by itself.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, cost in enumerate(costs):
        units = cost.units
        sort = None if units is None else (units.kind, units.resolution)
        told = (cost.provider, cost.model, cost.credential, cost.tier, cost.source, cost.price_version)
        # The rates of one price list are one object, so that telling them apart costs no hash of all of them.
        alike.setdefault((*told, id(cost.rates), cost.estimated, cost.note, sort), []).append(place)
    return [
        _together([costs[place] for place in places], [numbers[place] for place in places] if numbers else ())
        for places in alike.values()
    ]


def _together(costs: Sequence[Cost], numbers: Sequence[int]) -> CostRecorded:
    first = costs[0]
    amounts = [cost.amount for cost in costs]
    return CostRecorded(
        provider=first.provider,
        model=first.model,
        credential=first.credential,
        tier=first.tier,
        amount=sum(amounts),
        currency=CURRENCY,
        source=first.source,
        requests=len(costs),
        price_version=first.price_version,
        rates=first.rates,
        usage=_sum_of_usages([cost.usage for cost in costs]),
        units=_sum_of_units([cost.units for cost in costs]),
        estimated=first.estimated,
        note=first.note,
        numbers=numbers,
        amounts=amounts if numbers else (),
    )


_COUNTS: Final = [name for name in Usage.__struct_fields__ if name != "service_tier"]


def _sum_of_usages(usages: Sequence[Usage | None]) -> Usage | None:
    """All of it together; what none of them reported stays unreported."""
    if len(usages) == 1:
        return usages[0]
    told = [usage for usage in usages if usage is not None]
    if not told:
        return None
    sums: dict[str, int | None] = {}
    for name in _COUNTS:
        counts = [count for usage in told if (count := getattr(usage, name)) is not None]
        if counts:
            sums[name] = sum(counts)
    return Usage(**sums, service_tier=told[0].service_tier)


def _sum_of_units(units: Sequence[Units | None]) -> Units | None:
    told = [unit for unit in units if unit is not None]
    if len(told) < 2:
        return told[0] if told else None
    counts = [unit.count for unit in told if unit.count is not None]
    seconds = [unit.seconds for unit in told if unit.seconds is not None]
    characters = [unit.characters for unit in told if unit.characters is not None]
    return Units(
        kind=told[0].kind,
        count=sum(counts) if counts else None,
        seconds=sum(seconds) if seconds else None,
        characters=sum(characters) if characters else None,
        resolution=told[0].resolution,
    )


def dollars(ticks: int) -> Decimal:
    """An amount in US dollars, exactly."""
    return Decimal(ticks) / TICKS_A_DOLLAR


def ticks_of(amount: float | Decimal) -> int:
    """An amount of US dollars in ticks, as it is written: 0.1 is a tenth."""
    return round((amount if isinstance(amount, Decimal) else Decimal(repr(amount))) * TICKS_A_DOLLAR)
