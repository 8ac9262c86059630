"""The price ladder: what one answer cost, by rates that the test brings. Amounts here are in US dollars."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.events.cost import Cost, Tariff, Units, dollars, gathered, ticks_of
from perdure.events.pricing import PriceList, Rates, TierRates, billed_tier, estimated_cost, price_list, priced
from perdure.events.requests import Usage

CHAT = Rates(
    input_per_m_tok=2.5,
    output_per_m_tok=15.0,
    tiers={
        "batch": TierRates(input_per_m_tok=1.25, output_per_m_tok=7.5),
        "priority": TierRates(input_per_m_tok=5.0, output_per_m_tok=30.0),
    },
)
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
VIDEO = Rates(per_second=0.4, per_unit={"720p": 0.12})


def pay(
    rates: Rates | None,
    usage: Usage | None = None,
    units: Units | None = None,
    *,
    tier: str = "",
    estimated: bool = False,
) -> Cost:
    """What it cost."""
    prices = None if rates is None else price_list(rates, tier, source="table", version="1")
    return priced(
        prices,
        provider="p",
        model="m",
        credential="default",
        tier=tier,
        usage=usage,
        units=units,
        estimated=estimated,
    )


def usd(cost: Cost) -> Decimal:
    """An amount in US dollars."""
    return dollars(cost.amount)


# ---------------------------------------------------------------- tokens


def test_c1_a_completion_is_priced_by_its_tokens() -> None:
    cost = pay(CHAT, MILLION)
    assert usd(cost) == Decimal("17.5")
    assert (cost.source, cost.price_version, cost.usage) == ("table", "1", MILLION)
    assert cost.rates == Tariff(input=ticks_of(2.5), output=ticks_of(15.0)), "the rates that were used are kept"


def test_c2_audio_tokens_have_rates_of_their_own_or_those_of_text() -> None:
    rates = Rates(input_per_m_tok=4.0, output_per_m_tok=16.0, audio_input_per_m_tok=40.0, audio_output_per_m_tok=80.0)
    usage = Usage(
        input_tokens=2_000_000, output_tokens=1_000_000, audio_input_tokens=1_000_000, audio_output_tokens=1_000_000
    )
    assert usd(pay(rates, usage)) == Decimal(124)
    assert usd(pay(Rates(input_per_m_tok=4.0, output_per_m_tok=16.0), usage)) == Decimal(24)


def test_cached_and_written_tokens_are_part_of_the_input() -> None:
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, cache_write_tokens=200_000)
    assert usd(pay(Rates(input_per_m_tok=10.0), usage)) == Decimal("6.9"), "0.4 x 1 + 0.2 x 12.5 + 0.4 x 10"
    own = Rates(input_per_m_tok=10.0, cache_read_per_m_tok=2.0, cache_write_per_m_tok=20.0)
    assert usd(pay(own, usage)) == Decimal("8.8")


def test_an_hour_in_the_cache_costs_its_own_rate() -> None:
    prices = PriceList(
        source="prices", version="", base=Tariff(input=10_000_000, cache_write=20_000_000, cache_write_1h=40_000_000)
    )
    usage = Usage(input_tokens=3, cache_write_tokens=2, cache_write_1h_tokens=1)
    cost = priced(prices, provider="p", model="m", credential="", tier="", usage=usage)
    assert cost.amount == 10 + 20 + 40


def test_many_tokens_cost_the_rate_above_their_number_all_of_them() -> None:
    prices = PriceList(source="prices", version="", base=Tariff(input=1_000_000), above=[(10, Tariff(input=3_000_000))])

    def amount(tokens: int) -> int:
        usage = Usage(input_tokens=tokens)
        return priced(prices, provider="p", model="m", credential="", tier="", usage=usage).amount

    assert (amount(10), amount(11)) == (10, 33)


@pytest.mark.parametrize(
    ("tier", "expected"), [("", "17.5"), ("standard", "17.5"), ("batch", "8.75"), ("priority", "35"), ("odd", "17.5")]
)
def test_c19_a_tier_has_its_rates_and_an_unknown_one_the_flat_ones(tier: str, expected: str) -> None:
    cost = pay(CHAT, MILLION, tier=tier)
    assert usd(cost) == Decimal(expected)
    assert cost.tier == tier, "the entry keeps what was billed"


@pytest.mark.parametrize(
    ("reported", "tier"), [(None, ""), ("", ""), ("default", "standard"), ("PRIORITY", "priority"), ("flex", "flex")]
)
def test_c19_the_billed_tier_is_the_providers_word_in_lower_case(reported: str | None, tier: str) -> None:
    assert billed_tier(reported, batch=False) == tier
    assert billed_tier(reported, batch=True) == "batch", "W-73: a batch forces its tier"


def test_c22_embeddings_are_priced_by_their_input() -> None:
    assert usd(pay(Rates(input_per_m_tok=0.02), Usage(input_tokens=50_000))) == Decimal("0.001")


# ---------------------------------------------------------------- what the provider says, and what nobody knows


def test_c4_the_providers_own_price_wins() -> None:
    """C-4: also for media, and against a rate that says otherwise."""
    usage = Usage(input_tokens=1_000_000, cost_ticks=1_234)
    for rates in (None, CHAT, VIDEO):
        cost = pay(rates, usage, Units(kind="video", count=1, seconds=8.0))
        assert (cost.amount, cost.source, cost.price_version, cost.rates) == (1_234, "provider", "", None)


def test_c14_an_unknown_model_costs_nothing_that_is_known() -> None:
    for units in (None, Units(kind="image", count=1)):
        cost = pay(None, MILLION, units)
        assert (cost.amount, cost.source, cost.rates) == (0, "unknown", None)
        assert cost.note


def test_c15_w75_zero_tokens_cost_nothing_and_are_not_replaced() -> None:
    zero = Usage(input_tokens=0, output_tokens=0)
    cost = pay(CHAT, zero)
    assert (cost.amount, cost.source, cost.usage) == (0, "table", zero)
    assert pay(CHAT, Usage()).source == "unknown", "not reported is not zero"
    assert pay(CHAT, None).source == "unknown"


def test_c21_what_is_free_is_an_explicit_zero() -> None:
    free = PriceList(source="prices", version="1", base=Tariff(), free=True)
    cost = priced(free, provider="p", model="m", credential="", tier="", usage=MILLION)
    assert (cost.amount, cost.source, cost.note) == (0, "prices", "free of charge")


# ---------------------------------------------------------------- pieces, seconds, characters


@pytest.mark.parametrize(("resolution", "expected"), [("720p", "0.96"), ("4k", "3.2"), ("", "3.2")])
def test_c7_video_costs_its_seconds_by_resolution(resolution: str, expected: str) -> None:
    cost = pay(VIDEO, None, Units(kind="video", count=1, seconds=8.0, resolution=resolution))
    assert usd(cost) == Decimal(expected)


def test_w39_a_video_of_unknown_length_is_not_priced_as_a_second() -> None:
    """The request's own length may stand in, and is then told as an estimate."""
    assert pay(VIDEO, None, Units(kind="video", count=1)).source == "unknown"
    cost = pay(VIDEO, None, Units(kind="video", count=1, seconds=4.0), estimated=True)
    assert (usd(cost), cost.estimated) == (Decimal("1.6"), True)
    assert cost.note == "the quantity is what was asked for"


