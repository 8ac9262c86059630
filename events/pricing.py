"""What something costs: pure arithmetic on rates that the caller brings.

The ladder, from the top: what the provider says that it cost; its tokens, where it reported any and there are rates for
them; its pieces, seconds or characters; else nothing is known. "Not reported" is None and never zero: a usage of zero
tokens costs nothing, an unknown usage has no price (W-74, W-75). Every rule is of section 6.1 of the media contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from perdure.events.cost import TICKS_A_DOLLAR, Cost, Source, Tariff, Units, ticks_of
from perdure.events.requests import Usage

BATCH_TIER: Final = "batch"
"""The tier of everything that went through a provider's batches."""

STANDARD_TIER: Final = "standard"
"""The tier whose rates are the flat ones; OpenAI calls it `default`."""

CACHE_READ_SHARE: Final = 10
CACHE_WRITE_SHARE: Final = 125
"""What a token read from the cache, and one written into it, costs in hundredths of a fresh one where the rates do not
say (media contract, section 6.1)."""

_MILLION: Final = 1_000_000


class TierRates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates in US dollars: for a million tokens of each sort, a picture, a second of video, a minute of audio that is
    read, a million characters that are spoken. None: not stated here. `per_unit` are rates by resolution, for a picture
    or a second: `{"720p": 0.1}`."""

    input_per_m_tok: float | None = None
    output_per_m_tok: float | None = None
    cache_read_per_m_tok: float | None = None
    cache_write_per_m_tok: float | None = None
    audio_input_per_m_tok: float | None = None
    audio_output_per_m_tok: float | None = None
    per_image: float | None = None
    per_second: float | None = None
    per_minute: float | None = None
    per_m_chars: float | None = None
    per_unit: Mapping[str, float] = {}


class Rates(TierRates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of one model. A tier in `tiers` overrides field by field; the flat rates hold for all others.

    `aliases` are other names of the model.
    """

    tiers: Mapping[str, TierRates] = {}
    aliases: Sequence[str] = ()


class PriceList(Struct, frozen=True, kw_only=True):
    """What one model costs in one tier. `above` are the rates from more than so many input tokens on, ascending;
    `units` those by resolution, in ticks. `free`: it is known to cost nothing. `note` goes with whatever is priced."""

    source: Source
    version: str
    base: Tariff
    above: Sequence[tuple[int, Tariff]] = ()
    units: Mapping[str, int] = {}
    free: bool = False
    note: str = ""

    def tariff(self, usage: Usage) -> Tariff:
        """The rates that hold for all tokens of a usage."""
        chosen = self.base
        for start, tariff in self.above:
            if (usage.input_tokens or 0) > start:
                chosen = tariff
        return chosen


def billed_tier(reported: str | None, *, batch: bool) -> str:
    """The tier that is billed: `batch` for all that went through one, whatever the answer says (W-73); else the
    provider's word in lower case, `default` being `standard`, and "" where it said none."""
    if batch:
        return BATCH_TIER
    word = (reported or "").lower()
    return STANDARD_TIER if word == "default" else word


def price_list(rates: Rates, tier: str, *, source: Source, version: str = "") -> PriceList:
    """The price list of a model in one tier, from rates in US dollars."""
    own = rates.tiers.get(tier)
    flat, over = _tariff(rates), Tariff() if own is None else _tariff(own)
    stated = {name: value for name in Tariff.__struct_fields__ if (value := getattr(over, name)) is not None}
    if over.input is not None and over.cache_read is None and flat.cache_read is not None:
        flat = replace(flat, cache_read=None)  # a share of the input's own rate, not the flat rate of another tier
    if over.input is not None and over.cache_write is None and flat.cache_write is not None:
        flat = replace(flat, cache_write=None)
    units = {**rates.per_unit, **({} if own is None else own.per_unit)}
    return PriceList(
        source=source,
        version=version,
        base=replace(flat, **stated) if stated else flat,
        units={name: ticks_of(rate) for name, rate in units.items()},
    )


