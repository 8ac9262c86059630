"""The toy kinds as a case for sweeps: orders that arrive, one that is cancelled, and a counter."""

from __future__ import annotations

from typing import Any, Final

import trio

from perdure.actors.kind import Kind
from perdure.store.sqlite import open_log
from tests.actors.living import EPOCH_US, assert_verifies, living, records_of, types_of, virtual_us
from tests.actors.toys import Add, Cancel, Counters, Order, Orders, Shop
from tests.faults.simulated import seeded_ids
from tests.faults.sweep import Case, World

POINTS: Final = frozenset(
    {
        "commit.before",
        "commit.written",
        "commit.after",
        "report.before",
        "report.after",
        "send.before",
        "send.after_last_byte",
        "answer.received",
    }
)
"""The crash points that this case passes; blobs it has none."""


class Toys(Case):
    """`orders` orders, the last of which is cancelled while it is bought, and a counter."""

    def __init__(self, orders: int = 3) -> None:
        self.shop = Shop()
        self.shop.answer_s = 1.0
        self.orders = [f"order_{number}" for number in range(orders)]
        self.cancelled = self.orders[-1]
        self.asked = 0
        self.acknowledged = 0

    async def live(self, world: World) -> None:
        """Orders everything, cancels one, counts, and waits until all orders are settled."""
        self.shop.alive = world.act
        ids = seeded_ids(world.seed, EPOCH_US)
        async with (
            living(world.directory / "log.db", [Counters(), Orders(self.shop)], room=2, disk=world.disk, ids=ids) as (
                runtime,
                log,
            ),
            trio.open_nursery() as nursery,
        ):

            async def order(actor: str) -> None:
                await runtime.tell("order", actor, Order(what=f"a {actor}"))
                if actor == self.cancelled:
                    await trio.sleep(0.5)
                    await runtime.tell("order", actor, Cancel())
                while True:
                    hint = runtime.hints.subscribe(actor)
                    row = await log.row(actor)
                    if row is not None and row.standing.terminal:
                        return
                    await hint.wait()

            async def count() -> None:
                while self.acknowledged < 3:
                    world.act()
                    self.asked += 1
                    await runtime.tell("counter", "counter", Add(amount=1))
                    self.acknowledged += 1

            nursery.start_soon(count)
            for actor in self.orders:
                nursery.start_soon(order, actor)

    async def check(self, world: World) -> None:
        """Each order once, each purchase once, what was acknowledged is there, the log verifies."""
        kinds: list[Kind[Any, Any]] = [Counters(), Orders(self.shop)]
        identities = [identity for identity, _ in self.shop.account]
        assert len(identities) == len(set(identities)), identities
        async with open_log(
            world.directory / "log.db",
            disk=world.disk,
            codecs=[kind.codec for kind in kinds],
            clock=virtual_us,
        ) as log:
            await assert_verifies(log, kinds)
            for actor in self.orders:
                happened = await types_of(log, actor)
                row = await log.row(actor)
                assert row is not None
                if actor == self.cancelled and row.standing.status == "cancelled":
                    bought = identities.count(f"identity-{actor}-0")
                    assert happened.count("Returned") == bought == len(self.shop.returned)
                else:
                    assert row.standing.status == "arrived"
                    assert happened.count("Bought") == happened.count("Arrived") == 1
                    assert f"identity-{actor}-0" in identities
            assert self.acknowledged <= len(await records_of(log, "counter")) <= self.asked
