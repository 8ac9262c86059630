"""Timers are part of an actor's state: they survive, fire once, stop when nobody asks for them, and follow UTC."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.actors.kind import Again, Effect, Port
from perdure.actors.purchase import jitter
from perdure.actors.runtime.schedule import CAPACITY, HORIZON_US, Schedule
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.actors.living import EPOCH_US, assert_verifies, living, running, types_of, virtual_us
from tests.actors.scripted import Say, Scripts, TestLog, Unwant, Want
from tests.actors.toys import Order, Orders, Shop

SECOND_US = 1_000_000
HOUR_S = 3_600


class Bell(Scripts):
    """Effects that ring once: they note the time and take themselves away."""

    def __init__(self) -> None:
        super().__init__()
        self.rings: list[tuple[str, float]] = []

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        self.rings.append((effect.id, trio.current_time()))
        await port.report(Unwant(id=effect.id))
        return None


@pytest.mark.trio
async def test_s2_a_timer_persists_fires_once_and_is_gone(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bell, path = Bell(), tmp_path / "log.db"
    async with living(path, [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 1_000 * SECOND_US))
        await trio.sleep(400)
    for _ in range(5):
        async with living(path, [bell]):
            await trio.sleep(300)
    assert [(effect, round(at)) for effect, at in bell.rings] == [("ring", 1_000)]
    async with living(path, [bell]) as (_, log):
        row = await log.row("a")
        assert row is not None
        assert row.standing.next_due is None


@pytest.mark.trio
async def test_s3_a_timer_that_is_cancelled_is_removed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    bell = Bell()
    async with living(tmp_path / "log.db", [bell]) as (runtime, log):
        for delay_s in (100, 5_000):
            await runtime.tell("script", "a", Want(id=f"{delay_s}", not_before=virtual_us() + delay_s * SECOND_US))
            await runtime.tell("script", "a", Unwant(id=f"{delay_s}"))
        row = await log.row("a")
        assert row is not None
        assert row.standing.next_due is None
        await trio.sleep(10_000)
        assert bell.rings == []


@pytest.mark.trio
async def test_s4_a_repeating_effect_goes_on_until_nobody_asks_for_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts()

    async def again(effect: Effect, port: Port) -> Again:
        await trio.lowlevel.checkpoint()
        return Again(60)

    kinds.acts["tick"] = again
    async with living(tmp_path / "log.db", [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="tick"))
        await trio.sleep(HOUR_S + 1)
        assert len(kinds.started) == 61
        await runtime.tell("script", "a", Unwant(id="tick"))
        await trio.sleep(HOUR_S)
        assert len(kinds.started) == 61
        await assert_verifies(log, [kinds])


@pytest.mark.trio
async def test_s5_what_is_overdue_fires_at_once_on_start(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bell, path = Bell(), tmp_path / "log.db"
    async with living(path, [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 100 * SECOND_US))
    await trio.sleep(10_000)
    async with living(path, [bell]):
        await trio.sleep(0.001)
    assert [(effect, round(at)) for effect, at in bell.rings] == [("ring", 10_000)]


@pytest.mark.trio
async def test_w10_a_raising_poll_is_tried_again_and_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    shop = Shop()
    shop.poll_failures.extend(ValueError("no answer") for _ in range(3))
    async with living(tmp_path / "log.db", [Orders(shop)]) as (runtime, log):
        await runtime.tell("order", "order_1", Order(what="x"))
        await trio.sleep(100)
        happened = await types_of(log, "order_1")
        assert happened.count("EffectFailed") == 3
        assert happened[-2:] == ["EffectRecovered", "Arrived"]


@pytest.mark.trio
async def test_w11_restarts_add_no_second_timer(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    shop = Shop()
    shop.polls_until_arrival, shop.poll_after_s = 1_000, 60.0
    path = tmp_path / "log.db"
    async with living(path, [Orders(shop)]) as (runtime, _):
        await runtime.tell("order", "order_1", Order(what="x"))
        await trio.sleep(1)
    for _ in range(10):
        async with living(path, [Orders(shop)]) as (runtime, _):
            await trio.sleep(30)
    async with living(path, [Orders(shop)]):
        before = shop.polls["receipt-1"]
        await trio.sleep(600)
        assert shop.polls["receipt-1"] - before == 10


@pytest.mark.trio
async def test_w18_timers_are_deadlines_that_do_not_drift(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Each asks for the next at a fixed time; slow work between them moves none of them."""
    bell = Bell()
    bell.acts = {}
    async with living(tmp_path / "log.db", [bell]) as (runtime, _):
        start = virtual_us()
        for number in range(1, 11):
            await runtime.tell("script", "a", Want(id=f"{number}", not_before=start + number * 90 * SECOND_US))
            await trio.sleep(7)
        await trio.sleep(2_000)
        assert [round(at, 2) for _, at in bell.rings] == [number * 90.0 for number in range(1, 11)]


