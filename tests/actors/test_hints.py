"""Hints wake those who wait for an actor or for one of its items, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.actors.runtime.hints import Hints
from tests.actors.living import living
from tests.actors.scripted import Say, Scripts


def test_only_those_whose_item_came_are_woken() -> None:
    hints = Hints()
    whole, one, two, other = (
        hints.subscribe("a"),
        hints.subscribe("a", 1),
        hints.subscribe("a", 2),
        hints.subscribe("b", 1),
    )
    hints.fire("a", [1])
    assert [event.is_set() for event in (whole, one, two, other)] == [True, True, False, False]


def test_an_end_wakes_everybody_of_an_actor_and_a_stop_everybody() -> None:
    hints = Hints()
    one, two, other = hints.subscribe("a", 1), hints.subscribe("a", 2), hints.subscribe("b")
    hints.fire_all("a")
    assert [event.is_set() for event in (one, two, other)] == [True, True, False]
    hints.fire_all()
    assert other.is_set()


def test_those_who_wait_for_the_same_share_an_event() -> None:
    hints = Hints()
    assert hints.subscribe("a", 1) is hints.subscribe("a", 1)
    assert hints.subscribe("a", 1) is not hints.subscribe("a", 2)


@pytest.mark.trio
async def test_what_nobody_waits_for_any_more_is_forgotten() -> None:
    hints = Hints()
    for number in range(50_000):
        with trio.CancelScope() as scope:
            scope.cancel()
            await hints.subscribe(f"actor_{number}", number).wait()
    assert hints.kept < 10_000
    stays = hints.subscribe("actor", 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stays.wait)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(20_000):
            hints.subscribe(f"actor_{number}")
        assert hints.subscribe("actor", 1) is stays, "somebody waits for it"
        stays.set()


@pytest.mark.trio
async def test_a_commit_wakes_by_item(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with living(tmp_path / "log.db", [Scripts()]) as (runtime, log):
        await runtime.tell("script", "a", Say(text="x"))
        events = {number: runtime.hints.subscribe("a", number) for number in range(10)}
        await runtime.tell("script", "a", Say(text="y", items=[3, 4]))
        assert {number for number, event in events.items() if event.is_set()} == {3, 4}
        assert [row.number for row in await log.items("a", first=0, last=9)] == [3, 4]
        await runtime.tell("script", "a", Say(text="done"))
        assert all(event.is_set() for event in events.values())
