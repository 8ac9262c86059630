"""Leaving: draining gives effects their time, being cancelled keeps only what is in hand and owed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from perdure.actors.kind import Effect, Port
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.events.errors import Closed, DiskFull
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.actors.living import assert_verifies, living, running, types_of, virtual_us
from tests.actors.scripted import Act, Hand, Say, Scripts, TestLog, Unwant, Want
from tests.actors.toys import Add, Counters, Order, Orders, Shop

pytestmark = pytest.mark.trio


def lasting(seconds: float, ends: dict[str, float]) -> Act:
    """An effect that takes its time and notes when it ended, and how."""

    async def act(effect: Effect, port: Port) -> None:
        try:
            await trio.sleep(seconds)
            await port.report(Unwant(id=effect.id))
        finally:
            ends[effect.id] = trio.current_time()

    return act


async def test_draining_lets_effects_end_and_starts_none(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ends: dict[str, float] = {}
    kinds = Scripts({"short": lasting(5, ends), "later": lasting(1, ends)})
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="short"))
        await runtime.tell("script", "b", Want(id="later", not_before=virtual_us() + 2_000_000))
        await trio.sleep(1)
        started = trio.current_time()
        await runtime.drain(grace_s=30, purchase_grace_s=120)
        assert trio.current_time() - started == pytest.approx(4, abs=0.1)
        assert kinds.started == ["short"]
        assert await types_of(log, "a") == ["script.Wanted", "script.Unwanted"]
        with pytest.raises(Closed):
            await runtime.tell("script", "a", Say(text="x"))
        assert runtime.closing
        await assert_verifies(log, [kinds])


async def test_draining_cuts_off_what_takes_longer_purchases_that_cannot_be_found_last(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    ends: dict[str, float] = {}
    acts = {id: lasting(1_000, ends) for id in ("read", "searchable", "image")} | {"speech": lasting(60, ends)}
    kinds = Scripts(acts)
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="read"))
        await runtime.tell("script", "a", Want(id="searchable", purchase=True, searchable=True))
        await runtime.tell("script", "a", Want(id="image", purchase=True))
        await runtime.tell("script", "a", Want(id="speech", purchase=True))
        start = trio.current_time()
        await runtime.drain(grace_s=30, purchase_grace_s=120)
        assert {id: round(at - start) for id, at in ends.items()} == {
            "read": 30,
            "searchable": 30,
            "speech": 60,
            "image": 120,
        }
        assert "EffectFailed" not in await types_of(log, "a"), "cut off is not failed"
    async with living(tmp_path / "log.db", [kinds]):
        await trio.sleep(1)
        assert sorted(kinds.started[4:]) == ["image", "read", "searchable"]


async def test_an_effect_that_tells_a_closing_service_did_not_fail(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def act(effect: Effect, port: Port) -> None:
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.tell, "script", "b", Say(text="x"))

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(1)
        await runtime.drain(grace_s=30, purchase_grace_s=30)
        assert await types_of(log, "a") == ["script.Wanted"]


async def test_draining_ends_although_a_report_cannot_be_written(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.answer_s = 2.0
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Orders.codec]) as real:
        log = TestLog(real)
        async with running(log, [Orders(shop)], limits=RuntimeLimits(stop_s=7.0)) as runtime:
            await runtime.tell("order", "order_1", Order(what="x"))
            await trio.sleep(1)
            log.always = DiskFull("the disk is full")
            start = trio.current_time()
            await runtime.drain(grace_s=10, purchase_grace_s=20)
            assert trio.current_time() - start == pytest.approx(27, abs=0.5)
        assert trio.current_time() - start == pytest.approx(34, abs=0.5)


async def test_two_may_wait_for_the_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    ends: dict[str, float] = {}
    async with (
        living(tmp_path / "log.db", [Scripts({"work": lasting(5, ends)})]) as (runtime, _),
        trio.open_nursery() as nursery,
    ):
        await runtime.tell("script", "a", Want(id="work"))
        for _ in range(3):
            nursery.start_soon(lambda: runtime.drain(grace_s=60, purchase_grace_s=60))
        with trio.fail_after(6):
            await trio.testing.wait_all_tasks_blocked()
    assert ends["work"] == pytest.approx(5, abs=0.1)


async def test_a_report_in_hand_at_cancel_is_durable(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The append hangs while everything is cancelled: it is finished, and the receipt is there after the restart."""
    shop = Shop()
    path = tmp_path / "log.db"
    async with open_log(path, disk=InlineDisk(), codecs=[Orders.codec], clock=virtual_us) as real:
        log: Any = TestLog(real)
        runtime = Runtime(log, [Orders(shop)], clock=virtual_us)
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.run)
            await runtime.tell("order", "order_1", Order(what="x"))
            while not shop.account:
                await trio.lowlevel.checkpoint()
            log.gate = trio.Event()
            await trio.sleep(1)
            assert "Bought" not in await types_of(real, "order_1")
            nursery.cancel_scope.cancel()
            gate = log.gate

            async def open_later() -> None:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                    gate.set()

            nursery.start_soon(open_later)
        assert (await types_of(real, "order_1"))[-1] == "Bought"


