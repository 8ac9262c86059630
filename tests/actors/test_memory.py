"""What is in memory: bounded in bytes, loaded in groups, restated after a change of fold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import RuntimeLimits
from perdure.events.errors import Corrupt
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.actors.living import assert_verifies, living, running, virtual_us
from tests.actors.scripted import Say, Scripts, TestLog, Want
from tests.actors.toys import Add, Counters

pytestmark = pytest.mark.trio


async def test_states_are_bounded_in_bytes_and_the_oldest_go_first(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts()
    limits = RuntimeLimits(resident_bytes=50_000)
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Scripts.codec]) as real:
        log = TestLog(real)
        async with running(log, [kinds], limits=limits) as runtime:
            for number in range(100):
                await runtime.tell("script", f"a{number:03}", Say(text="x"))
            assert runtime.counts()["resident_bytes"] <= 50_000
            assert runtime.counts()["resident"] == len(runtime.slots) == 20
            log.loads.clear()
            assert (await runtime.state("script", "a099")).state.said == ["x"]
            assert log.loads == []
            await runtime.tell("script", "a080", Say(text="y"))  # used again: it outlives those after it
            for number in range(10):
                await runtime.tell("script", f"b{number}", Say(text="x"))
            assert "a080" in runtime.slots
            assert "a081" not in runtime.slots
            assert (await runtime.state("script", "a000")).state.said == ["x"]


async def test_an_actor_with_effects_stays_in_memory(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def act(effect: object, port: object) -> None:
        await trio.sleep_forever()

    limits = RuntimeLimits(resident_bytes=10_000)
    async with living(tmp_path / "log.db", [Scripts({"work": act})], limits=limits) as (runtime, _):
        await runtime.tell("script", "runs", Want(id="work"))
        for number in range(50):
            await runtime.tell("script", f"a{number}", Say(text="x"))
        assert runtime.slots["runs"].aggregate is not None
        assert runtime.counts()["running"] == 1


async def test_many_dormant_actors_are_loaded_in_one_hop(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        async with running(real, [Counters()]) as runtime:
            for number in range(150):
                await runtime.tell("counter", f"c{number}", Add(amount=1))
        log = TestLog(real)
        async with running(log, [Counters()]) as runtime, trio.open_nursery() as nursery:
            log.loads.clear()
            for number in range(150):
                nursery.start_soon(runtime.tell, "counter", f"c{number}", Add(amount=1))
            await trio.sleep(1)
            assert len(log.loads) <= 2
            assert sum(len(actors) for actors in log.loads) == 150


async def test_ten_thousand_that_wait_are_rows(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    kinds = Scripts()
    limits = RuntimeLimits(resident_bytes=100_000)
    async with living(tmp_path / "log.db", [kinds], limits=limits) as (runtime, _):
        later = virtual_us() + 3_600_000_000
        for start in range(0, 2_000, 100):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 100):
                    nursery.start_soon(runtime.tell, "script", f"a{number}", Want(id="work", not_before=later))
        assert len(runtime.slots) <= 100
        assert runtime.counts()["running"] == runtime.counts()["scheduled"] == 0
        await trio.sleep(3_500)
        assert kinds.started == []
        await trio.sleep(110)
        assert len(kinds.started) >= 2_000


def spoil(path: Path, actor: str) -> None:
    """Makes an actor's last record unreadable behind the log's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        'UPDATE events SET payload = \'{"event":"script.Nonsense"}\' '
        "WHERE position = (SELECT max(position) FROM events WHERE stream = (SELECT id FROM streams WHERE actor = ?))",
        (actor,),
    )
    connection.close()


async def test_a_record_that_cannot_be_read_stops_its_actor_only(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts()
    path = tmp_path / "log.db"
    async with living(path, [kinds]) as (runtime, _):
        for actor in ("bad", "good"):
            await runtime.tell("script", actor, Want(id="work", not_before=virtual_us() + 60_000_000))
    spoil(path, "bad")
    async with living(path, [kinds]) as (runtime, log):
        head = await log.head()
        with pytest.raises(Corrupt, match="cannot be read"):
            await runtime.tell("script", "bad", Say(text="x"))
        with pytest.raises(Corrupt):
            await runtime.state("script", "bad")
        assert await log.head() == head, "nothing is written"
        hint = runtime.hints.subscribe("bad")
        await trio.sleep(100)
        assert hint.is_set(), "whoever waits for it looks again"
        assert kinds.started[0] == "work"
        assert (await runtime.tell("script", "good", Say(text="x"))).changed
        assert runtime.healthy


async def test_rows_of_another_fold_are_restated_before_it_is_ready(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "log.db"
    async with living(path, [Scripts()]) as (runtime, _):
        for number in range(700):
            await runtime.tell("script", f"a{number}", Say(text="x"))
        for number in range(700):
            await runtime.tell("script", f"done{number}", Say(text="done"))
        await runtime.tell("script", "spoilt", Say(text="x"))
    spoil(path, "spoilt")

    class Asking(Scripts):
        """A newer build of the kind, which asks for something where the old one did not."""

        def effects(self, state: object) -> tuple[()]:
            return ()

        def row(self, state: object) -> object:  # type: ignore[override]
            row = super().row(state)  # type: ignore[arg-type]
            return type(row)(status="newer", terminal=row.terminal)

    kinds = Asking(fold=2)
    async with living(path, [kinds]) as (runtime, log):  # type: ignore[list-item]
        row = await log.row("a699")
        assert row is not None
        assert (row.standing.fold, row.standing.status) == (2, "newer")
        await runtime.tell("script", "done0", Say(text="goes on meanwhile"))
        await trio.sleep(10)
        assert await log.outdated("script", 2) == ["spoilt"]
        for number in range(700):
            row = await log.row(f"done{number}")
            assert row is not None
            assert (row.standing.fold, row.standing.status) == (2, "newer")
        verified = await log.verify([KindFold(kinds)])  # type: ignore[arg-type]
        assert [fault.actor for fault in verified.faults if fault.actor] in ([], ["spoilt"], ["spoilt", "spoilt"])


async def test_a_restated_row_wakes_what_newer_code_asks_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "log.db"
    silent = Scripts()
    silent.effects = lambda state: ()  # type: ignore[method-assign]
    async with living(path, [silent]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"))
        row = await log.row("a")
        assert row is not None
        assert row.standing.next_due is None
    kinds = Scripts(fold=2)
    async with living(path, [kinds]) as (runtime, log):
        await trio.sleep(1)
        assert kinds.started[0] == "work"
        await assert_verifies(log, [kinds])


async def test_a_long_stream_is_folded_without_holding_up_others(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with living(tmp_path / "log.db", [Counters()]) as (runtime, _):
        for _ in range(25):
            async with trio.open_nursery() as nursery:
                for _ in range(400):
                    nursery.start_soon(runtime.tell, "counter", "c", Add(amount=1))
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
        connection.execute("DELETE FROM snapshots")  # a cache: whoever drops it gets the whole fold
    async with living(tmp_path / "log.db", [Counters()]) as (runtime, _), trio.open_nursery() as nursery:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()
        assert (await runtime.state("counter", "c")).state.total == 10_000
        assert turns >= 5
        nursery.cancel_scope.cancel()
