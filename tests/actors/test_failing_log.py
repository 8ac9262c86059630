"""A log that fails: nothing is told that did not happen, nothing bought is dropped, nothing is bought meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from perdure.actors.kind import Effect, Kind, Port
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.events.errors import DiskFull, Fenced, OutcomeUnknown, Unavailable, VersionConflict
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.actors.living import assert_verifies, living, running, types_of, virtual_us
from tests.actors.scripted import Say, Scripts, TestLog, Want
from tests.actors.toys import Add, Counters, Note, Order, Orders, Shop

pytestmark = pytest.mark.trio


@asynccontextmanager
async def on_test_log(
    path: Path, kinds: Sequence[Kind[Any, Any]], limits: RuntimeLimits | None = None
) -> AsyncGenerator[tuple[Runtime, TestLog]]:
    async with open_log(path, disk=InlineDisk(), codecs=[kind.codec for kind in kinds], clock=virtual_us) as real:
        log = TestLog(real)
        async with running(log, kinds, limits=limits) as runtime:
            yield runtime, log


def well(runtime: Runtime) -> bool:
    return runtime.healthy


def full() -> DiskFull:
    return DiskFull("the disk is full")


async def test_a_disk_that_was_full_once_is_not_noticed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with on_test_log(tmp_path / "log.db", [Counters()]) as (runtime, log):
        log.errors.append(full())
        assert (await runtime.tell("counter", "c", Add(amount=1))).version == 1
        assert len(log.appends) == 2
        assert well(runtime)


async def test_commands_are_judged_twice_then_unavailable(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_test_log(tmp_path / "log.db", [Counters()]) as (runtime, log):
        await runtime.tell("counter", "c", Add(amount=1))
        log.always = full()
        with pytest.raises(DiskFull):
            await runtime.tell("counter", "c", Add(amount=10))
        assert len(log.appends) == 3
        log.always = None
        assert (await runtime.tell("counter", "c", Add(amount=100))).version == 2
        assert (await runtime.state("counter", "c")).state.total == 101


async def test_after_a_failed_append_answers_are_judged_on_what_is_there(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Both commands rested on an append that failed for good: the second is not told that the first had happened."""
    async with on_test_log(tmp_path / "log.db", [Scripts()]) as (runtime, log), trio.open_nursery() as nursery:
        told: list[str] = []

        async def say() -> None:
            try:
                await runtime.tell("script", "a", Say(text="x"))
            except Unavailable as error:
                told.append(type(error).__name__)

        log.errors.extend([full(), full()])
        nursery.start_soon(say)
        nursery.start_soon(say)
        await trio.sleep(1)
        assert told == ["DiskFull", "DiskFull"]


