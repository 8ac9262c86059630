"""Turns: what waits is judged in order, appended in one call, and answered once it is durable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import outcome
import pytest
import trio
import trio.testing

from perdure.actors.kind import Kind
from perdure.actors.runtime.runtime import RuntimeLimits
from perdure.actors.runtime.turn import Defect
from perdure.events.errors import Closed, NotFound, Rejected
from perdure.store.disk import InlineDisk
from perdure.store.records import KeyTaken
from perdure.store.sqlite import open_log
from tests.actors.living import assert_verifies, living, running, types_of
from tests.actors.scripted import Say, Scripts, TestLog
from tests.actors.toys import Add, Counters, Order, Orders, Shop

pytestmark = pytest.mark.trio


async def gather(*calls: Any) -> list[outcome.Outcome[Any]]:
    """The outcomes of coroutine functions that run at once, in their order."""
    found: list[outcome.Outcome[Any]] = [outcome.Value(None)] * len(calls)

    async def one(number: int, call: Any) -> None:
        found[number] = await outcome.acapture(call)

    async with trio.open_nursery() as nursery:
        for number, call in enumerate(calls):
            nursery.start_soon(one, number, call)
    return found


async def test_every_answer_waits_for_the_commit_it_was_judged_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A rejection and an "already done" that rest on an uncommitted event are not told before it is durable."""
    kinds: list[Kind[Any, Any]] = [Scripts(), Orders(Shop())]
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[kind.codec for kind in kinds]) as real:
        log = TestLog(real)
        async with running(log, kinds, room=0) as runtime, trio.open_nursery() as nursery:
            told: list[str] = []

            async def tell(kind: str, command: Any, name: str) -> None:
                try:
                    answer = await runtime.tell(kind, kind, command)
                    told.append(f"{name}: {answer.changed} at {answer.version}")
                except Rejected as error:
                    told.append(f"{name}: {error}")

            log.gate = trio.Event()
            for name in ("first", "second"):
                nursery.start_soon(tell, "script", Say(text="x"), f"say {name}")
                nursery.start_soon(tell, "order", Order(what="x"), f"order {name}")
            await trio.sleep(100)
            assert told == []
            log.gate.set()
            await trio.sleep(1)
            assert sorted(line.split(": ")[1] for line in told) == [
                "'x' was said",
                "False at 1",
                "True at 1",
                "True at 1",
            ]
            assert len(log.appends) == 2


