"""A whole program of single requests as a case for sweeps: batched, gone live for want of company, live, given up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from perdure.actors.batch.strategy import BatchStrategy
from perdure.actors.service import Service
from perdure.actors.submitting import Via
from perdure.actors.views import Handle
from perdure.events.errors import OperationCancelled
from perdure.events.requests import Answer, Prompt
from tests.actors.batch.memory import NAME, World
from tests.actors.batch.rig import serving, verified
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life

OPEN_S: Final = 10.0
"""How long windows collect."""

ASKED: Final[dict[str, tuple[Via, str]]] = {
    "batched": ("batch", "m"),
    "left early": ("batch", "m"),
    "left late": ("batch", "m"),
    "first of three": ("auto", "n"),
    "second of three": ("auto", "n"),
    "third of three": ("auto", "n"),
    "alone": ("auto", "o"),
    "live": ("live", "m"),
    "live too": ("live", "n"),
}
"""Every request by its key: the way that it is submitted, and its model."""

LEFT: Final = ("left early", "left late")
CANCELLED: Final = "cancelled"


class Program(Case):
    """Submits everything, from a task for each request, and awaits every answer; at each start anew, by the same keys.

    One request is given up while its window collects, one when it has closed.
    """

    def __init__(self) -> None:
        self.world = World(batch_s=30.0)
        self.told: dict[str, str] = {}
        """What each caller was told, in whichever life."""
        self.lives = 0
        self.whole = False
        """The first life came to have a handle for every request, and one was given up while the windows were open."""

    async def live(self, world: Life) -> None:
        """Lives as a user's program does."""
        self.world.alive = world.act
        self.lives += 1
        async with self.serving(world) as service:
            handles: dict[str, Handle[Answer]] = {}

            async def submit(key: str) -> None:
                handles[key] = await self.submit(service, key)

            async with trio.open_nursery() as nursery:
                for key in ASKED:
                    nursery.start_soon(submit, key)
            world.act()
            await handles["left early"].cancel()
            world.act()
            self.whole = self.whole or self.lives == 1
            await trio.sleep_until(OPEN_S + 5)
            await handles["left late"].cancel()
            async with trio.open_nursery() as nursery:
                for key, handle in handles.items():
                    nursery.start_soon(self.ask, world, key, handle)

    def serving(self, world: Life) -> AbstractAsyncContextManager[Service]:
        """The service of one life."""
        return serving(
            world.directory / "p.db",
            self.world,
            disk=world.disk,
            strategy=BatchStrategy(window_s=OPEN_S),
        )

    async def submit(self, service: Service, name: str) -> Handle[Answer]:
        """Submits one request under its name."""
        via, model = ASKED[name]
        return await service.submit(Prompt(name, model=model), provider=NAME, via=via, key=name)

    async def ask(self, world: Life, key: str, handle: Handle[Answer]) -> None:
        """Has one caller told."""
        try:
            said = (await handle.result()).text
        except OperationCancelled:
            said = CANCELLED
        world.act()
        assert self.told.setdefault(key, said) == said, f"{key} was told another answer before"

    async def check(self, world: Life) -> None:
        """Everybody was told, and is told the same again; nothing was bought twice but where the log says so."""
        self.world.alive = lambda: None
        async with self.serving(world) as service:
            resubmitted: Counter[str] = Counter()
            for key in ASKED:
                handle = await service.find(key)
                assert handle is not None
                await self.ask(world, key, handle)
                assert (await self.submit(service, key)).id == handle.id
                types = [record.type async for record in handle.events(follow=False)]
                resubmitted[key] = types.count("PurchaseResubmitted")
            await verified(service)
        assert self.told.keys() == ASKED.keys()
        for key, said in self.told.items():
            assert said == CANCELLED if key in LEFT else said in (f"re: {key}", f"live: {key}"), (key, said)
        self.check_account(resubmitted)

    def check_account(self, resubmitted: Mapping[str, int]) -> None:
        """By identity each batch and each file once; by payload each request once, and again only on record."""
        stored = Counter(f"{sold.kind} {sold.identity}" for sold in self.world.account if sold.kind != "live")
        assert set(stored.values()) <= {1}, stored
        assert len(self.world.sold("batch")) == len(self.world.sold("file"))
        asked = Counter(sold.payload for sold in self.world.account if sold.kind == "live")
        for _, data, _ in self.world.files.values():
            asked.update(json.loads(line)["body"]["input"] for line in data.splitlines())
        again = {key: times - 1 for key, times in asked.items() if times - 1 > resubmitted[key]}
        assert not again, f"bought again and not on record: {again}"
        if self.whole:
            assert len(self.world.sold("batch")) == 2, "one batch for each window that had enough"
            assert "left early" not in asked