@pytest.mark.trio
async def test_w18_a_wait_of_two_months_does_not_fire_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bell = Bell()
    async with living(tmp_path / "log.db", [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 60 * 86_400 * SECOND_US))
        await trio.sleep(59 * 86_400)
        assert bell.rings == []
        await trio.sleep(2 * 86_400)
        assert [round(at) for _, at in bell.rings] == [60 * 86_400]


def test_w18_jitter_is_a_hash_not_a_draw() -> None:
    factors = {jitter(f"batch_{number}", "poll/1") for number in range(200)}
    assert len(factors) > 50
    assert 0.9 <= min(factors) < 0.92
    assert 1.08 < max(factors) <= 1.1
    assert jitter("batch_1", "poll/1") == jitter("batch_1", "poll/1") != jitter("batch_1", "poll/2")


@pytest.mark.trio
async def test_w77_a_failed_timer_is_kept_and_says_so(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Fired and failed, killed, restarted: it is tried again, each failure an event, and nothing is lost or doubled."""
    path = tmp_path / "log.db"
    kinds = Scripts()

    async def fails(effect: Effect, port: Port) -> None:
        raise ValueError("not now")

    async def works(effect: Effect, port: Port) -> None:
        await port.report(Unwant(id="ring"))

    kinds.acts["ring"] = fails
    async with living(path, [kinds]) as (runtime, log):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 10 * SECOND_US))
        await trio.sleep(11)
        assert (await types_of(log, "a"))[1:] == ["EffectFailed", "EffectFailed"]
    kinds.acts["ring"] = works
    async with living(path, [kinds]) as (runtime, log):
        await trio.sleep(60)
        assert (await types_of(log, "a"))[3:] == ["script.Unwanted"]


@pytest.mark.trio
async def test_w77_two_starts_run_a_timer_once(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A second process cannot run beside the first; one after the other they fire a timer once."""
    bell, path = Bell(), tmp_path / "log.db"
    async with living(path, [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 10 * SECOND_US))
        await trio.sleep(10.5)
    async with living(path, [bell]):
        await trio.sleep(100)
    assert len(bell.rings) == 1


@pytest.mark.trio
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
async def test_a_clock_that_jumps_by_an_hour(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, jump_s: int
) -> None:
    """UTC is what counts. A jump is noticed within a minute, and no record is dated before the one before it."""
    jumped = 0
    bell = Bell()

    def clock() -> int:
        return virtual_us() + jumped

    async with living(tmp_path / "log.db", [bell], clock=clock) as (runtime, log):
        await runtime.tell("script", "a", Want(id="soon", not_before=clock() + 1_800 * SECOND_US))
        await runtime.tell("script", "a", Want(id="later", not_before=clock() + 2 * HOUR_S * SECOND_US))
        await trio.sleep(600)
        jumped = jump_s * SECOND_US
        await runtime.tell("script", "a", Say(text="after the jump"))
        await trio.sleep(61)
        assert [effect for effect, _ in bell.rings] == (["soon"] if jump_s > 0 else [])
        await trio.sleep(5 * HOUR_S)
        expected = {"soon": 600, "later": HOUR_S} if jump_s > 0 else {"soon": 1_800 + HOUR_S, "later": 3 * HOUR_S}
        for effect, at in bell.rings:
            assert expected[effect] <= at <= expected[effect] + 61, effect
        assert len(bell.rings) == 2
        (stream,) = await log.load(["a"])
        times = [at for _, at, _ in stream.events]
        assert times == sorted(times)


@pytest.mark.trio
async def test_a_poll_goes_on_after_the_clock_was_put_back(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The event before was dated an hour ahead; a wait of a minute still counts from the clock as it is."""
    shop = Shop()
    shop.polls_until_arrival, shop.poll_after_s = 1_000, 60.0
    jumped = HOUR_S * SECOND_US
    async with living(tmp_path / "log.db", [Orders(shop)], clock=lambda: virtual_us() + jumped) as (runtime, _):
        await runtime.tell("order", "order_1", Order(what="x"))
        jumped = 0
        await trio.sleep(600)
        assert shop.polls["receipt-1"] >= 9


@pytest.mark.trio
async def test_a_timer_beyond_the_horizon_fires_although_its_actor_stays_in_memory(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    bell = Bell()
    async with living(tmp_path / "log.db", [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 3 * HORIZON_US))
        assert "a" in runtime.slots
        assert runtime.counts()["scheduled"] == 0
        await trio.sleep(3 * HORIZON_US // SECOND_US + 1)
        assert [round(at) for _, at in bell.rings] == [3 * HORIZON_US // SECOND_US]


@pytest.mark.trio
async def test_nothing_is_read_while_nothing_is_due(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_log(tmp_path / "log.db", disk=InlineDisk(), codecs=[Scripts.codec]) as real:
        log = TestLog(real)
        async with running(log, [Scripts()]) as runtime:
            await runtime.tell("script", "a", Want(id="ring", not_before=virtual_us() + 7 * 86_400 * SECOND_US))
            log.loads.clear()
            await trio.sleep(6 * 86_400)
            assert log.loads == []


def test_the_schedule_keeps_one_time_for_each_actor_and_no_more() -> None:
    schedule = Schedule()
    schedule.horizon = 1_000
    for at in (50, 20, 90):
        schedule.set("a", at, "k", "")
    schedule.set("b", 60, "k", "")
    schedule.set("c", 5_000, "k", "")
    assert (len(schedule), schedule.knows("c")) == (2, False)
    assert [due.actor for due in schedule.take(55, 10)] == []
    assert [due.actor for due in schedule.take(95, 10)] == ["b", "a"]
    schedule.set("a", 5, "k", "")
    schedule.set("a", None, "k", "")
    assert schedule.take(100, 10) == []


def test_the_schedule_stays_small_while_times_move() -> None:
    schedule = Schedule()
    schedule.horizon = EPOCH_US
    for number in range(100_000):
        schedule.set(f"{number % 10}", number, "k", "")
    assert len(schedule) == 10
    assert len(schedule._heap) < 2_000  # pyright: ignore[reportPrivateUsage]


def test_the_schedule_is_short_when_its_horizon_is_near_and_it_has_room() -> None:
    schedule = Schedule()
    schedule.horizon = HORIZON_US
    assert not schedule.short(0)
    assert schedule.short(HORIZON_US)
    for number in range(CAPACITY // 2):
        schedule.set(str(number), 1, "k", "")
    assert not schedule.short(HORIZON_US)


@pytest.mark.trio
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "dormant"])
async def test_an_effect_that_waits_can_be_hastened(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, resident: bool
) -> None:
    bell, path = Bell(), tmp_path / "log.db"
    async with living(path, [bell]) as (runtime, _):
        for name in ("ring/1", "ring/2"):
            await runtime.tell("script", "a", Want(id=name, not_before=virtual_us() + HOUR_S * SECOND_US))
        if resident:
            runtime.hasten("script", "a", "ring/1")
            await trio.sleep(1)
            assert [effect for effect, _ in bell.rings] == ["ring/1"]
    async with living(path, [bell]) as (runtime, _):
        runtime.hasten("script", "a", "ring/1")
        runtime.hasten("script", "nobody", "ring/1")
        await trio.sleep(1)
        assert [effect for effect, _ in bell.rings] == ["ring/1"]
        assert bell.rings[0][1] < 10
        await trio.sleep(2 * HOUR_S)
        assert [effect for effect, _ in bell.rings] == ["ring/1", "ring/2"]


@pytest.mark.trio
async def test_an_effect_that_runs_is_hastened_once_more_and_only_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    kinds = Scripts()
    looks: list[float] = []

    async def look(effect: Effect, port: Port) -> Again:
        looks.append(trio.current_time())
        await trio.sleep(5)
        return Again(600)

    kinds.acts["look"] = look
    async with living(tmp_path / "log.db", [kinds]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="look"))
        await trio.sleep(1)
        for _ in range(3):
            runtime.hasten("script", "a", "look")
        await trio.sleep(599)
        assert [round(at) for at in looks] == [0, 5]
        await trio.sleep(60)
        assert [round(at) for at in looks] == [0, 5, 610]


@pytest.mark.trio
async def test_a_purchase_keeps_to_its_time(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    bell = Bell()
    async with living(tmp_path / "log.db", [bell]) as (runtime, _):
        await runtime.tell("script", "a", Want(id="buy", not_before=virtual_us() + 100 * SECOND_US, purchase=True))
        runtime.hasten("script", "a", "buy")
        await trio.sleep(200)
        assert [round(at) for _, at in bell.rings] == [100]
