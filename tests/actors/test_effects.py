"""What goes on outside follows what is committed: started once, stopped, failed, tried again, parked, owed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.actors.kind import Again, Effect, Port
from perdure.actors.runtime.supervision import LIMIT
from perdure.events.command import Revive
from perdure.events.errors import DiskFull, Rejected, Superseded
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.actors.living import EPOCH_US, assert_verifies, living, records_of, running, types_of, virtual_us
from tests.actors.scripted import Act, Hand, Mean, Said, Say, Scripts, TestLog, Unwant, Want
from tests.actors.toys import Cancel, Note, Order, Orders, Shop

pytestmark = pytest.mark.trio

ORDERED = Order(what="a lamp")


async def test_a_busy_mailbox_buys_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    shop = Shop()
    shop.answer_s = 5.0
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", ORDERED)
        for number in range(200):
            await runtime.tell("order", "order_1", Note(text=str(number)))
            await trio.sleep(0.05)
        assert len(shop.account) == 1
        await trio.sleep(60)
        assert (await types_of(log, "order_1")).count("Bought") == 1
        assert (await runtime.state("order", "order_1")).state.phase == "arrived"


async def test_running_means_until_committed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Its task has ended, its last report waits behind others in the queue: nothing may start it again."""
    kinds = Scripts()

    async def act(effect: Effect, port: Port) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(port.report, Say(text=f"note {number}"))
        await port.report(Unwant(id="work"))

    kinds.acts["work"] = act
    async with living(tmp_path / "log.db", [kinds]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="work"))
        for number in range(50):
            await runtime.tell("script", "a", Say(text=str(number)))
        await trio.sleep(10)
        assert kinds.started == ["work"]


async def test_an_ended_effect_whose_report_waits_is_not_started_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """It leaves without waiting for its answer, while a turn of its actor hangs in the log: it counts as running."""
    go = trio.Event()

    async def act(effect: Effect, port: Port) -> None:
        await go.wait()
        with trio.move_on_after(0.1):
            await port.report(Unwant(id="work"))

    kinds = Scripts({"work": act})
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[kinds.codec]) as real:
        log = TestLog(real)
        async with running(log, [kinds]) as runtime, trio.open_nursery() as nursery:
            await runtime.tell("script", "a", Want(id="work"))
            await trio.sleep(1)
            log.gate = trio.Event()
            nursery.start_soon(runtime.tell, "script", "a", Say(text="x"))
            await trio.sleep(1)
            go.set()
            await trio.sleep(1)
            assert runtime.counts()["effects"] == 0, "its task has ended"
            log.gate.set()
            await trio.sleep(10)
            assert kinds.started == ["work"]
            assert await types_of(real, "a") == ["script.Wanted", "script.Said", "script.Unwanted"]


