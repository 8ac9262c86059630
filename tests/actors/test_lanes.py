"""Lanes: room respected, due order kept, tickets withdrawn; a restart with thousands overdue spreads by itself."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.actors.kind import Effect, Port
from perdure.actors.lane import Lane
from perdure.actors.runtime.lanes import Lanes, Ticket
from perdure.actors.runtime.runtime import RuntimeLimits
from tests.actors.living import assert_verifies, living, virtual_us
from tests.actors.scripted import Scripts, Unwant, Want
from tests.actors.toys import Cancel, Note, Order, Orders, Shop

A = Lane("", "a", "", "")
B = Lane("", "b", "", "")


class Queue:
    """Lanes with room as a test says, and the effects that were granted, in order."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.granted: list[str] = []
        self.refuses: set[str] = set()
        self.lanes = Lanes(lambda lane: self.room, self.grant)

    def grant(self, ticket: Ticket) -> bool:
        if ticket.effect in self.refuses:
            return False
        self.granted.append(ticket.effect)
        return True

    def enter(self, effect: str, due: int, lane: Lane = A) -> Ticket:
        ticket = Ticket("actor", effect, lane)
        self.lanes.enter(ticket, due)
        return ticket


def test_room_is_respected_and_the_earliest_due_comes_first() -> None:
    queue = Queue(1)
    for effect, due in (("first", 50), ("late", 30), ("early", 10), ("middle", 20)):
        queue.enter(effect, due)
    assert queue.granted == ["first"]
    for _ in range(4):
        queue.lanes.leave(A)
    assert queue.granted == ["first", "early", "middle", "late"]
    assert queue.lanes.waiting == 0


def test_equal_times_keep_their_order() -> None:
    queue = Queue(0)
    for number in range(10):
        queue.enter(str(number), 7)
    queue.room = 10
    queue.lanes.advance_all()
    assert queue.granted == [str(number) for number in range(10)]


def test_lanes_do_not_wait_for_each_other() -> None:
    queue = Queue(1)
    queue.enter("a1", 1)
    queue.enter("a2", 2)
    queue.enter("b1", 3, B)
    assert queue.granted == ["a1", "b1"]


def test_a_withdrawn_ticket_is_passed_over_and_does_not_count() -> None:
    queue = Queue(1)
    first, second, _ = queue.enter("first", 1), queue.enter("second", 2), queue.enter("third", 3)
    queue.lanes.withdraw(second)
    queue.lanes.withdraw(second)
    assert queue.lanes.waiting == 1
    queue.lanes.withdraw(first)
    assert queue.granted == ["first", "third"]


def test_room_that_is_not_used_goes_to_the_next() -> None:
    queue = Queue(1)
    queue.refuses = {"gone", "gone too"}
    queue.enter("gone", 1)
    queue.enter("gone too", 2)
    queue.enter("here", 3)
    assert queue.granted == ["here"]


def test_closed_lanes_grant_nothing() -> None:
    queue = Queue(1)
    queue.enter("first", 1)
    queue.enter("second", 2)
    queue.lanes.closed = True
    queue.lanes.leave(A)
    assert queue.granted == ["first"]


def test_a_lane_that_shrank_waits_until_it_is_below_its_room() -> None:
    queue = Queue(3)
    for number in range(5):
        queue.enter(str(number), number)
    queue.room = 1
    queue.lanes.leave(A)
    queue.lanes.leave(A)
    assert queue.granted == ["0", "1", "2"]
    queue.lanes.leave(A)
    assert queue.granted == ["0", "1", "2", "3"]


@pytest.mark.trio
async def test_room_that_comes_back_is_noticed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Nobody is inside, so nobody leaves: the runtime looks again by itself."""
    room = 0
    kinds = Scripts()
    async with living(tmp_path / "log.db", [kinds], room=lambda lane: room) as (runtime, _):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(600)
        assert kinds.started == []
        room = 1
        await trio.sleep(61)
        assert kinds.started[0] == "work"


@pytest.mark.trio
async def test_a_restart_with_thousands_overdue_spreads(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Never more than the room at a time, each once, in due order, and in bounded memory."""
    inside = most = 0
    order: list[str] = []
    path = tmp_path / "log.db"

    async def act(effect: Effect, port: Port) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        order.append(port.actor)
        await trio.sleep(1)
        await port.report(Unwant(id="work"))
        inside -= 1

    kinds = Scripts({"work": act})
    limits = RuntimeLimits(resident_bytes=500_000, waiting_effects=1_000)
    async with living(path, [kinds], limits=limits, room=0) as (runtime, _):
        base = virtual_us() + 60_000_000
        for start in range(0, 5_000, 250):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 250):
                    nursery.start_soon(
                        runtime.tell, "script", f"a{number:04}", Want(id="work", not_before=base + number)
                    )
    await trio.sleep(600)
    tracemalloc.start()
    async with living(path, [kinds], limits=limits, room=20) as (runtime, log):
        most_slots = most_bytes = 0
        while len(order) < 5_000:
            await trio.sleep(2)
            counts = runtime.counts()
            most_slots = max(most_slots, len(runtime.slots))
            most_bytes = max(most_bytes, tracemalloc.get_traced_memory()[0])
            assert counts["waiting"] <= 1_200
        assert most == 20
        assert len(set(order)) == 5_000
        assert all(abs(place - int(actor[1:])) <= 220 for place, actor in enumerate(order)), "a group out at the most"
        assert most_slots <= 1_700
        await trio.sleep(60)
        await assert_verifies(log, [kinds])
    tracemalloc.stop()
    assert most_bytes < 16_000_000


@pytest.mark.trio
async def test_orders_share_the_room_of_their_lane(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    shop = Shop()
    shop.answer_s = 1.0
    limits = RuntimeLimits(resident_bytes=0)
    async with living(tmp_path / "log.db", [Orders(shop)], room=3, limits=limits) as (runtime, log):
        for number in range(60):
            await runtime.tell("order", f"order_{number}", Order(what="x"))
        await runtime.tell("order", "order_59", Cancel())
        for number in range(30, 60):
            await runtime.tell("order", f"order_{number}", Note(text="busy"))
        await trio.sleep(600)
        assert shop.most_inside == 3
        assert sorted(identity for identity, _ in shop.account) == sorted(f"identity-order_{n}-0" for n in range(59))
        await assert_verifies(log, [Orders(shop)])
        assert runtime.slots == {}