async def test_what_waits_is_appended_in_one_call(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        log = TestLog(real)
        async with running(log, [Counters()]) as runtime:
            await gather(*[lambda: runtime.tell("counter", "c", Add(amount=1))] * 300)
            assert (await runtime.state("counter", "c")).state.total == 300
            assert len(log.appends) <= 3


async def test_a_rejection_without_events_writes_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with living(tmp_path / "log.db", [Counters()]) as (runtime, log):
        with pytest.raises(Rejected, match="below 1"):
            await runtime.tell("counter", "c", Add(amount=0))
        assert await log.row("c") is None
        assert runtime.slots == {}


async def test_a_repeat_is_answered_as_the_first_time(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with living(tmp_path / "log.db", [Orders(Shop())]) as (runtime, log):
        first = await runtime.tell("order", "order_1", Order(what="a lamp"))
        await trio.sleep(100)
        again = await runtime.tell("order", "order_1", Order(what="a lamp"))
        assert (first.changed, again.changed, again.status) == (True, False, "arrived")
        with pytest.raises(Rejected, match="order of 'a lamp'"):
            await runtime.tell("order", "order_1", Order(what="a chair"))
        assert (await types_of(log, "order_1")).count("Ordered") == 1


async def test_a_full_mailbox_pushes_back_in_bytes(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    limits = RuntimeLimits(mailbox_bytes=10_000)
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        log = TestLog(real)
        log.gate = trio.Event()
        async with running(log, [Counters()], limits=limits) as runtime, trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(lambda: runtime.tell("counter", "c", Add(amount=1), size=1_000))
            await trio.sleep(1)
            slot = runtime.slots["c"]
            assert 0 < slot.commands_bytes <= 10_000
            assert len(slot.commands) == 10
            log.gate.set()
            log.gate = None
            await trio.sleep(1)
            assert (await runtime.state("counter", "c")).state.total == 50
            assert slot.commands_bytes == 0
            answer = await runtime.tell("counter", "c", Add(amount=1), size=1_000_000)
            assert answer.changed, "one that is larger than the mailbox goes alone"


async def test_who_waits_at_a_full_mailbox_is_told_when_the_service_closes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    limits = RuntimeLimits(mailbox_bytes=1)
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        log = TestLog(real)
        log.gate = trio.Event()
        async with running(log, [Counters()], limits=limits) as runtime, trio.open_nursery() as nursery:
            answers: list[outcome.Outcome[Any]] = []

            async def tell() -> None:
                answers.append(await outcome.acapture(runtime.tell, "counter", "c", Add(amount=1)))

            for _ in range(5):
                nursery.start_soon(tell)
            await trio.sleep(1)
            nursery.start_soon(lambda: runtime.drain(grace_s=1, purchase_grace_s=1))
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert [type(answer.error) for answer in answers if isinstance(answer, outcome.Error)] == [Closed] * 4
            log.gate.set()
        assert len(answers) == 5


async def test_only_the_loser_of_a_key_is_answered(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    kinds = Scripts()
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "winner", Say(text="x"), key="k")
        answers = await gather(
            lambda: runtime.tell("script", "loser", Say(text="x"), key="k"),
            lambda: runtime.tell("script", "loser", Say(text="y")),
            lambda: runtime.tell("script", "other", Say(text="z"), key="free"),
        )
        assert isinstance(answers[0], outcome.Error)
        assert isinstance(answers[0].error, KeyTaken)
        assert answers[0].error.holder.actor == "winner"
        assert answers[1].unwrap().changed
        assert answers[2].unwrap().changed
        assert (await runtime.state("script", "loser")).state.said == ["y"]
        await assert_verifies(log, [kinds])


async def test_a_key_that_was_not_claimed_does_not_take_the_blame(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The first command with a key is refused by the kind; the second one's key is taken: each hears its own."""
    async with living(tmp_path / "log.db", [Counters()]) as (runtime, _):
        await runtime.tell("counter", "winner", Add(amount=1), key="k")
        refused, loser = await gather(
            lambda: runtime.tell("counter", "c", Add(amount=0), key="mine"),
            lambda: runtime.tell("counter", "c", Add(amount=1), key="k"),
        )
        assert isinstance(refused, outcome.Error)
        assert isinstance(refused.error, Rejected)
        assert isinstance(loser, outcome.Error)
        assert isinstance(loser.error, KeyTaken)


@pytest.mark.parametrize("text", ["bug", "poison"], ids=["in decide", "in evolve"])
async def test_a_bug_in_a_kind_hurts_only_the_command_that_meets_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, text: str
) -> None:
    kinds = Scripts()
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        answers = await gather(
            *[lambda number=number: runtime.tell("script", "a", Say(text=str(number))) for number in range(10)],
            lambda: runtime.tell("script", "a", Say(text=text)),
            *[lambda number=number: runtime.tell("script", "a", Say(text=str(number))) for number in range(10, 20)],
            lambda: runtime.tell("script", "b", Say(text="x")),
        )
        assert isinstance(answers[10], outcome.Error)
        assert isinstance(answers[10].error, Defect)
        assert all(isinstance(answer, outcome.Value) for number, answer in enumerate(answers) if number != 10)
        said = (await runtime.state("script", "a")).state.said
        assert sorted(said, key=int) == [str(number) for number in range(20)]
        await assert_verifies(log, [kinds])


async def test_an_actor_answers_its_own_tenant_and_kind_only(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with living(tmp_path / "log.db", [Scripts(), Counters()], limits=RuntimeLimits(resident_bytes=0)) as (
        runtime,
        log,
    ):
        await runtime.tell("script", "a", Say(text="x"), tenant="acme")
        for kind, tenant in (("script", ""), ("script", "other"), ("counter", "acme")):
            with pytest.raises(NotFound):
                await runtime.tell(kind, "a", Say(text="y"), tenant=tenant)
            with pytest.raises(NotFound):
                await runtime.state(kind, "a", tenant)
        assert len(await types_of(log, "a")) == 1
    async with living(tmp_path / "log.db", [Scripts()]) as (runtime, _):
        await runtime.tell("script", "a", Say(text="z"), tenant="acme")
        with pytest.raises(NotFound):
            await runtime.tell("script", "a", Say(text="y"), tenant="")
        with pytest.raises(NotFound):
            await runtime.state("script", "a", "")


async def test_state_never_shows_what_is_not_committed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        log = TestLog(real)
        async with running(log, [Counters()]) as runtime, trio.open_nursery() as nursery:
            await runtime.tell("counter", "c", Add(amount=1))
            log.gate = trio.Event()
            nursery.start_soon(lambda: runtime.tell("counter", "c", Add(amount=10)))
            await trio.sleep(1)
            assert (await runtime.state("counter", "c")).state.total == 1
            log.gate.set()
            await trio.sleep(1)
            assert (await runtime.state("counter", "c")).state.total == 11


async def test_a_caller_that_leaves_loses_its_answer_only(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Counters.codec]) as real:
        log = TestLog(real)
        log.gate = trio.Event()
        async with running(log, [Counters()]) as runtime:
            with trio.move_on_after(1):
                await runtime.tell("counter", "c", Add(amount=1))
            log.gate.set()
            assert (await runtime.tell("counter", "c", Add(amount=1))).version == 2
