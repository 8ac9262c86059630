"""A service and its provider on a virtual clock: time that passes, trouble, crashes, and what tests may rely on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import perdure
from perdure.adapters.testing.memory import connect_in_memory
from perdure.testing import Simulation, faults, simulation
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio

UPLOAD = "POST /openai/v1/files"
CREATE = "POST /openai/v1/batches"
STATUS = "GET /openai/v1/batches/*"
HOUR_S = 3_600.0
MANY = 2_500  # lines: some of them are durable before the last one is read


def prompts(count: int = 3) -> Iterator[perdure.Prompt]:
    """A few requests."""
    return (
        perdure.Prompt(f"question {number}", model="gpt-6-astra", custom_id=f"r-{number}") for number in range(count)
    )


async def answers(handle: perdure.BatchView) -> dict[str, bool]:
    """Which lines have an answer."""
    async with handle.results() as lines:
        return {line.custom_id: line.ok async for line in lines}


def assert_bought_once(simulated: Simulation) -> None:
    """One file and one batch, by identity and by payload."""
    assert simulated.account.bought_twice() == []
    assert [purchase.kind for purchase in simulated.account.purchases()] == ["file", "batch"]


# ---------------------------------------------------------------- time


async def test_a_day_passes_and_nothing_else_takes_time(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation(batch_s=23 * HOUR_S) as simulated, simulated.open() as service:
        began = simulated.now
        handle = await service.batches.submit(prompts(), provider="openai")
        assert simulated.now == began
        assert await answers(handle) == {"r-0": True, "r-1": True, "r-2": True}
        assert simulated.now - began == timedelta(hours=23)
        assert handle.created_at == began
        assert_bought_once(simulated)
        asked = simulated.requests()
        assert {(seen.status, seen.end) for seen in asked} == {(200, "answered")}, "no limit of time struck"
        polled = [seen.at - began.timestamp() for seen in simulated.requests(STATUS)]
        assert polled == [2.3 * HOUR_S * (n + 1) for n in range(10)]


async def test_no_thread_is_used(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a thread was asked for: the clock would run while it works")

    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    async with simulation() as simulated, simulated.open() as service:
        handle = await service.batches.submit(prompts(), provider="openai")
        assert (await handle.result()).ok == 3
        assert [record async for record in service.log.read()]
        assert (await service.log.verify()).ok
        assert (await service.log.replay()).ok


async def test_a_large_batch_goes_over_the_wire(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        words = "word " * 2_000
        many = (perdure.Prompt(f"{number} {words}", model="gpt-6-astra") for number in range(600))
        handle = await service.batches.submit(many, provider="openai")
        assert (await handle.result()).ok == 600
        assert_bought_once(simulated)


async def test_what_never_comes_ends_the_test(autojump_clock: trio.testing.MockClock) -> None:
    async def wait_in_vain() -> None:
        async with simulation(longest_s=48 * HOUR_S) as simulated, simulated.open() as service:
            await service.batches.submit(prompts(), provider="openai")
            await simulated.holds.wait_held()

    began = trio.current_time()
    with pytest.raises(trio.TooSlowError, match="2 days"):
        await wait_in_vain()
    assert trio.current_time() - began == 48 * HOUR_S


async def test_with_a_real_clock_real_time_passes() -> None:
    with trio.fail_after(20):
        async with simulation(batch_s=0) as simulated, simulated.open() as service:
            handle = await service.batches.submit(prompts(), provider="openai")
            assert (await handle.result()).ok == 3


# ---------------------------------------------------------------- trouble


async def test_retry_after_is_waited_for_to_the_second(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.AnswerStatus(route=CREATE, status=429, headers={"retry-after": "90"}))
        handle = await service.batches.submit(prompts(), provider="openai")
        assert (await handle.result()).ok == 3
        first, second = simulated.requests(CREATE)
        assert (first.status, second.status) == (429, 200)
        assert 90 <= second.at - first.at < 91
        assert_bought_once(simulated)


@pytest.mark.parametrize("route", [UPLOAD, CREATE])
@pytest.mark.parametrize("fault", [faults.ActThenDrop, faults.Drop])
async def test_dropped_connections(autojump_clock: trio.testing.MockClock, route: str, fault: Any) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(fault(route=route))
        handle = await service.batches.submit(prompts(), provider="openai")
        assert (await handle.result()).ok == 3
        assert simulated.requests(route)[0].end == "dropped"
        assert_bought_once(simulated)


async def test_config_is_kept_but_for_addresses(autojump_clock: trio.testing.MockClock) -> None:
    credentials = {"good": perdure.Secret(unique_key()), "bad": perdure.Secret(wrong_key())}
    given = perdure.ProviderConfig(base_url="https://elsewhere.test", credentials=credentials)
    config = perdure.Config(providers={"openai": given}, polling=perdure.Polling(first_s=7.0, every_s=7.0))
    async with simulation(batch_s=20) as simulated, simulated.open(config=config) as service:
        bad = await service.batches.submit(prompts(), provider="openai", credential="bad")
        with pytest.raises(perdure.Timeout):
            await bad.result(timeout_s=60)
        assert await bad.refresh() == "blocked"
        good = await service.batches.submit(prompts(), provider="openai", credential="good")
        assert (await good.result()).ok == 3
        assert len(simulated.requests(STATUS)) == 3


async def test_no_other_host_can_be_reached(nursery: trio.Nursery) -> None:
    nobody: Any = None
    connect = connect_in_memory("provider.test", nobody, nursery)
    with pytest.raises(OSError, match=r"api\.openai\.com:443"):
        await connect("api.openai.com", 443)


async def test_errors_come_out_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    async def fail() -> None:
        async with simulation() as simulated, simulated.open() as service:
            await service.batches.submit(prompts(), provider="openai")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


# ---------------------------------------------------------------- crashes


async def test_a_crash_between_purchase_and_answer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Hold(route=CREATE))
        written: list[str] = []
        killed = True
        async with simulated.open() as service:
            await service.batches.submit(prompts(), provider="openai", key="k")
            await simulated.holds.wait_held()
            assert_bought_once(simulated)
            written = [record.type async for record in service.log.read()]
            await simulated.crash()
            killed = False
        assert killed
        async with simulated.open() as service:
            assert "PurchaseIntended" in written
            assert "BatchSubmitted" not in written
            survived = [record.type async for record in service.log.read()]
            assert survived[: len(written)] == written
            handle = await service.find("k")
            assert isinstance(handle, perdure.BatchHandle)
            assert await answers(handle) == {"r-0": True, "r-1": True, "r-2": True}
            assert (await service.log.verify()).ok
        assert_bought_once(simulated)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_nothing_is_written_after_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    """A service that is cancelled still writes the commit in hand; one that was killed, at whatever step, cannot."""
    in_between: set[int] = set()
    for steps in range(0, 120, 3):
        async with simulation() as simulated, trio.open_nursery() as nursery:
            recorded = -1
            async with simulated.open() as service:
                nursery.start_soon(_submit, service)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                recorded = _records(simulated.path)
                await simulated.crash()
            assert _records(simulated.path) == recorded
            in_between.add(recorded)
            nursery.cancel_scope.cancel()
    assert len(in_between) > 3, "the steps lie between the commits of a batch"


async def _submit(service: perdure.Service) -> None:
    with suppress(perdure.Closed):
        await service.batches.submit(prompts(), provider="openai", key="k")


def _records(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [(count,)] = connection.execute("SELECT count(*) FROM events").fetchall()
    return int(count)


async def test_what_was_durable_survives(autojump_clock: trio.testing.MockClock) -> None:
    async def endless() -> AsyncIterator[perdure.Prompt]:
        for prompt in prompts(MANY):
            yield prompt
        await trio.sleep_forever()

    async with simulation() as simulated:
        async with simulated.open() as service, trio.open_nursery() as nursery:
            nursery.start_soon(partial(service.batches.submit, endless(), provider="openai", key="k"))
            await trio.testing.wait_all_tasks_blocked()
            await simulated.crash()
        async with simulated.open() as service:
            cut_off = await service.find("k")
            assert cut_off is not None
            handle = await service.batches.submit(prompts(MANY), provider="openai", key="k")
            assert handle.id == cut_off.id
            assert (await handle.result()).ok == MANY
        assert_bought_once(simulated)


async def test_a_crash_from_outside_returns_when_the_service_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[perdure.Service]) -> None:
            async with simulated.open() as service:
                task_status.started(service)
                await trio.sleep_forever()

        for life in range(3):
            service: perdure.Service = await nursery.start(serve)
            handle = await service.batches.submit(prompts(), provider="openai", key="k")
            await trio.sleep(600 * life)
            await simulated.crash()
            with pytest.raises(perdure.Closed):
                await handle.result()
        async with simulated.open() as service:
            handle = await service.batches.submit(prompts(), provider="openai", key="k")
            assert (await handle.result()).ok == 3
        assert_bought_once(simulated)


async def test_a_crash_needs_a_service(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        with pytest.raises(RuntimeError, match="no service is open"):
            await simulated.crash()
        async with simulated.open():
            pass
        with pytest.raises(RuntimeError, match="no service is open"):
            await simulated.crash()


async def test_a_crash_takes_no_time(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            await service.batches.submit(prompts(), provider="openai", key="k")
            simulated.faults.arm(faults.Hold(route=STATUS))
            await simulated.holds.wait_held()
            at = simulated.now
            await simulated.crash()
        assert simulated.now == at


# ---------------------------------------------------------------- one service, one place


async def test_one_service_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        with pytest.raises(perdure.LogLocked):
            async with simulated.open():
                pass
        handle = await service.batches.submit(prompts(), provider="openai", key="k")
        assert (await handle.result()).ok == 3
        async with AsyncExitStack() as stack:
            with pytest.raises(perdure.Conflict):
                await stack.enter_async_context(simulation(directory=simulated.directory))
        await simulated.crash()


async def test_a_directory_is_kept_and_time_goes_on_in_it(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with simulation(directory=tmp_path) as first, first.open() as service:
        handle = await service.batches.submit(prompts(), provider="openai", key="k")
        await handle.result()
        ended = first.now
    async with simulation(directory=tmp_path) as second:
        assert second.now >= ended
        async with second.open() as service:
            again = await service.batches.submit(prompts(), provider="openai", key="k")
            assert again.id == handle.id
            assert (await again.result()).ok == 3
        assert_bought_once(second)
    assert second.path.is_file()


async def test_a_temporary_directory_is_removed(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open():
        assert simulated.path.is_file()
    assert not simulated.directory.exists()
