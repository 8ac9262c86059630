"""What tokens cost."""

from __future__ import annotations

import pytest

from perdure.events.pricing import BATCH_TIER, Rates, TierRates, cost_entry, price
from perdure.events.requests import Usage

RATES = Rates(
    input_per_m_tok=10.0, output_per_m_tok=20.0, tiers={"batch": TierRates(input_per_m_tok=5.0, output_per_m_tok=10.0)}
)
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def test_b8_the_batch_tier_is_priced_at_the_batch_rates() -> None:
    """B-8: what costs 30.00 at standard rates costs 15.00 in a batch whose rates are half."""
    assert price(MILLION, RATES) == 30.0
    assert price(MILLION, RATES, BATCH_TIER) == 15.0


@pytest.mark.parametrize("tier", ["standard", "flex", ""])
def test_a_tier_without_rates_is_flat(tier: str) -> None:
    assert price(MILLION, RATES, tier) == 30.0


def test_a_tier_overrides_field_by_field() -> None:
    rates = Rates(input_per_m_tok=10.0, output_per_m_tok=20.0, tiers={"batch": TierRates(output_per_m_tok=1.0)})
    assert price(MILLION, rates, "batch") == 11.0


def test_usage_that_was_not_reported_is_not_zero() -> None:
    assert price(None, RATES) is None
    assert price(Usage(), RATES) is None
    assert price(Usage(input_tokens=0, output_tokens=0), RATES) == 0.0
    assert price(Usage(output_tokens=1_000_000), RATES) == 20.0


def test_without_a_rate_there_is_no_price() -> None:
    assert price(MILLION, Rates()) is None
    assert price(MILLION, Rates(input_per_m_tok=1.0)) is None
    assert price(Usage(input_tokens=0), Rates()) == 0.0


def test_cached_tokens_are_part_of_the_input() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cached_tokens=500_000)
    assert price(usage, RATES) == pytest.approx(5.5), "a tenth, unless the rates say otherwise"
    assert price(usage, Rates(input_per_m_tok=10.0, output_per_m_tok=0.0, cache_read_per_m_tok=4.0)) == 7.0
    assert price(usage, RATES, "batch") == pytest.approx(2.75)


def test_an_entry_keeps_usage_and_tier_beside_the_amount() -> None:
    entry = cost_entry(MILLION, RATES, tier="batch", model="m", tags={"type": "batch"})
    assert (entry.amount, entry.tier, entry.model, entry.usage, entry.tags) == (
        15.0,
        "batch",
        "m",
        MILLION,
        {"type": "batch"},
    )
