"""Windows that callers share as cases for sweeps: lines are given up before and after the close, expire, or go live."""

from __future__ import annotations

from collections import Counter

import trio

from perdure.events.batch import CancelLines, LineNote
from tests.actors.batch.looking import codes, lines_of
from tests.actors.batch.memory import World
from tests.actors.batch.window_rig import OPEN_S, WINDOW, Windowed, windowed
from tests.actors.living import EPOCH_US
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life


async def outcomes(window: Windowed) -> list[str]:
    """`ok` or the code of its error, line by line, once the batch has ended."""
    handle = await window.handle()
    await handle.ended()
    in_order, arrived = codes(await lines_of(handle)), await lines_of(handle, order="arrival")
    assert (codes(arrived), len(arrived)) == (in_order, len(in_order)), "each line comes once"
    return [in_order[f"{WINDOW}-{number}"] for number in range(len(in_order))]


class SharedWindow(Case):
    """Six lines: one is given up while they are collected, one at the provider, and one expires there."""

    def __init__(self) -> None:
        self.world = World(batch_s=30.0)

    async def live(self, world: Life) -> None:
        """Asks for everything, as callers do who come back after a death and have kept what they asked for."""
        self.world.alive = world.act
        async with windowed(world.directory / "p.db", self.world, disk=world.disk) as window:
            await window.open()
            await window.collect(0, 3, [LineNote(1, key="k-1", digest="d")])
            await window.collect(3, 3, [LineNote(4, deadline_at=EPOCH_US + (OPEN_S + 15) * 1_000_000)])
            await window.tell(CancelLines([1]))
            await trio.sleep_until(OPEN_S + 5)
            await window.tell(CancelLines([3]))
            await outcomes(window)
            world.act()

    async def check(self, world: Life) -> None:
        """One purchase without the line that was given up in time; every line has the end that its caller was told."""
        self.world.alive = lambda: None
        assert self.world.bought_twice() == [], self.world.bought_twice()
        async with windowed(world.directory / "p.db", self.world) as window:
            assert await outcomes(window) == ["ok", "batch_cancelled", "ok", "batch_cancelled", "batch_expired", "ok"]
            state = await window.state()
            assert (state.status, state.ok, state.failed, state.duplicate, state.extra) == ("succeeded", 3, 3, 0, 0)
            assert state.anomalies == 0
            kept = [item.number for item in await window.log.items(WINDOW, first=0, last=9) if item.blob]
            assert kept == [0, 2, 3, 4, 5], "what was paid for is kept, whoever still wanted it"
            (await window.log.verify()).raise_if_bad()
        ((_, data, _),) = self.world.files.values()
        assert b"question 1" not in data
        assert len(self.world.sold("batch")) == 1


class DirectWindow(Case):
    """Four lines, too few for a batch. `policy` says what happens to one that was on the wire when the process died."""

    policy = "fail"

    def __init__(self) -> None:
        self.world = World()

    async def live(self, world: Life) -> None:
        """Collects, gives one line up, and waits for the others."""
        self.world.alive = world.act
        async with windowed(world.directory / "p.db", self.world, disk=world.disk) as window:
            await window.open(minimum=9, on_uncertain=self.policy)
            await window.collect(0, 4)
            await window.tell(CancelLines([3]))
            await outcomes(window)
            world.act()

    async def check(self, world: Life) -> None:
        """Nothing was sent as a batch, the line that was given up not at all, and each other one as the policy says."""
        self.world.alive = lambda: None
        asked = Counter(sold.payload for sold in self.world.account)
        assert {sold.kind for sold in self.world.account} <= {"live"}
        assert "question 3" not in asked
        async with windowed(world.directory / "p.db", self.world) as window:
            said = await outcomes(window)
            state = await window.state()
            assert state.anomalies == 0
            assert (state.ok, state.failed) == (said.count("ok"), 4 - said.count("ok"))
            (await window.log.verify()).raise_if_bad()
        assert said[3] == "batch_cancelled"
        self.check_lines(said[:3], asked)

    def check_lines(self, said: list[str], asked: Counter[str]) -> None:
        """An answer, bought once, or doubt, bought once at most."""
        assert set(said) <= {"ok", "batch_uncertain"}
        assert all(times == 1 for times in asked.values()), f"bought twice: {asked}"
        assert all(asked[f"question {number}"] == 1 for number, code in enumerate(said) if code == "ok")


class InsistentWindow(DirectWindow):
    """The same, where doubt means: buy again."""

    policy = "resubmit"

    def check_lines(self, said: list[str], asked: Counter[str]) -> None:
        """Every line has an answer; one that was on the wire at a death may have been bought twice."""
        assert said == ["ok"] * 3
        assert all(times <= 2 for times in asked.values())