def _tariff(rates: TierRates) -> Tariff:
    def ticks(rate: float | None) -> int | None:
        return None if rate is None else ticks_of(rate)

    return Tariff(
        input=ticks(rates.input_per_m_tok),
        output=ticks(rates.output_per_m_tok),
        cache_read=ticks(rates.cache_read_per_m_tok),
        cache_write=ticks(rates.cache_write_per_m_tok),
        audio_input=ticks(rates.audio_input_per_m_tok),
        audio_output=ticks(rates.audio_output_per_m_tok),
        image=ticks(rates.per_image),
        second=ticks(rates.per_second),
        minute=ticks(rates.per_minute),
        characters=ticks(rates.per_m_chars),
    )


# ---------------------------------------------------------------- the ladder


def priced(
    prices: PriceList | None,
    *,
    provider: str,
    model: str,
    credential: str,
    tier: str,
    usage: Usage | None = None,
    units: Units | None = None,
    estimated: bool = False,
) -> Cost:
    """What one answer cost. `estimated`: `units` has what was asked for, for the provider reported no quantity."""

    def cost(amount: int, source: Source, *, rates: Tariff | None = None, note: str = "") -> Cost:
        version = prices.version if prices is not None and source != "provider" else ""
        return Cost(
            provider=provider,
            model=model,
            credential=credential,
            tier=tier,
            amount=amount,
            source=source,
            price_version="" if source == "unknown" else version,
            rates=rates,
            usage=usage,
            units=units,
            estimated=estimated,
            note=note,
        )

    if usage is not None and usage.cost_ticks is not None:
        return cost(usage.cost_ticks, "provider")
    if prices is None:
        return cost(0, "unknown", note="no price is known for this model")
    if prices.free:
        return cost(0, prices.source, note="free of charge")
    rate = None if units is None else _unit_rate(prices, units)
    if usage is not None and (rate is None or _counts_anything(usage)):
        tariff = prices.tariff(usage)
        if tariff.input is not None or tariff.output is not None:
            amount = token_ticks(usage, tariff)
            if amount is not None:
                return cost(amount, prices.source, rates=_tokens_only(tariff), note=prices.note)
    if units is None:
        known = prices.base.input is not None or prices.base.output is not None
        return cost(0, "unknown", note=_WHY_NOT[known])
    if rate is None:
        return cost(0, "unknown", note=f"no rate for {units.kind} is known for this model")
    quantity = _quantity(units)
    if quantity is None:
        return cost(0, "unknown", note=f"how much {units.kind} it was is not known")
    name, ticks, per = rate
    note = "the quantity is what was asked for" if estimated else prices.note
    return cost(round(ticks * quantity / per), prices.source, rates=Tariff(**{name: ticks}), note=note)


_WHY_NOT: Final = {
    True: "the provider reported no usage that there are rates for",
    False: "no rate for tokens is known for this model",
}


