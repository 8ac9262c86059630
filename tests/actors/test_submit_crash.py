"""Many callers wait in one window, the process dies, and as many others ask by the same keys: one purchase."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import perdure
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

CALLERS = 1_000
HOUR_S = 3_600.0
CONFIG = perdure.Config(batching=perdure.BatchStrategy(window_s=60.0))


class Crowd:
    """`CALLERS` callers, each a task of its own with a key of its own. `told` is what each heard, once."""

    def __init__(self) -> None:
        self.waiting = 0
        self.all_wait = trio.Event()
        self.told: dict[int, str] = {}

    async def ask(self, service: perdure.Service, number: int) -> None:
        """One caller: submits, then waits for the answer."""
        handle = await service.submit(
            perdure.Prompt(f"question {number}", model="m"), provider="openai", via="batch", key=f"k-{number}"
        )
        self.waiting += 1
        if self.waiting == CALLERS:
            self.all_wait.set()
        text = (await handle.result()).text
        assert number not in self.told, "a caller was told twice"
        self.told[number] = text

    async def come(self, service: perdure.Service) -> None:
        """All of them."""
        async with trio.open_nursery() as nursery:
            for number in range(CALLERS):
                nursery.start_soon(self.ask, service, number)


def check_account(simulated: Simulation) -> None:
    """One batch of all, and the file that it was made from."""
    assert simulated.account.bought_twice() == []
    assert Counter(str(each.kind) for each in simulated.account.purchases()) == {"file": 1, "batch": 1}
    (batch,) = [each for each in simulated.account.purchases() if each.kind == "batch"]
    assert batch.units == CALLERS


@pytest.mark.parametrize(
    "after_s", [0.0, 61.0, 1_800.0, HOUR_S], ids=["collecting", "just closed", "at the provider", "as it ends"]
)
async def test_a_crash_with_a_thousand_waiting_callers_and_a_thousand_new_ones(
    autojump_clock: Clock, after_s: float
) -> None:
    async with simulation(batch_s=HOUR_S) as simulated:
        before, after = Crowd(), Crowd()
        async with simulated.open(config=CONFIG) as service, trio.open_nursery() as nursery:
            nursery.start_soon(before.come, service)
            await before.all_wait.wait()
            await trio.sleep(after_s)
            await simulated.crash()
        assert before.told == {}
        async with simulated.open(config=CONFIG) as service:
            await after.come(service)
            (await service.log.verify()).raise_if_bad()
            for number in (0, CALLERS - 1):
                handle = await service.find(f"k-{number}")
                assert handle is not None
                assert (await handle.result()).text == after.told[number]
        assert after.told.keys() == set(range(CALLERS))
        assert all(after.told.values())
        check_account(simulated)


async def test_a_crash_while_callers_come_leaves_each_where_it_was(autojump_clock: Clock) -> None:
    """Those whose line is in the log have it; the others have a line of the next window: nobody has two."""
    async with simulation(batch_s=HOUR_S) as simulated:
        before, after = Crowd(), Crowd()
        async with simulated.open(config=CONFIG) as service, trio.open_nursery() as nursery:
            nursery.start_soon(before.come, service)
            while not before.waiting:
                await trio.lowlevel.checkpoint()
            await simulated.crash()
        async with simulated.open(config=CONFIG) as service:
            await after.come(service)
            lines = [(await service.find(f"k-{number}")) for number in range(CALLERS)]
            assert len({line.id for line in lines if line is not None}) == CALLERS
            (await service.log.verify()).raise_if_bad()
        assert after.told.keys() == set(range(CALLERS))
        assert simulated.account.bought_twice() == []
        assert sum(each.units for each in simulated.account.purchases() if each.kind == "batch") == CALLERS


async def test_w3_waiting_callers_are_told_when_the_service_leaves(autojump_clock: Clock) -> None:
    """In `submit` and in `result`, whichever way it was sent."""
    told: Counter[str] = Counter()

    async def ask(service: perdure.Service, via: Any) -> None:
        try:
            handle = await service.submit(perdure.Prompt("x", model="m"), provider="openai", via=via)
            await handle.result()
        except perdure.Closed:
            told[via] += 1

    async with simulation() as simulated, trio.open_nursery() as outside:
        hold = faults.Hold(route="POST /openai/v1/responses")
        simulated.faults.arm(hold, hold)
        async with simulated.open(config=CONFIG) as service:
            for via in ("live", "batch", "auto"):
                outside.start_soon(ask, service, via)
            await trio.sleep(30)
            for via in ("live", "batch", "auto"):
                outside.start_soon(ask, service, via)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert told == {"live": 2, "batch": 2, "auto": 2}


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize("how", ["cancelled", "expired"])
async def test_a_live_request_in_flight_ends_for_its_caller_and_what_was_paid_for_is_kept(
    autojump_clock: Clock, how: str
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Hold(route="POST /openai/v1/responses"))
        deadline_s = 30.0 if how == "expired" else None
        handle = await service.submit(perdure.Prompt("x", model="m"), provider="openai", key="k", deadline_s=deadline_s)
        await simulated.holds.wait_held()
        if how == "cancelled":
            assert await handle.cancel() == "cancelled"
        with pytest.raises((perdure.OperationCancelled, perdure.OperationExpired)):
            await handle.result()
        assert handle.status == how
        simulated.holds.release()
        await trio.sleep(5)
        again = await service.submit(perdure.Prompt("x", model="m"), provider="openai", key="k")
        assert (again.id, await again.refresh()) == (handle.id, how)
        assert [record.type async for record in handle.events()][-1] == "RequestAnswered"
        (await service.log.verify()).raise_if_bad()
        assert len(simulated.account.purchases()) == 1


@pytest.mark.parametrize(
    ("deadline_s", "sent"), [(30.0, False), (1_800.0, True)], ids=["before the window closed", "after it"]
)
async def test_a_line_expires_alone(autojump_clock: Clock, deadline_s: float, sent: bool) -> None:
    async with simulation(batch_s=HOUR_S) as simulated, simulated.open(config=CONFIG) as service:
        how: dict[str, Any] = {"provider": "openai", "via": "batch"}
        mine = await service.submit(perdure.Prompt("mine", model="m"), deadline_s=deadline_s, key="k", **how)
        other = await service.submit(perdure.Prompt("other", model="m"), **how)
        begun = trio.current_time()
        with pytest.raises(perdure.OperationExpired):
            await mine.result()
        assert deadline_s <= trio.current_time() - begun < deadline_s + 5
        assert (await other.result()).text
        assert mine.status == "expired"
        assert await mine.cancel() == "too_late"
        (batch,) = [each for each in simulated.account.purchases() if each.kind == "batch"]
        assert batch.units == 1 + sent
        (await service.log.verify()).raise_if_bad()


# ---------------------------------------------------------------- known keys


@pytest.mark.parametrize("via", ["live", "batch"])
async def test_a_known_key_gives_a_handle_that_says_what_is_on_record(autojump_clock: Clock, via: Any) -> None:
    async with simulation(batch_s=HOUR_S) as simulated, simulated.open(config=CONFIG) as service:
        how: dict[str, Any] = {"provider": "openai", "via": via, "key": "k"}
        await service.submit(perdure.Prompt("before it", model="m"), provider="openai", via=via)
        await trio.sleep(5)
        first = await service.submit(perdure.Prompt("x", model="m"), tags={"team": "a"}, **how)
        await trio.sleep(5)
        again = await service.submit(perdure.Prompt("x", model="m"), tags={"team": "b"}, **how)
        found = await service.find("k")
        assert found is not None
        for handle in (again, found, await service.get(first.id)):
            assert (handle.id, handle.key, handle.tags) == (first.id, "k", {"team": "a"})
            assert handle.created_at == first.created_at