async def test_nothing_starts_from_what_is_not_committed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Its lane gets room while a change of the effect hangs in the log, and then that change fails."""
    begun: list[tuple[str, bool]] = []

    async def act(effect: Effect, port: Port) -> None:
        begun.append((effect.id, effect.intended))
        await trio.sleep(5)
        await port.report(Unwant(id=effect.id))

    kinds = Scripts({"first": act, "second": act})
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[kinds.codec]) as real:
        log = TestLog(real)
        async with running(log, [kinds], room=1) as runtime, trio.open_nursery() as nursery:
            await runtime.tell("script", "a", Want(id="first"))
            await runtime.tell("script", "b", Want(id="second"))
            await trio.sleep(1)
            gate = log.gate = trio.Event()

            async def mean() -> None:
                with pytest.raises(DiskFull):
                    await runtime.tell("script", "b", Mean(id="second"))

            nursery.start_soon(mean)
            await trio.sleep(1)
            log.gate = None  # the other actor's appends pass
            await trio.sleep(10)
            assert begun == [("first", False)], "room came, and the state runs ahead of the log"
            log.errors.extend([DiskFull("full"), DiskFull("full")])
            gate.set()
            await trio.sleep(10)
            assert begun == [("first", False), ("second", False)]


async def test_a_report_that_nobody_asks_for_is_superseded(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    raised: list[Exception] = []

    async def act(effect: Effect, port: Port) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            try:
                await port.report(Say(text="late"))
            except Superseded as error:
                raised.append(error)

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(1)
        await runtime.tell("script", "a", Unwant(id="work"))
        await trio.sleep(10)
        assert len(raised) == 1
        assert "script.Said" not in await types_of(log, "a")


async def test_something_bought_that_nobody_asks_for_is_an_orphan(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def act(effect: Effect, port: Port) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            await port.report(Hand(text="a receipt"))

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(1)
        await runtime.tell("script", "a", Unwant(id="work"))
        await trio.sleep(10)
        assert (await runtime.state("script", "a")).state.said == ["orphan of work: a receipt"]


async def test_what_is_not_asked_for_any_more_is_stopped(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    stopped = trio.Event()

    async def act(effect: Effect, port: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(1)
        await runtime.tell("script", "a", Unwant(id="work"))
        with trio.fail_after(1):
            await stopped.wait()
        assert await types_of(log, "a") == ["script.Wanted", "script.Unwanted"]


async def failing(effect: Effect, port: Port) -> None:
    raise ValueError("no\nsuch luck")


async def grouped(effect: Effect, port: Port) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failing, effect, port)


async def silent(effect: Effect, port: Port) -> None:
    await trio.lowlevel.checkpoint()


async def saying(effect: Effect, port: Port) -> None:
    await port.report(Say(text=f"at {port.now()}"))


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(failing, id="it raises"),
        pytest.param(grouped, id="it raises in a nursery of its own"),
        pytest.param(silent, id="it ends silently"),
        pytest.param(saying, id="it says something that changes nothing"),
    ],
)
async def test_a_failing_effect_waits_longer_each_time_and_is_parked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, act: Act
) -> None:
    kinds = Scripts({"work": act})
    at: list[float] = []
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"))
        await runtime.tell("script", "other", Want(id="rest", not_before=virtual_us() + 500_000_000))
        while len(kinds.started) < LIMIT:
            if len(at) < len(kinds.started):
                at.append(trio.current_time())
            await trio.sleep(0.125)
        await trio.sleep(3_600)
        assert len([effect for effect in kinds.started if effect == "work"]) == LIMIT
        waits = [round((later - earlier) * 8) / 8 for earlier, later in itertools.pairwise(at)]
        assert waits == sorted(waits)
        assert waits[0] == pytest.approx(0.5, abs=0.13)
        assert waits[-1] == pytest.approx(16, abs=0.26)
        happened = [type_ for type_ in await types_of(log, "a") if type_ != "script.Said"]
        assert happened == ["script.Wanted", *["EffectFailed"] * (LIMIT - 1), "Parked"]
        row = await log.row("a")
        assert row is not None
        assert (row.standing.status, row.standing.next_due) == ("parked", None)
        await runtime.tell("script", "other", Say(text="the others go on"))
        await assert_verifies(log, [kinds])


async def test_parking_keeps_the_traceback_and_one_line_of_the_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with living(tmp_path / "log.db", [Scripts({"work": failing})]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(600)
        parked = (await runtime.state("script", "a")).supervision.parked
        assert parked is not None
        assert parked.error == "ValueError: no such luck"
        assert "in failing" in parked.traceback


async def test_revived_it_starts_again_with_a_clean_record(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts({"work": failing})

    async def mended(effect: Effect, port: Port) -> None:
        await port.report(Unwant(id="work"))

    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        with pytest.raises(Rejected, match="not parked"):
            await runtime.tell("script", "a", Revive())
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(600)
        assert (await runtime.tell("script", "a", Say(text="still answers"))).status == "parked"
        kinds.acts["work"] = mended
        assert (await runtime.tell("script", "a", Revive())).status == "open"
        await trio.sleep(1)
        assert (await types_of(log, "a"))[-2:] == ["Revived", "script.Unwanted"]


async def test_parked_actors_stay_parked_over_a_restart(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    kinds = Scripts({"work": failing})
    async with living(tmp_path / "log.db", [kinds]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(600)
    async with living(tmp_path / "log.db", [kinds]) as (runtime, _):
        await trio.sleep(600)
        assert len(kinds.started) == LIMIT


async def test_parking_lets_an_owed_purchase_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def buy(effect: Effect, port: Port) -> None:
        await port.report(Mean(id="buy"))
        await trio.sleep(600)
        await port.report(Hand(text="a receipt"))
        await port.report(Unwant(id="buy"))

    async with living(tmp_path / "log.db", [Scripts({"buy": buy, "work": failing})]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="buy", purchase=True))
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(500)
        assert "Parked" in await types_of(log, "a")
        await trio.sleep(200)
        state = (await runtime.state("script", "a")).state
        assert state.said == ["a receipt"]
        assert "buy" not in state.wanted


async def test_a_poll_that_learns_nothing_writes_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.polls_until_arrival = 20
    kinds = [Orders(shop)]
    async with living(tmp_path / "log.db", kinds) as (runtime, log):
        await runtime.tell("order", "order_1", ORDERED)
        await trio.sleep(29)
        before = await types_of(log, "order_1")
        assert shop.polls == {"receipt-1": 1}
        await trio.sleep(5)
        row = await log.row("order_1")
        assert row is not None
        assert row.standing.next_due is not None
        assert EPOCH_US + 59_000_000 <= row.standing.next_due <= EPOCH_US + 61_000_000
        await trio.sleep(500)
        assert shop.polls["receipt-1"] > 10
        assert await types_of(log, "order_1") == before
        await assert_verifies(log, kinds)


@pytest.mark.parametrize("noted", [False, True], ids=["nothing happened since", "an event happened since"])
async def test_the_wait_of_a_poll_survives_passivation_and_restart(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, noted: bool
) -> None:
    shop = Shop()
    shop.polls_until_arrival, shop.poll_after_s = 5, 300.0
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", ORDERED)
        await trio.sleep(10)
        assert shop.polls == {"receipt-1": 1}
        if noted:
            await runtime.tell("order", "order_1", Note(text="writes the row again"))
        row = await log.row("order_1")
        assert row is not None
        assert row.standing.next_due is not None
        assert row.standing.next_due > virtual_us()
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, _):
        await runtime.tell("order", "order_1", Note(text="loads it"))
        await trio.sleep(200)
        assert shop.polls == {"receipt-1": 1}
        await trio.sleep(120)
        assert shop.polls == {"receipt-1": 2}


async def test_a_poll_that_recovers_is_not_parked_for_old_failures(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.polls_until_arrival = 1_000_000
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", ORDERED)
        for _ in range(3 * LIMIT):
            await trio.sleep(100)
            shop.poll_failures.append(ValueError("a hiccup"))
        await trio.sleep(100)
        happened = await types_of(log, "order_1")
        assert happened.count("EffectFailed") == happened.count("EffectRecovered") == 3 * LIMIT
        assert {(await runtime.state("order", "order_1")).supervision.parked} == {None}


@pytest.mark.parametrize("wire_s", [0.0, 10.0], ids=["answered at once", "answered after the cancel"])
async def test_a_purchase_is_owed_through_cancel(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, wire_s: float
) -> None:
    shop = Shop()
    shop.answer_s = wire_s
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", ORDERED)
        await trio.sleep(5)
        assert (await runtime.tell("order", "order_1", Cancel())).changed
        await trio.sleep(60)
        assert (len(shop.account), shop.returned) == (1, ["receipt-1"])
        assert (await types_of(log, "order_1"))[-1] == "Returned"


async def test_cancelled_before_the_intent_nothing_is_sent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.answer_s = 100.0
    async with living(tmp_path / "log.db", [Orders(shop)], room=1) as (runtime, log):
        await runtime.tell("order", "first", ORDERED)
        await trio.sleep(1)
        await runtime.tell("order", "second", ORDERED)
        await trio.sleep(1)
        assert await types_of(log, "second") == ["Ordered"]
        assert (await runtime.tell("order", "second", Cancel())).status == "cancelled"
        await trio.sleep(600)
        assert [identity for identity, _ in shop.account] == ["identity-first-0"]


async def test_reports_pass_a_full_mailbox(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A report queued behind a hundred commands is judged in the next turn, before them."""
    order: list[str] = []
    go = trio.Event()

    async def act(effect: Effect, port: Port) -> None:
        await go.wait()
        await port.report(Say(text="the report"))
        await port.report(Unwant(id="work"))

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log), trio.open_nursery() as nursery:
        await runtime.tell("script", "a", Want(id="work"))
        await trio.sleep(1)
        slot = runtime.slots["a"]
        slot.driving = True  # as if a turn were under way
        for number in range(100):
            nursery.start_soon(runtime.tell, "script", "a", Say(text=str(number)))
        go.set()
        await trio.sleep(1)
        slot.driving = False
        runtime.kick(slot)
        await trio.sleep(1)
        codec = Scripts.codec
        for record in await records_of(log, "a"):
            event = codec.decode(record.payload)
            if isinstance(event, Said):
                order.append(event.text)
        assert order[0] == "the report"
        assert len(order) == 101


async def test_an_effect_reads_its_own_actors_events(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    heard: list[tuple[int, str]] = []

    async def act(effect: Effect, port: Port) -> None:
        async for version, event in port.events(after=1):
            if isinstance(event, Said):
                heard.append((version, event.text))

    async with living(tmp_path / "log.db", [Scripts({"listen": act})]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="listen"))
        for number in range(5):
            await runtime.tell("script", "a", Say(text=str(number)))
            await runtime.tell("script", "b", Say(text=str(number)))
        await trio.sleep(1)
        assert heard == [(number + 2, str(number)) for number in range(5)]


async def test_an_effect_tells_another_actor(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def act(effect: Effect, port: Port) -> Again | None:
        assert (port.actor, port.tenant) == ("a", "acme")
        await port.tell("script", "b", Say(text="hello"))
        await port.report(Unwant(id="work"))
        return None

    async with living(tmp_path / "log.db", [Scripts({"work": act})]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="work"), tenant="acme")
        await trio.sleep(1)
        assert (await runtime.state("script", "b", "acme")).state.said == ["hello"]
        row = await log.row("b")
        assert row is not None
        assert row.tenant == "acme"
        assert (await records_of(log, "b"))[0].trace == "a"
