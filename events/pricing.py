"""What tokens cost: pure arithmetic on rates that the caller brings.

Amounts are US dollars as floats, exact enough to add up; a ledger that must match an invoice to the cent rounds at its
end. "Not reported" is None and never zero: a usage of zero tokens costs 0.0, an unknown usage has no price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from perdure.events.requests import Usage

BATCH_TIER: Final = "batch"
"""The tier of everything that went through a provider's batches."""

STANDARD_TIER: Final = "standard"
"""The tier of everything else, unless the provider's answer says another."""

CACHE_READ_SHARE: Final = 0.1
"""What a cached input token costs beside a fresh one where the rates do not say (media contract, section 6.1)."""

_MILLION: Final = 1_000_000


class TierRates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates in US dollars for a million tokens; None: not stated here."""

    input_per_m_tok: float | None = None
    output_per_m_tok: float | None = None
    cache_read_per_m_tok: float | None = None


class Rates(TierRates, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of one model. A tier in `tiers` overrides field by field; the flat rates hold for all others."""

    tiers: Mapping[str, TierRates] = {}


class CostEntry(Struct, frozen=True, kw_only=True):
    """One thing that was paid for. `amount` is in US dollars, None when it cannot be told; `tier` is the billed one."""

    amount: float | None
    tier: str
    model: str | None
    usage: Usage | None
    tags: Mapping[str, str] = {}


def price(usage: Usage | None, rates: Rates, tier: str = STANDARD_TIER) -> float | None:
    """What `usage` costs at `rates`, in US dollars; None without a usage, or without a rate for what it counts.

    Cached tokens are part of the input tokens, reasoning tokens of the output tokens, as providers count them.
    """
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    own = rates.tiers.get(tier, rates)
    per_input = rates.input_per_m_tok if own.input_per_m_tok is None else own.input_per_m_tok
    per_output = rates.output_per_m_tok if own.output_per_m_tok is None else own.output_per_m_tok
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    if (read and per_input is None) or (written and per_output is None):
        return None
    cached = min(usage.cached_tokens or 0, read)
    per_cached = own.cache_read_per_m_tok
    if per_cached is None and own.input_per_m_tok is None:
        per_cached = rates.cache_read_per_m_tok
    if per_cached is None:
        per_cached = (per_input or 0.0) * CACHE_READ_SHARE
    return ((read - cached) * (per_input or 0.0) + cached * per_cached + written * (per_output or 0.0)) / _MILLION


def cost_entry(
    usage: Usage | None, rates: Rates, *, tier: str, model: str | None = None, tags: Mapping[str, str] | None = None
) -> CostEntry:
    """The entry for one answer."""
    return CostEntry(amount=price(usage, rates, tier), tier=tier, model=model, usage=usage, tags=tags or {})
