"""Budgets: totals that run along, marks that are told once, and new work that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock as Clock

import perdure
from perdure.actors.budget.effects import Budgets
from perdure.actors.budget.state import budget_id, decide, evolve, initial
from perdure.actors.budget.watch import BudgetWatch, Spending
from perdure.events.budget import Mark, NoteSpent
from perdure.events.cost import dollars
from perdure.store.sqlite import costs as cost_queries
from perdure.testing import simulation
from tests.actors.costs.rig import MODEL, ask, recorded, serving

POLLING = perdure.Polling(first_s=1.0, every_s=1.0)


async def marks(service: perdure.Service) -> Sequence[tuple[str, str, float]]:
    """Every mark on record: the budget, the type, the share of the limit."""
    return [
        (payload["budget"], record.type, payload.get("share", 0.0))
        async for record in service.log.read()
        if record.kind == "budget"
        for payload in [msgspec.json.decode(record.payload)]
    ]


async def price_of_one() -> float:
    """What one question costs here, in US dollars."""
    async with serving() as service:
        await (await service.submit(ask(), provider="openai")).result()
        (cost,) = await recorded(service)
        return float(dollars(cost.amount))


@pytest.mark.trio
async def test_c5_each_threshold_is_told_once_as_spending_passes_it(autojump_clock: Clock) -> None:
    budget = perdure.Budget(name="all", limit_usd=4 * await price_of_one())
    async with serving(budget) as service:
        seen: list[int] = []
        for _ in range(6):
            await (await service.submit(ask(), provider="openai")).result()
            await service.audit.costs()
            seen.append(len(await settled(service)))
        assert await settled(service) == [
            ("all", "BudgetThresholdPassed", 0.5),
            ("all", "BudgetThresholdPassed", 0.8),
            ("all", "BudgetThresholdPassed", 1.0),
            ("all", "BudgetUsedUp", 0.0),
        ]
        assert seen == [0, 1, 1, 4, 4, 4], "warn only tells"


async def settled(service: perdure.Service) -> Sequence[tuple[str, str, float]]:
    """The marks, once all that was spent so far is taken in."""
    watch = service._common.budgets  # pyright: ignore[reportPrivateUsage] - what composition wired
    assert watch is not None
    await watch.refusal(spending())
    return await marks(service)


def spending() -> Spending:
    """What somebody is about to spend on."""
    return Spending(provider="openai", model=MODEL, credential="default", tenant="", tags={})


@pytest.mark.trio
async def test_w72_a_restart_tells_no_mark_again_and_a_raised_limit_has_marks_of_its_own(autojump_clock: Clock) -> None:
    one = await price_of_one()
    async with simulation() as simulated:
        budget = perdure.Budget(name="all", limit_usd=2 * one, thresholds=(0.5,))
        async with serving(budget, simulated=simulated) as service:
            await (await service.submit(ask(), provider="openai")).result()
            assert await settled(service) == [("all", "BudgetThresholdPassed", 0.5)]
        async with serving(budget, simulated=simulated) as service:
            assert await settled(service) == [("all", "BudgetThresholdPassed", 0.5)]
            await (await service.submit(ask(), provider="openai")).result()
            assert (await settled(service))[1:] == [("all", "BudgetUsedUp", 0.0)]
        async with serving(
            perdure.Budget(name="all", limit_usd=4 * one, thresholds=(0.5,)), simulated=simulated
        ) as service:
            assert await settled(service) == [
                ("all", "BudgetThresholdPassed", 0.5),
                ("all", "BudgetUsedUp", 0.0),
                ("all", "BudgetThresholdPassed", 0.5),
            ], "half of the new limit"


@pytest.mark.trio
async def test_w72_a_mark_that_was_not_recorded_before_the_end_is_recorded_by_the_next_start(
    autojump_clock: Clock,
) -> None:
    """A crash between a cost and its mark, here: the budget was not even configured yet."""
    one = await price_of_one()
    async with simulation() as simulated:
        async with serving(simulated=simulated) as service:
            await (await service.submit(ask(), provider="openai")).result()
        async with serving(perdure.Budget(name="late", limit_usd=one), simulated=simulated) as service:
            assert len(await marks(service)) == 4, "before anybody could submit"


@pytest.mark.trio
async def test_w72_only_new_costs_are_read(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is not scanned again for every entry: each reading begins behind the last one."""
    read: list[int] = []
    whole = cost_queries.spent_in

    def spied(connection: Any, scope: Any, *, after: int = 0) -> tuple[int, int]:
        read.append(after)
        return whole(connection, scope, after=after)

    monkeypatch.setattr("perdure.actors.budget.watch.spent_in", spied)
    async with serving(perdure.Budget(name="all", limit_usd=1_000.0)) as service:
        for _ in range(3):
            await (await service.submit(ask(), provider="openai")).result()
            await settled(service)
        assert len(read) == 4
        assert 0 in read
        assert read[1:] == sorted(set(read[1:])), "each behind the one before"


