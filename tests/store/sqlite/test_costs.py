"""Rows of costs: what is added up is what was appended, a changed row is found, and older files get the tables."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.store.records import CostRow, ItemRow
from perdure.store.sqlite import open_log
from perdure.store.sqlite.costs import Scope, spent_by, spent_in
from tests.store.sqlite.toys import AT, CODEC, TOY, Added, Hand, Opened, tamper

TEAMS = ("north", "south")


def cost(
    amount: int = 5, *, provider: str = "p", source: str = "table", lines: tuple[tuple[int, int], ...] = ()
) -> CostRow:
    """A cost."""
    amount = sum(each for _, each in lines) if lines else amount
    return CostRow(
        provider=provider,
        model="m",
        credential="default",
        tier="batch",
        source=source,
        amount=amount,
        requests=len(lines) or 1,
        input_tokens=3,
        lines=list(lines),
    )


COSTS = st.builds(
    cost,
    st.integers(0, 10**12),
    provider=st.sampled_from(["p", "q"]),
    source=st.sampled_from(["table", "unknown"]),
    lines=st.sampled_from([(), ((0, 4),), ((0, 7), (1, 9))]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["toy_1", "toy_2"]), COSTS), max_size=12))
def test_sums_are_those_of_the_events_however_they_are_grouped(
    tmp_path_factory: pytest.TempPathFactory, spent: list[tuple[str, CostRow]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "p.db"

    async def main() -> None:
        async with open_log(path, codecs=[CODEC]) as log:
            hands = {
                "toy_1": Hand("toy_1", tenant="a"),
                "toy_2": Hand("toy_2", tenant="b"),
            }
            for hand in hands.values():
                items = [ItemRow(number, "", "waiting", "", 0, 0, f'{{"team":"{TEAMS[number]}"}}') for number in (0, 1)]
                await log.append(hand.events(Opened(), Added(items=items)))
            for place, (actor, row) in enumerate(spent):
                await log.append(hands[actor].events(*[Added(cost=row)] * (1 + place % 2)))
            repeated = [(actor, row) for place, (actor, row) in enumerate(spent) for _ in range(1 + place % 2)]
            for by in ("provider", "operation"):
                expected: Counter[str] = Counter()
                for actor, row in repeated:
                    expected[row.provider if by == "provider" else actor] += row.amount
                rows = await log.read(partial(spent_by, group_by=by))
                assert {row.group: row.amount for row in rows} == dict(expected)
                assert sum(row.requests for row in rows) == sum(row.requests for _, row in repeated)
                unpriced = sum(row.requests for _, row in repeated if row.source == "unknown")
                assert sum(row.unpriced for row in rows) == unpriced
            teams: Counter[str] = Counter()
            for _, row in repeated:
                if row.lines:
                    teams.update({TEAMS[number]: amount for number, amount in row.lines})
                else:
                    teams[""] += row.amount
            rows = await log.read(partial(spent_by, group_by="tag:team"))
            assert {row.group: row.amount for row in rows if row.amount} == {k: v for k, v in teams.items() if v}
            total, last = await log.read(partial(spent_in, scope=Scope()))
            assert total == sum(row.amount for _, row in repeated)
            assert await log.read(partial(spent_in, scope=Scope(), after=last)) == (0, last)
            north, _ = await log.read(partial(spent_in, scope=Scope(tag=("team", "north"))))
            assert north == teams["north"]
            halves = [
                await log.read(partial(spent_by, group_by="provider", since=since, until=until))
                for since, until in ((None, AT), (AT, None))
            ]
            assert halves[0] == []
            assert sum(row.amount for row in halves[1]) == total
            (await log.verify([TOY])).raise_if_bad()

    trio.run(main)


@pytest.mark.trio
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE costs SET amount = amount + 1",
        "UPDATE costs SET model = 'other'",
        "DELETE FROM costs",
        "UPDATE line_costs SET amount = amount + 1 WHERE number = 1",
        "DELETE FROM line_costs WHERE number = 0",
        "UPDATE items SET tags = '{}'",
    ],
)
async def test_a_cost_that_says_otherwise_than_its_event_is_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "p.db"
    hand = Hand("toy_1")
    async with open_log(path, codecs=[CODEC]) as log:
        tagged = ItemRow(0, "", "waiting", "", 0, 0, '{"team":"north"}')
        await log.append(hand.events(Opened(), Added(items=[tagged]), Added(cost=cost(lines=((0, 7), (1, 9))))))
        assert (await log.verify([TOY])).ok
    tamper(path, change)
    async with open_log(path, codecs=[CODEC]) as log:
        found = await log.verify([TOY])
        assert not found.ok
        assert found.faults[0].actor == "toy_1"


@pytest.mark.trio
async def test_tags_stay_when_an_item_gets_its_result(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "p.db", codecs=[CODEC]) as log:
        tagged = ItemRow(0, "", "waiting", "", 0, 0, '{"team":"north"}')
        await log.append(hand.events(Opened(), Added(items=[tagged])))
        await log.append(hand.events(Added(items=[ItemRow(0, "", "ok", "b", 1, 2)])))
        both = hand.events(
            Added(items=[ItemRow(1, "", "waiting", "", 0, 0, '{"team":"south"}')]),
            Added(items=[ItemRow(1, "", "ok", "b", 3, 4)]),
        )
        await log.append(both)

        def tags(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return connection.execute("SELECT status, tags FROM items ORDER BY number").fetchall()

        assert await log.read(tags) == [("ok", '{"team":"north"}'), ("ok", '{"team":"south"}')]
        assert (await log.verify([TOY])).ok


@pytest.mark.trio
async def test_a_file_of_format_3_is_read_as_it_is_and_gets_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with open_log(path, codecs=[CODEC]) as log:
        await log.append(Hand("toy_1").events(Opened()))
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in (
            "DROP TABLE costs",
            "DROP TABLE line_costs",
            "ALTER TABLE items DROP COLUMN tags",
            "PRAGMA user_version = 3",
        ):
            connection.execute(statement)
    with closing(sqlite3.connect(path)) as connection:
        assert spent_by(connection, "provider") == []
        assert spent_in(connection, Scope()) == (0, 0)
    async with open_log(path, codecs=[CODEC]) as log:
        assert await log.read(partial(spent_by, group_by="provider")) == []
        assert (await log.verify([TOY])).ok