async def test_a_report_is_offered_until_it_is_durable_and_nothing_is_bought_meanwhile(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.answer_s = 5.0
    kinds = [Orders(shop)]
    async with on_test_log(tmp_path / "log.db", kinds) as (runtime, log):
        await runtime.tell("order", "first", Order(what="x"))
        await runtime.tell("order", "polling", Order(what="x"))
        await trio.sleep(2)
        assert len(shop.account) == 2
        log.always = full()
        await trio.sleep(5)
        assert not well(runtime), "the receipt is in hand and not in the log"
        with pytest.raises(DiskFull):
            await runtime.tell("order", "second", Order(what="x"))
        log.always = None
        await trio.sleep(30)
        assert well(runtime)
        await runtime.tell("order", "third", Order(what="x"))
        await trio.sleep(100)
        assert len(shop.account) == 3
        for actor in ("first", "polling", "third"):
            assert (await types_of(log.real, actor)).count("Bought") == 1
        await assert_verifies(log.real, kinds)


async def test_a_purchase_that_was_queued_waits_until_the_log_is_well(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bought: list[str] = []
    go = trio.Event()

    async def buy(effect: Effect, port: Port) -> None:
        bought.append(effect.id)
        await trio.sleep_forever()

    async def report(effect: Effect, port: Port) -> None:
        await go.wait()
        await port.report(Say(text="something"))
        await trio.sleep_forever()

    kinds = [Scripts({"report": report, "buy": buy, "look": buy})]
    async with on_test_log(tmp_path / "log.db", kinds) as (runtime, log):
        await runtime.tell("script", "a", Want(id="report"))
        soon = virtual_us() + 5_000_000
        await runtime.tell("script", "b", Want(id="buy", purchase=True, not_before=soon))
        await runtime.tell("script", "b", Want(id="look", not_before=soon))
        log.always = full()
        go.set()
        await trio.sleep(60)
        assert not well(runtime)
        assert bought == ["look"], "what is no purchase starts"
        log.always = None
        await trio.sleep(60)
        assert well(runtime)
        assert bought == ["look", "buy"]


async def test_an_unknown_outcome_is_told_and_stops_the_writing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    async with on_test_log(tmp_path / "log.db", [Orders(shop), Counters()]) as (runtime, log):
        await runtime.tell("counter", "c", Add(amount=1))
        hint = runtime.hints.subscribe("c")
        log.errors.append(OutcomeUnknown("who knows"))
        with pytest.raises(OutcomeUnknown):
            await runtime.tell("order", "order_1", Order(what="x"))
        assert isinstance(runtime.failure, OutcomeUnknown)
        assert hint.is_set(), "whoever waits looks again"
        assert not well(runtime)
        with pytest.raises(OutcomeUnknown):
            await runtime.tell("counter", "c", Add(amount=1))
        assert (await runtime.state("counter", "c")).state.total == 1
        await trio.sleep(100)
        assert shop.account == []


async def test_an_intent_whose_append_is_unknown_sends_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    path = tmp_path / "log.db"
    async with on_test_log(path, [Orders(shop)]) as (runtime, log):
        log.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.tell, "order", "order_1", Order(what="x"))
            await trio.sleep(1)
            log.gate.set()
            log.gate = None
            await trio.testing.wait_all_tasks_blocked()
            log.errors.append(OutcomeUnknown("who knows"))
        await trio.sleep(10)
    async with living(path, [Orders(shop)]) as (runtime, real):
        await trio.sleep(100)
        assert len(shop.account) == 1
        assert (await types_of(real, "order_1"))[-1] == "Arrived"


async def test_a_second_writer_fences_this_one(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    stopped = trio.Event()

    async def act(effect: Effect, port: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with on_test_log(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log):
        await runtime.tell("script", "b", Want(id="work"))
        await runtime.tell("script", "a", Say(text="x"))
        other = log.appends[-1]
        other.expected_version = 1
        await log.append(other)
        with pytest.raises(Fenced, match="another process"):
            await runtime.tell("script", "a", Say(text="y"))
        assert isinstance(runtime.failure, Fenced)
        with trio.fail_after(1):
            await stopped.wait()
        with pytest.raises(Fenced):
            await runtime.tell("script", "c", Say(text="y"))
        tried = len(log.appends)
        await trio.sleep(3_600)
        assert len(log.appends) == tried


async def test_a_version_conflict_carries_both_versions() -> None:
    await trio.lowlevel.checkpoint()
    error = VersionConflict("at 2, expected 1", actor="a", expected=1, found=2)
    assert (error.actor, error.expected, error.found) == ("a", 1, 2)


async def test_a_log_that_cannot_be_read_for_a_while_loses_no_report(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.answer_s = 5.0
    async with on_test_log(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", Order(what="x"))
        await trio.sleep(1)
        log.errors.append(full())  # the report's append fails, its state is dropped
        log.load_errors.extend(Unavailable("a reader in the way") for _ in range(8))
        await trio.sleep(4.5)
        with pytest.raises(Unavailable):
            await runtime.tell("order", "order_1", Note(text="x"))
        await trio.sleep(100)
        assert (await types_of(log.real, "order_1"))[-3:] == ["Intended", "Bought", "Arrived"]
        assert len(shop.account) == 1


async def test_what_is_due_waits_out_an_index_that_cannot_be_read(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts()
    async with on_test_log(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work", not_before=virtual_us() + 3_600_000_000))
        real = log.real.due
        failed: list[int] = []

        async def due(**bounds: Any) -> Any:
            if len(failed) < 5:
                failed.append(1)
                raise Unavailable("a reader in the way")
            return await real(**bounds)

        log.due_instead = due
        await trio.sleep(3_700)
        assert len(failed) == 5
        assert kinds.started[0] == "work"