def test_c8_images_with_reported_tokens_are_priced_by_them() -> None:
    usage = Usage(input_tokens=1_600, output_tokens=400)
    cost = pay(Rates(input_per_m_tok=5.0, output_per_m_tok=40.0, per_image=9.0), usage, Units(kind="image", count=1))
    assert usd(cost) == Decimal("0.008") + Decimal("0.016")
    assert cost.usage == usage, "the tokens stay visible"


def test_c9_w74_without_usage_images_are_priced_by_the_piece() -> None:
    rates = Rates(input_per_m_tok=5.0, per_image=0.04)
    assert usd(pay(rates, None, Units(kind="image", count=3))) == Decimal("0.12")
    assert usd(pay(rates, None, Units(kind="image", count=2))) == Decimal("0.08")


def test_c10_a_rate_for_the_resolution_wins() -> None:
    rates = Rates(per_image=0.04, per_unit={"2048x2048": 0.1})
    assert usd(pay(rates, None, Units(kind="image", count=2, resolution="2048x2048"))) == Decimal("0.2")


@pytest.mark.parametrize("usage", [Usage(input_tokens=12, output_tokens=5), Usage(input_tokens=0, output_tokens=0)])
def test_c11_w74_what_is_sold_by_the_piece_is_priced_by_it_whatever_was_counted(usage: Usage) -> None:
    assert usd(pay(Rates(per_image=0.04), usage, Units(kind="image", count=1))) == Decimal("0.04")


