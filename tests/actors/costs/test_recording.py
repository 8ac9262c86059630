"""What answers cost is recorded with them: live, batched and line by line, once each."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock as Clock

import perdure
from perdure.adapters.composition import folds
from perdure.events.cost import dollars
from perdure.store.sqlite.verify import Verified, verify_steps
from perdure.testing import faults, simulation
from tests.actors.costs.rig import MODEL, RATES, ask, expected, recorded, serving

pytestmark = pytest.mark.trio

POLLING = perdure.Polling(first_s=1.0, every_s=1.0)


async def test_c1_c3_a_live_answer_has_one_cost_in_the_commit_that_keeps_it(autojump_clock: Clock) -> None:
    async with serving() as service:
        handle = await service.submit(ask(), provider="openai")
        usage = (await handle.result()).usage
        (cost,) = await recorded(service)
        assert (cost.provider, cost.model, cost.credential, cost.currency) == ("openai", MODEL, "default", "USD")
        assert (cost.amount, cost.requests, cost.usage) == (expected(usage), 1, usage)
        assert (cost.source, cost.price_version) == ("config", "configuration")
        types = [record.type async for record in handle.events()]
        assert types[-2:] == ["CostRecorded", "RequestAnswered"], "beside the answer, in one append"
        assert await handle.result()
        assert len(await recorded(service)) == 1, "looking at it again costs nothing"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
async def test_w73_a_batch_is_priced_at_its_tier_whatever_the_answers_say(autojump_clock: Clock, provider: str) -> None:
    async with serving() as service:
        handle = await service.batches.submit(
            [ask(f"q{number}", custom_id=f"r-{number}") for number in range(3)], provider=provider, polling=POLLING
        )
        await handle.result()
        async with handle.results() as lines:
            usages = [line.answer.usage async for line in lines if line.answer]
        (cost,) = await recorded(service)
        assert (cost.tier, cost.requests) == ("batch", 3)
        assert cost.amount == sum(expected(usage, 2) for usage in usages)
        assert [*cost.numbers, *cost.amounts] == [], "nobody asked for a line by itself"


async def test_c4_what_xai_says_that_it_cost_is_what_it_cost(autojump_clock: Clock) -> None:
    async with serving(prices={}) as service:
        answer = await (await service.submit(ask(), provider="xai")).result()
        assert answer.usage is not None
        assert answer.usage.cost_ticks
        (cost,) = await recorded(service)
        assert (cost.source, cost.amount, cost.rates) == ("provider", answer.usage.cost_ticks, None)


async def test_w73_lines_that_go_live_are_priced_as_live_requests_are(autojump_clock: Clock) -> None:
    async with serving() as service:
        handles = [await service.submit(ask(f"q{n}"), provider="openai", via="auto", key=f"k{n}") for n in range(2)]
        usages = [(await handle.result()).usage for handle in handles]
        costs = await recorded(service)
        assert [cost.tier for cost in costs] == ["", ""]
        assert sorted(cost.amount for cost in costs) == sorted(expected(usage) for usage in usages)
        assert sorted(number for cost in costs for number in cost.numbers) == [0, 1]


async def test_a_late_answer_to_a_cancelled_request_is_paid_for(autojump_clock: Clock) -> None:
    async with simulation() as simulated, serving(simulated=simulated) as service:
        simulated.faults.arm(faults.Hold(route="POST /openai/v1/responses"))
        handle = await service.submit(ask(), provider="openai")
        await simulated.holds.wait_held()
        assert await handle.cancel() == "cancelled"
        simulated.holds.release()
        async for record in service.log.tail():
            if record.type == "RequestAnswered":
                break
        assert len(await recorded(service)) == 1
        assert (await service.audit.costs()).requests == 1


async def test_c21_nothing_is_recorded_when_the_provider_refused(autojump_clock: Clock) -> None:
    async with simulation() as simulated, serving(simulated=simulated) as service:
        simulated.faults.arm(faults.AnswerStatus(route="POST /openai/v1/responses", status=400))
        handle = await service.submit(ask(), provider="openai")
        with pytest.raises(perdure.OperationFailed):
            await handle.result()
        assert list(await recorded(service)) == []


async def test_c18_an_unpriced_model_is_told_once_and_counted(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as service:
        with caplog.at_level(logging.WARNING, logger="perdure"):
            for model in ("nobody-knows", "nobody-knows", MODEL):
                await (await service.submit(ask(model=model), provider="openai")).result()
        told = [record.getMessage() for record in caplog.records if "cannot be priced" in record.getMessage()]
        assert len(told) == 1
        assert "nobody-knows" in told[0]
        spent = await service.audit.costs("model")
        assert (spent.requests, spent.unpriced, spent.unpriced_models) == (3, 2, ["openai/nobody-knows"])
        assert {one.group: one.unpriced for one in spent.groups} == {"nobody-knows": 2, MODEL: 0}


async def test_c6_a_service_that_was_left_records_nothing_and_the_next_one_goes_on(autojump_clock: Clock) -> None:
    async with simulation() as simulated:
        async with serving(simulated=simulated) as service:
            handle = await service.batches.submit([ask()], provider="openai", key="k", polling=POLLING)
        async with serving(simulated=simulated) as service:
            assert list(await recorded(service)) == []
            found = await service.find("k")
            assert found is not None
            assert found.id == handle.id
            await found.result()
            (cost,) = await recorded(service)
            assert cost.tier == "batch"


async def test_totals_by_key_and_tag_go_by_the_lines_of_a_shared_window(autojump_clock: Clock) -> None:
    async with serving() as service:
        handles = {
            (key, team): await service.submit(
                ask(f"{key} {'word ' * length}"), provider="openai", via="batch", key=key, tags={"team": team}
            )
            for length, (key, team) in enumerate([("a", "north"), ("b", "south"), ("c", "north")])
        }
        amounts = {place: expected((await handle.result()).usage, 2) for place, handle in handles.items()}
        await (await service.submit(ask(), provider="openai", key="alone", tags={"team": "south"})).result()
        live = next(cost.amount for cost in await recorded(service) if cost.tier == "")
        assert len(await recorded(service)) == 2, "the window's run is one cost"
        by_key = {one.group: one.amount_usd for one in (await service.audit.costs("key")).groups}
        assert by_key == {
            **{key: dollars(amount) for (key, _), amount in amounts.items()},
            "alone": dollars(live),
        }
        by_team = {one.group: one.amount_usd for one in (await service.audit.costs("tag:team")).groups}
        assert by_team == {
            "north": dollars(amounts["a", "north"] + amounts["c", "north"]),
            "south": dollars(amounts["b", "south"] + live),
        }
        everything = [
            await service.audit.costs(by) for by in ("key", "tag:team", "tag:none", "provider", "model", "day")
        ]
        assert len({spent.amount_usd for spent in everything}) == 1, "however it is grouped, it adds up to the same"
        assert {spent.requests for spent in everything} == {4}


async def test_totals_by_provider_model_tenant_and_time(autojump_clock: Clock) -> None:
    async with serving() as service:
        await (await service.submit(ask(), provider="openai")).result()
        await trio.sleep(3_600)
        other = service.acting_as(tenant="acme")
        await (await other.submit(ask(), provider="anthropic")).result()
        first, second = await recorded(service)
        by_tenant = {one.group: one.amount_usd for one in (await service.audit.costs("tenant")).groups}
        assert by_tenant == {"": dollars(first.amount), "acme": dollars(second.amount)}
        by_provider = {one.group: one.requests for one in (await service.audit.costs()).groups}
        assert by_provider == {"openai": 1, "anthropic": 1}


async def test_costs_of_a_span_of_time(autojump_clock: Clock) -> None:
    async with serving() as service:
        handles: list[perdure.Handle[perdure.Answer]] = []
        for _ in range(2):
            handles.append(await service.submit(ask(), provider="openai"))
            await handles[-1].result()
            await trio.sleep(3_600)
        middle = handles[1].created_at
        early, late = await service.audit.costs(until=middle), await service.audit.costs(since=middle)
        assert (early.requests, late.requests) == (1, 1)
        assert early.amount_usd + late.amount_usd == (await service.audit.costs()).amount_usd > Decimal(0)


@pytest.mark.parametrize("word", ["", "colour", "tag:", "amount"])
async def test_costs_are_not_grouped_by_other_words(autojump_clock: Clock, word: str) -> None:
    async with serving() as service:
        with pytest.raises(perdure.InvalidRequest, match="group"):
            await service.audit.costs(word)


async def test_c24_the_configuration_is_the_catalog(autojump_clock: Clock) -> None:
    """C-24: it starts empty; a model is found by its name, with its provider or without, and by its aliases."""
    own = perdure.Rates(input_per_m_tok=1.0, output_per_m_tok=1.0, aliases=("other-name",))
    async with serving(prices={MODEL: RATES, f"openai/{MODEL}": own}) as service:
        amounts: dict[tuple[str, str], int] = {}
        for provider, model in (("openai", MODEL), ("anthropic", MODEL), ("openai", "other-name")):
            usage = (await (await service.submit(ask(model=model), provider=provider)).result()).usage
            assert usage is not None
            amounts[provider, model] = (await recorded(service))[-1].amount
            if provider == "openai":
                tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
                assert amounts[provider, model] == tokens * 10_000
            else:
                assert amounts[provider, model] == expected(usage)


def verified(connection: sqlite3.Connection) -> Verified:
    """What verification finds, without a thread that the jumping clock would not wait for."""
    steps = verify_steps(connection, folds())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Verified = end.value
            return found


async def test_a_file_of_format_3_learns_the_tags_of_its_lines(autojump_clock: Clock, tmp_path: Path) -> None:
    """What a window's lines were tagged with stands in their events: the migration takes it from there."""
    async with simulation(directory=tmp_path) as simulated:
        async with serving(simulated=simulated) as service:
            for team in ("north", "south"):
                await service.submit(ask(team), provider="openai", via="batch", tags={"team": team, "ä": '"'})
        path = simulated.path
        with closing(sqlite3.connect(path)) as connection, connection:
            for table in ("costs", "line_costs"):
                connection.execute(f"DROP TABLE {table}")
            connection.execute("ALTER TABLE items DROP COLUMN tags")
            connection.execute("PRAGMA user_version = 3")
        with closing(sqlite3.connect(path)) as connection:
            assert verified(connection).ok, "it is read as it is"
        async with serving(simulated=simulated) as service:
            (await service.log.verify()).raise_if_bad()
            async for record in service.log.tail():
                if record.type == "BatchFinished":
                    break
            by_team = {one.group: one.requests for one in (await service.audit.costs("tag:team")).groups}
            assert by_team == {"north": 1, "south": 1}