async def test_a_report_that_waits_for_its_turn_at_cancel_is_durable(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def act(effect: Effect, port: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.001):  # reports before its first checkpoint, then cannot wait for the answer
                await port.report(Hand(text="a receipt"))

    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Scripts.codec]) as log:
        async with running(log, [Scripts({"work": act})]) as runtime:
            await runtime.tell("script", "a", Want(id="work"))
            await trio.sleep(1)
        assert await types_of(log, "a") == ["script.Wanted", "script.Said"]


async def test_cancelled_with_a_dead_disk_it_ends_after_its_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Orders.codec]) as real:
        log = TestLog(real)
        async with running(log, [Orders(shop)], limits=RuntimeLimits(stop_s=3.0)) as runtime:
            await runtime.tell("order", "order_1", Order(what="x"))
            log.always = DiskFull("the disk is full")
            await trio.sleep(10)
            left = trio.current_time()
        assert trio.current_time() - left == pytest.approx(3, abs=0.5)


async def test_an_exception_beside_it_skips_the_grace(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    ends: dict[str, float] = {}
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Scripts.codec]) as log:

        async def application() -> None:
            async with running(log, [Scripts({"work": lasting(1_000, ends)})]) as runtime:
                await runtime.tell("script", "a", Want(id="work"))
                await trio.sleep(1)
                raise KeyError("the application's own")

        with pytest.raises(ExceptionGroup) as raised:
            await application()
        assert raised.group_contains(KeyError)
        assert ends["work"] == pytest.approx(1, abs=0.1)


async def test_nobody_waits_for_ever_when_it_ends(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Callers live in nurseries of others: a command in a stuck turn, a reader, a waiter are all answered."""
    async with (
        open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real,
        trio.open_nursery() as others,
    ):
        log = TestLog(real)
        answers: list[str] = []
        async with running(log, [Counters()], limits=RuntimeLimits(stop_s=1.0)) as runtime:

            async def tell(actor: str) -> None:
                try:
                    await runtime.tell("counter", actor, Add(amount=1))
                except Closed:
                    answers.append("closed")

            hint = runtime.hints.subscribe("c", 7)
            stuck = trio.Event()
            real_resume = log.resume

            async def resume(actors: object, *, folds: Mapping[str, int]) -> object:
                await stuck.wait()
                return await real_resume([], folds=folds)

            log.resume = resume  # type: ignore[method-assign]
            others.start_soon(tell, "c")
            others.start_soon(tell, "d")

            async def state() -> None:
                try:
                    await runtime.state("counter", "e")
                except Closed:
                    answers.append("no state")

            others.start_soon(state)
            await trio.sleep(1)
        await trio.sleep(0.1)
        assert sorted(answers) == ["closed", "closed", "no state"]
        assert hint.is_set()
        with pytest.raises(Closed):
            await runtime.state("counter", "c")
        with pytest.raises(Closed):
            await runtime.tell("counter", "c", Add(amount=1))