def test_w74_zero_filled_usage_does_not_hide_the_pieces() -> None:
    rates = Rates(input_per_m_tok=5.0, per_image=0.04)
    zero = Usage(input_tokens=0, output_tokens=0)
    assert usd(pay(rates, zero, Units(kind="image", count=1))) == Decimal("0.04")


@pytest.mark.parametrize("kind", ["image", "video"])
def test_c12_nothing_made_costs_nothing(kind: str) -> None:
    cost = pay(Rates(per_image=0.04, per_second=0.4), None, Units(kind=kind, count=0, seconds=8.0))
    assert (cost.amount, cost.source) == (0, "table")


def test_c13_speech_costs_its_characters() -> None:
    assert usd(pay(Rates(per_m_chars=15.0), None, Units(kind="speech", count=1, characters=500_000))) == Decimal("7.5")


def test_c17_a_medium_without_a_rate_is_unknown() -> None:
    cost = pay(Rates(per_image=0.04), None, Units(kind="speech", count=1, characters=10))
    assert (cost.amount, cost.source) == (0, "unknown")
    assert "speech" in cost.note


def test_c20_transcription_costs_its_minutes() -> None:
    minutes = Units(kind="transcription", seconds=90.0)
    assert usd(pay(Rates(per_minute=0.006), None, minutes)) == Decimal("0.009")
    notes = [
        pay(None, None, minutes).note,
        pay(CHAT, None, minutes).note,
        pay(Rates(per_minute=0.006), None, Units(kind="transcription")).note,
    ]
    assert all(notes)
    assert len(set(notes)) == 3, "no entry, no rate and no length are told apart"


# ---------------------------------------------------------------- before it is bought


def test_c23_an_estimate_adds_up_pictures_and_says_what_it_assumes() -> None:
    prices = price_list(Rates(per_image=0.04), "", source="table")
    cost = estimated_cost(prices, provider="p", model="m", images=3)
    assert (usd(cost), cost.estimated) == (Decimal("0.12"), True)
    assert cost.note == "assumes 3 pictures at 0.04 USD each"
    assert cost.units == Units(kind="image", count=3)


def test_c23_an_estimate_without_a_rate_is_an_honest_zero() -> None:
    cost = estimated_cost(price_list(CHAT, "", source="table"), provider="p", model="m", images=1)
    assert (cost.amount, cost.source) == (0, "unknown")
    assert cost.note


def test_c23_audio_is_noted_and_changes_no_number_and_no_pictures_is_no_field() -> None:
    prices = price_list(Rates(per_image=0.04), "", source="table")
    with_audio = estimated_cost(prices, provider="p", model="m", images=1, audio_parts=2)
    assert with_audio.amount == estimated_cost(prices, provider="p", model="m", images=1).amount
    assert "audio" in with_audio.note
    assert estimated_cost(prices, provider="p", model="m", audio_parts=1).units is None


# ---------------------------------------------------------------- sums


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["", "batch"])), max_size=30))
def test_gathered_costs_add_up_exactly(counted: list[tuple[int, int, str]]) -> None:
    lists = {tier: price_list(CHAT, tier, source="table") for tier in ("", "batch")}
    costs = [
        priced(
            lists[tier],
            provider="p",
            model="m",
            credential="",
            tier=tier,
            usage=Usage(input_tokens=read, output_tokens=said),
        )
        for read, said, tier in counted
    ]
    events = gathered(costs, range(len(costs)))
    assert len(events) == len({tier for _, _, tier in counted}), "one event for all that were priced alike"
    assert sum(event.amount for event in events) == sum(cost.amount for cost in costs)
    assert sum(event.requests for event in events) == len(costs)
    assert sum(event.usage.input_tokens or 0 for event in events if event.usage) == sum(read for read, _, _ in counted)
    each = {number: amount for event in events for number, amount in zip(event.numbers, event.amounts, strict=True)}
    assert each == {number: cost.amount for number, cost in enumerate(costs)}
