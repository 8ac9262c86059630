"""Where prices come from: the library as it is installed, our own table, and what a configuration says."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from perdure.adapters.composition import pricing_of
from perdure.adapters.config import Config
from perdure.adapters.prices import Books, ConfiguredPrices, LibraryPrices, TablePrices
from perdure.adapters.prices.table import TABLE
from perdure.events.cost import Cost, Units, ticks_of
from perdure.events.pricing import PriceList, Rates
from perdure.events.requests import Usage
from perdure.store.disk import InlineDisk

pytestmark = pytest.mark.trio

AT = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 1_000_000
MILLION = 1_000_000


async def listed(provider: str, model: str, tier: str = "") -> PriceList | None:
    """What the library says."""
    return await LibraryPrices(InlineDisk()).find(provider, model, tier, AT)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-6-astra"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"), ("xai", "grok-4")],
)
async def test_the_library_knows_the_models_of_all_four(provider: str, model: str) -> None:
    prices = await listed(provider, model)
    assert prices is not None
    assert prices.source == "prices"
    assert prices.version.startswith("genai-prices ")
    assert prices.base.input is not None
    assert prices.base.output is not None
    assert prices.base.output > prices.base.input > 0


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-6-astra"), ("anthropic", "claude-sonnet-4-5")])
async def test_c19_the_library_has_batch_rates_of_half(provider: str, model: str) -> None:
    flat, half = await listed(provider, model), await listed(provider, model, "batch")
    assert flat is not None
    assert half is not None
    assert flat.base.input is not None
    assert half.base.input == flat.base.input // 2
    assert half.note == "", "they are listed"


async def test_w73_a_model_without_listed_batch_rates_costs_half_where_its_provider_says_so() -> None:
    flat, half = await listed("openai", "gpt-audio"), await listed("openai", "gpt-audio", "batch")
    assert flat is not None
    assert half is not None
    assert flat.base.input is not None
    assert half.base.input == flat.base.input // 2
    assert "half" in half.note
    xai = [await listed("xai", "grok-4", tier) for tier in ("", "batch")]
    assert xai[0] == xai[1], "xAI gives no such discount on all models"


async def test_rates_above_a_number_of_tokens_come_with_it() -> None:
    prices = await listed("anthropic", "claude-sonnet-4-5")
    assert prices is not None
    short, long = prices.tariff(Usage(input_tokens=200_000)), prices.tariff(Usage(input_tokens=200_001))
    assert short.input is not None
    assert long.input == 2 * short.input


async def test_c21_moderation_is_free() -> None:
    cost = await pricing_of(Config(), InlineDisk()).of_usage(
        None, provider="openai", model="omni-moderation-latest", credential="default", batch=False, at=AT
    )
    assert (cost.amount, cost.source, cost.note) == (0, "prices", "free of charge")


@pytest.mark.parametrize("name", list(TABLE))
async def test_our_table_prices_each_of_its_models_and_the_library_does_not(name: str) -> None:
    provider, _, model = name.partition("/")
    assert await listed(provider, model) is None, "the library knows it by now: take it out of the table"
    kind = "image" if TABLE[name].per_image else "video"
    cost = await pricing_of(Config(), InlineDisk()).of_usage(
        None,
        provider=provider,
        model=model,
        credential="default",
        batch=False,
        at=AT,
        units=Units(kind=kind, count=1, seconds=8.0, resolution="720p"),
    )
    assert cost.source == "table"
    assert cost.amount > 0
    assert cost.price_version.startswith("perdure ")


async def test_speech_and_transcription_are_known_by_the_piece() -> None:
    pricing = pricing_of(Config(), InlineDisk())

    async def pay(model: str, units: Units) -> Cost:
        return await pricing.of_usage(
            None, provider="openai", model=model, credential="", batch=False, at=AT, units=units
        )

    speech = await pay("tts-1", Units(kind="speech", count=1, characters=MILLION))
    heard = await pay("whisper-1", Units(kind="transcription", seconds=60.0))
    assert (speech.amount, heard.amount) == (ticks_of(15.0), ticks_of(0.006))


async def test_c24_the_configuration_comes_first_then_the_library_then_the_table() -> None:
    own = ConfiguredPrices({"gpt-6-astra": Rates(input_per_m_tok=1.0), "openai/sora-2": Rates(per_second=1.0)})
    books = Books([own, LibraryPrices(InlineDisk()), TablePrices()])
    for provider, model, source in (
        ("openai", "gpt-6-astra", "config"),
        ("openai", "sora-2", "config"),
        ("anthropic", "claude-sonnet-4-5", "prices"),
        ("openai", "sora-2-pro", "table"),
    ):
        found = await books.find(provider, model, "", AT)
        assert found is not None
        assert found.source == source
    assert await ConfiguredPrices({}).find("openai", "gpt-6-astra", "", AT) is None, "it starts empty"
    assert await books.find("openai", "nobody-knows", "", AT) is None


async def test_a_model_is_looked_up_once_a_day() -> None:
    asked: list[int] = []

    class Book:
        async def find(self, provider: str, model: str, tier: str, at: int) -> PriceList | None:
            asked.append(at)
            return None

    from perdure.actors.costs.pricing import Pricing

    pricing = Pricing(Book())
    for at in (AT, AT + 1, AT + 86_400 * MILLION):
        await pricing.of_usage(Usage(), provider="p", model="m", credential="", batch=False, at=at)
    assert asked == [AT, AT + 86_400 * MILLION]


async def test_media_of_an_unknown_model_may_have_a_price_by_their_kind() -> None:
    pricing = pricing_of(Config(prices={"openai/image": Rates(per_image=0.5)}), InlineDisk())
    cost = await pricing.of_usage(
        None,
        provider="openai",
        model="nobody-knows",
        credential="",
        batch=False,
        at=AT,
        units=Units(kind="image", count=2),
    )
    assert cost.amount == ticks_of(1.0)


async def test_without_the_library_tokens_are_not_priced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    library = LibraryPrices(InlineDisk())
    with caplog.at_level(logging.INFO, logger="perdure"):
        assert await library.find("openai", "gpt-6-astra", "", AT) is None
        assert await library.find("openai", "gpt-6-astra", "", AT) is None
    assert [record.getMessage() for record in caplog.records] == [
        "token prices are not known without the price library: install perdure[prices]"
    ]


async def test_the_library_is_not_loaded_before_something_is_priced() -> None:
    script = (
        "import sys, perdure\nfrom perdure.adapters import composition, config\n"
        "composition.pricing_of(config.Config())\n"
        "print(*(name for name in ('genai_prices', 'pydantic', 'httpx2') if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)  # noqa: ASYNC221
    assert (ended.returncode, ended.stdout.split()) == (0, []), ended.stderr