def token_ticks(usage: Usage, rates: Tariff) -> int | None:
    """What the tokens of a usage cost, in ticks; None without a count, or without a rate for what it counts.

    Cached tokens are part of the input tokens, reasoning tokens of the output tokens, as providers count them.
    """
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    if (read and rates.input is None) or (written and rates.output is None):
        return None
    total = 0
    if read:
        each = rates.input or 0
        left = read
        for count, rate in _finer_input(usage, rates, each):
            counted = min(count, left)
            total += counted * rate
            left -= counted
        total += left * each
    if written:
        each = rates.output or 0
        left = written
        for spoken, own in (
            (usage.audio_output_tokens, rates.audio_output),
            (usage.image_output_tokens, rates.image_output),
        ):
            if spoken and own is not None:
                counted = min(spoken, left)
                total += counted * own
                left -= counted
        total += left * each
    return (total + _MILLION // 2) // _MILLION


def _finer_input(usage: Usage, rates: Tariff, each: int) -> Sequence[tuple[int, int]]:
    """Input tokens that have a rate of their own: how many, and the rate."""
    finer: list[tuple[int, int]] = []
    if usage.cached_tokens:
        finer.append((usage.cached_tokens, _or(rates.cache_read, each, CACHE_READ_SHARE)))
    if usage.cache_write_tokens:
        short = _or(rates.cache_write, each, CACHE_WRITE_SHARE)
        hour = min(usage.cache_write_1h_tokens or 0, usage.cache_write_tokens)
        if hour:
            finer.append((hour, short if rates.cache_write_1h is None else rates.cache_write_1h))
        finer.append((usage.cache_write_tokens - hour, short))
    if usage.audio_input_tokens and rates.audio_input is not None:
        finer.append((usage.audio_input_tokens, rates.audio_input))
    if usage.image_input_tokens and rates.image_input is not None:
        finer.append((usage.image_input_tokens, rates.image_input))
    return finer


def _or(rate: int | None, each: int, hundredths: int) -> int:
    return each * hundredths // 100 if rate is None else rate


def _counts_anything(usage: Usage) -> bool:
    return bool(usage.input_tokens or usage.output_tokens)


def _tokens_only(tariff: Tariff) -> Tariff:
    if tariff.image is tariff.second is tariff.minute is tariff.characters is None:
        return tariff
    return replace(tariff, image=None, second=None, minute=None, characters=None)


def _unit_rate(prices: PriceList, units: Units) -> tuple[str, int, int] | None:
    """The rate that pieces are billed at: its field in `Tariff`, the rate, and for how many of the quantity it is."""
    base = prices.base
    by_resolution = prices.units.get(units.resolution)
    match units.kind:
        case "image":
            rate = base.image if by_resolution is None else by_resolution
            return None if rate is None else ("image", rate, 1)
        case "video":
            rate = base.second if by_resolution is None else by_resolution
            return None if rate is None else ("second", rate, 1)
        case "speech":
            return None if base.characters is None else ("characters", base.characters, _MILLION)
        case "transcription":
            return None if base.minute is None else ("minute", base.minute, 60)
        case _:
            return None


def _quantity(units: Units) -> float | None:
    """How much of it there is, in the measure of its kind; nothing made is nothing, however long it would have been."""
    if units.count == 0:
        return 0
    return {"image": units.count, "speech": units.characters}.get(units.kind, units.seconds)


# ---------------------------------------------------------------- before it is bought


def estimated_cost(
    prices: PriceList | None, *, provider: str, model: str, images: int = 0, audio_parts: int = 0
) -> Cost:
    """What a request is about to cost as far as that can be told from its parts: pictures, at the rate for one.

    An honest zero with a note where there is no rate; parts with audio are noted and change no number.
    """
    units = Units(kind="image", count=images) if images else None
    rate = None if prices is None or units is None else _unit_rate(prices, units)
    notes: list[str] = []
    if images and rate is not None:
        notes.append(f"assumes {images} pictures at {rate[1] / TICKS_A_DOLLAR:g} USD each")
    elif images:
        notes.append("no rate for image is known for this model")
    if audio_parts:
        notes.append(f"{audio_parts} parts with audio are not counted")
    known = prices is not None and rate is not None
    return Cost(
        provider=provider,
        model=model,
        credential="",
        tier="",
        amount=images * rate[1] if rate is not None else 0,
        source=prices.source if prices is not None and known else "unknown",
        price_version=prices.version if prices is not None and known else "",
        rates=Tariff(image=rate[1]) if rate is not None else None,
        units=units,
        estimated=True,
        note="; ".join(notes),
    )


# ---------------------------------------------------------------- at the caller's own rates


class CostEntry(Struct, frozen=True, kw_only=True):
    """What one answer costs at rates that a caller brought. `amount` is in US dollars, None when it cannot be told."""

    amount: float | None
    tier: str
    model: str | None
    usage: Usage | None
    tags: Mapping[str, str] = {}


def price(usage: Usage | None, rates: Rates, tier: str = STANDARD_TIER) -> float | None:
    """What the tokens of `usage` cost at `rates`, in US dollars; None as `token_ticks` has it."""
    if usage is None:
        return None
    ticks = token_ticks(usage, price_list(rates, tier, source="config").base)
    return None if ticks is None else ticks / TICKS_A_DOLLAR


def cost_entry(
    usage: Usage | None, rates: Rates, *, tier: str, model: str | None = None, tags: Mapping[str, str] | None = None
) -> CostEntry:
    """The entry for one answer."""
    return CostEntry(amount=price(usage, rates, tier), tier=tier, model=model, usage=usage, tags=tags or {})