@pytest.mark.trio
async def test_stop_refuses_new_work_and_what_is_known_stays_known(autojump_clock: Clock) -> None:
    budget = perdure.Budget(name="small", limit_usd=await price_of_one(), action="stop")
    async with serving(budget) as service:
        handle = await service.submit(ask(), provider="openai", key="k")
        answer = await handle.result()
        for via in ("live", "batch", "auto"):
            with pytest.raises(perdure.BudgetExceeded, match="'small' is used up") as refused:
                await service.submit(ask("another"), provider="openai", via=via)
            assert refused.value.budget == "small"
            assert refused.value.spent_usd >= refused.value.limit_usd > Decimal(0)
        with pytest.raises(perdure.BudgetExceeded):
            await service.batches.submit([ask()], provider="openai", polling=POLLING)
        again = await service.submit(ask(), provider="openai", key="k")
        assert (again.id, await again.result()) == (handle.id, answer)
        assert len(await recorded(service)) == 1


@pytest.mark.trio
@pytest.mark.parametrize(
    ("scope", "other"),
    [
        ({"provider": "openai"}, {"provider": "anthropic"}),
        ({"model": MODEL}, {"model": "another"}),
        ({"tenant": ""}, {"tenant": "acme"}),
        ({"tag": "team=north"}, {"tags": {"team": "south"}}),
    ],
    ids=["provider", "model", "tenant", "tag"],
)
async def test_a_budget_counts_and_stops_only_what_is_in_its_scope(
    autojump_clock: Clock, scope: dict[str, str], other: dict[str, Any]
) -> None:
    one = await price_of_one()
    budget = perdure.Budget(name="part", limit_usd=one, action="stop", **scope)  # type: ignore[arg-type]

    async def submit(service: perdure.Service, how: dict[str, Any], via: Any = "live") -> None:
        acting = service.acting_as(tenant=how.get("tenant", ""))
        tags = how.get("tags", {"team": "north"})
        prompt = ask(model=how.get("model", MODEL))
        await (await acting.submit(prompt, provider=how.get("provider", "openai"), via=via, tags=tags)).result()

    async with serving(budget) as service:
        await submit(service, other)
        await submit(service, other)
        assert list(await settled(service)) == []
        await submit(service, {}, "batch")
        await submit(service, {}, "batch")
        with pytest.raises(perdure.BudgetExceeded):
            await submit(service, {})
        await submit(service, other)


@pytest.mark.parametrize(
    ("budgets", "word"),
    [
        ([perdure.Budget(name="", limit_usd=1.0)], "name"),
        ([perdure.Budget(name="a", limit_usd=1.0), perdure.Budget(name="a", limit_usd=2.0)], "name"),
        ([perdure.Budget(name="a", limit_usd=0.0)], "limit"),
        ([perdure.Budget(name="a", limit_usd=1.0, thresholds=(0.0,))], "thresholds"),
        ([perdure.Budget(name="a", limit_usd=1.0, tag="team")], "NAME=VALUE"),
    ],
    ids=["no name", "same name", "no limit", "threshold", "tag"],
)
def test_a_budget_that_cannot_be_kept_is_refused(budgets: list[perdure.Budget], word: str) -> None:
    with pytest.raises(perdure.InvalidRequest, match=word):
        BudgetWatch(budgets, log=None, runtime=None)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from([40, 80])), max_size=12))
def test_a_mark_is_passed_once_whatever_is_said_how_often(said: list[tuple[int, int]]) -> None:
    """Totals may come in any order and any limit: no mark twice, and none before its amount was reached."""
    kind = Budgets()
    state = initial("budget", "")
    events: list[Any] = []
    for spent, limit in said:
        note = NoteSpent("b", limit, spent, [Mark(0.5, limit // 2), Mark(1.0, limit)], "stop")
        for event in decide(state, note, 0):
            assert event.spent == spent >= getattr(event, "amount", limit)  # type: ignore[attr-defined]
            state = evolve(state, kind.codec.decode(kind.codec.encode(event, 0).payload))
            events.append(event)
    keys = [(type(event).__name__, getattr(event, "amount", event.limit)) for event in events]
    assert len(keys) == len(set(keys))
    highest = max((spent for spent, _ in said), default=0)
    reached = {limit // 2 for spent, limit in said if spent >= limit // 2} | {
        limit for spent, limit in said if spent >= limit
    }
    assert {amount for name, amount in keys if name == "BudgetThresholdPassed"} == reached
    assert all(amount <= highest for _, amount in keys)
    assert kind.row(state).terminal
    assert state.anomalies == 0
    assert budget_id("log_" + "0" * 32, "a") != budget_id("log_" + "0" * 32, "b")
