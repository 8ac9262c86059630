"""Sharing reads: groups, their bound, errors that reach only whom they concern, cancelled askers, the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock as Clock

from perdure.actors.sharing import Sharing
from perdure.events.errors import Closed

pytestmark = pytest.mark.trio


class Desk:
    """Doubles numbers, a second for each group. Multiples of 7 are refused by themselves; 13 breaks its whole group."""

    def __init__(self, *, most: int = 1_000) -> None:
        self.groups: list[list[int]] = []
        self.most = most

    async def answer(self, questions: Sequence[int]) -> Mapping[int, int | Exception]:
        """See `Sharing`."""
        self.groups.append(list(questions))
        await trio.sleep(1)
        if 13 in questions:
            raise OSError("broken")
        return {
            place: ValueError(f"not {number}") if number % 7 == 0 else number * 2
            for place, number in enumerate(questions[: self.most])
        }


class Askers:
    """Askers in tasks of their own; `told` is what each heard."""

    def __init__(self, sharing: Sharing[int, int]) -> None:
        self.sharing = sharing
        self.told: dict[int, int | str] = {}

    async def ask(self, number: int) -> None:
        """One of them."""
        try:
            told: int | str = await self.sharing.ask(number)
        except (ValueError, OSError, Closed) as error:
            told = type(error).__name__
        assert number not in self.told
        self.told[number] = told


@asynccontextmanager
async def sharing(desk: Desk, *, at_a_time: int = 100) -> AsyncGenerator[Sharing[int, int]]:
    """Runs until the block is left."""
    shared = Sharing(desk.answer, at_a_time=at_a_time, closed="closed")
    async with trio.open_nursery() as nursery:
        await nursery.start(shared.run)
        yield shared
        nursery.cancel_scope.cancel()


async def test_whoever_asks_while_a_group_is_answered_is_in_the_next(autojump_clock: Clock) -> None:
    desk = Desk()
    async with sharing(desk) as shared, trio.open_nursery() as nursery:
        askers = Askers(shared)
        nursery.start_soon(askers.ask, 1)
        await trio.sleep(0.5)
        for number in range(101, 106):
            nursery.start_soon(askers.ask, number)
        await trio.sleep(0.6)
        assert askers.told == {1: 2}, "who is alone waits for nobody"
        await trio.sleep(1)
        assert [sorted(group) for group in desk.groups] == [[1], [101, 102, 103, 104, 105]]
    assert askers.told == {1: 2, 101: 202, 102: 204, 103: 206, 104: 208, 105: "ValueError"}


@pytest.mark.parametrize(("at_a_time", "most", "hops"), [(100, 1_000, 3), (1_000, 30, 9)], ids=["asked", "answered"])
async def test_groups_are_bounded_by_what_is_asked_and_by_what_is_answered(
    autojump_clock: Clock, at_a_time: int, most: int, hops: int
) -> None:
    desk = Desk(most=most)
    numbers = [number for number in range(1_000, 1_400) if number % 7][:250]
    async with sharing(desk, at_a_time=at_a_time) as shared:
        askers = Askers(shared)
        async with trio.open_nursery() as nursery:
            for number in numbers:
                nursery.start_soon(askers.ask, number)
        assert askers.told == {number: number * 2 for number in numbers}
        assert hops <= len(desk.groups) <= hops + 1, "the first group is of those who came before it began"
        assert all(len(group) <= at_a_time for group in desk.groups)


async def test_those_who_were_left_go_before_those_who_came_later(autojump_clock: Clock) -> None:
    desk = Desk(most=2)
    async with sharing(desk) as shared, trio.open_nursery() as nursery:
        askers = Askers(shared)
        for number in (1, 2, 3, 4):
            nursery.start_soon(askers.ask, number)
            await trio.sleep(0.1)
        await trio.sleep(10)
        assert desk.groups == [[1], [2, 3, 4], [4]]


async def test_what_breaks_a_group_breaks_no_other(autojump_clock: Clock) -> None:
    desk = Desk()
    async with sharing(desk) as shared, trio.open_nursery() as nursery:
        askers = Askers(shared)
        nursery.start_soon(askers.ask, 1)
        await trio.sleep(0.5)
        nursery.start_soon(askers.ask, 13)
        nursery.start_soon(askers.ask, 2)
        await trio.sleep(1)
        nursery.start_soon(askers.ask, 3)
        await trio.sleep(5)
        assert askers.told == {1: 2, 13: "OSError", 2: "OSError", 3: 6}


async def test_who_gives_up_is_not_answered_and_costs_no_read(autojump_clock: Clock) -> None:
    desk = Desk()
    async with sharing(desk) as shared, trio.open_nursery() as nursery:
        askers = Askers(shared)
        nursery.start_soon(askers.ask, 1)
        await trio.sleep(0.1)
        with trio.move_on_after(0.2):
            await shared.ask(2)
        with trio.move_on_after(2):
            async with trio.open_nursery() as impatient:
                impatient.start_soon(askers.ask, 3)
                nursery.start_soon(askers.ask, 4)
                await trio.sleep(1.2)
                impatient.cancel_scope.cancel()
        await trio.sleep(5)
        assert askers.told == {1: 2, 4: 8}
        assert [sorted(group) for group in desk.groups] == [[1], [3, 4]]


async def test_the_end_tells_all_who_wait_and_all_who_come(autojump_clock: Clock) -> None:
    desk = Desk(most=1)
    async with trio.open_nursery() as nursery:
        async with sharing(desk) as shared:
            askers = Askers(shared)
            for number in (1, 2, 3):
                nursery.start_soon(askers.ask, number)
                await trio.sleep(0.1)
            await trio.sleep(1)
        nursery.start_soon(askers.ask, 4)
        await trio.sleep(1)
        assert askers.told == {1: 2, 2: "Closed", 3: "Closed", 4: "Closed"}


async def test_alone_it_answers_by_itself_before_and_after(autojump_clock: Clock) -> None:
    desk = Desk()
    shared = Sharing(desk.answer, at_a_time=10, closed="closed", alone=True)
    assert await shared.ask(1) == 2
    async with trio.open_nursery() as nursery:
        await nursery.start(shared.run)
        assert await shared.ask(2) == 4
        nursery.cancel_scope.cancel()
    assert await shared.ask(3) == 6
    with pytest.raises(ValueError, match="not 7"):
        await shared.ask(7)
