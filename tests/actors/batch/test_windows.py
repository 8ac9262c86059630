"""The way into windows: many callers at once, small limits, keys that meet, a log that fails, a service that leaves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

from perdure.actors.batch.strategy import BatchStrategy, Submission, Window
from perdure.actors.service import Service
from perdure.actors.views import Handle
from perdure.events.errors import (
    Closed,
    DiskFull,
    InvalidRequest,
    KeyConflict,
    PerdureError,
    TooLarge,
    Unavailable,
)
from perdure.events.requests import Answer, Prompt
from perdure.store.sqlite import SqliteLog
from tests.actors.batch.memory import NAME, World
from tests.actors.batch.rig import serving, verified
from tests.actors.scripted import TestLog

pytestmark = pytest.mark.trio

Told = Handle[Answer] | PerdureError


@asynccontextmanager
async def on_test_log(
    path: Path, world: World, strategy: BatchStrategy | None = None
) -> AsyncGenerator[tuple[Service, TestLog]]:
    """A service on a log that fails when it is told to."""
    logs: list[TestLog] = []

    def through(real: SqliteLog) -> TestLog:
        logs.append(TestLog(real))
        return logs[0]

    async with serving(path, world, strategy=strategy, through=through) as service:
        yield service, logs[0]


class Callers:
    """Callers in tasks of their own, each of which is told one thing."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.told: dict[str, Told] = {}

    async def submit(self, name: str, text: str = "x", **how: Any) -> None:
        """One caller."""
        assert name not in self.told
        options: dict[str, Any] = {"provider": NAME, "via": "batch", **how}
        try:
            told: Told = await self.service.submit(Prompt(text, model="m"), **options)
        except PerdureError as error:
            told = error
        assert name not in self.told, "a caller was told twice"
        self.told[name] = told

    def handles(self) -> dict[str, Handle[Answer]]:
        """Those who came to have a place."""
        return {name: told for name, told in self.told.items() if isinstance(told, Handle)}

    def errors(self) -> Counter[type[PerdureError]]:
        """What the others were told."""
        return Counter(type(told) for told in self.told.values() if isinstance(told, PerdureError))


async def batches_of(service: Service) -> dict[str, int]:
    """How many lines each batch has."""
    lines: dict[str, int] = {}
    async for summary in service.list(kind="batch"):
        state = await (await service.get(summary.id)).state()
        lines[summary.id] = state.lines
        assert state.anomalies == 0
    return lines


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(6, 100))])
async def test_each_caller_has_one_place_or_one_error(tmp_path: Path, autojump_clock: Clock, seed: int) -> None:
    random = Random(seed)
    world = World(batch_s=5.0, max_lines=random.choice([1, 3, 7, 50]), max_bytes=random.choice([200, 600, 50_000]))
    strategy = BatchStrategy(window_s=random.choice([0.5, 3.0]), minimum=random.choice([2, 4]))
    asked: dict[str, str] = {}
    async with on_test_log(tmp_path / "log.db", world, strategy) as (service, log):
        callers = Callers(service)

        async def one(name: str, text: str, key: str | None, via: str, after_s: float) -> None:
            await trio.sleep(after_s)
            await callers.submit(name, text, key=key, via=via)

        async def trouble() -> None:
            for _ in range(random.randrange(4)):
                await trio.sleep(random.uniform(0, 3))
                log.errors.extend([DiskFull("the disk is full")] * random.randrange(1, 6))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trouble)
            for number in range(120):
                key = f"k-{random.randrange(40)}" if random.random() < 0.5 else None
                sort = key if key is not None and random.random() < 0.8 else f"n-{number}"
                asked[f"c-{number}"] = text = f"{sort} {'y' * random.choice([1, 30, 300])}" if key is None else sort
                via = random.choice(["batch", "auto"])
                nursery.start_soon(one, f"c-{number}", text, key, via, random.choice([0, random.uniform(0, 6)]))
        assert len(callers.told) == 120
        assert set(callers.errors()) <= {KeyConflict, TooLarge, DiskFull, Unavailable}, callers.errors()

        places: dict[str, set[str]] = {}
        for name, handle in callers.handles().items():
            places.setdefault(handle.id, set()).add(asked[name])
            assert (await handle.result()).text.partition(": ")[2] == asked[name]
        assert all(len(texts) == 1 for texts in places.values()), "two requests share a line"
        lines = await batches_of(service)
        assert sorted(places) == sorted(
            f"{batch}-{number}" for batch, count in lines.items() for number in range(count)
        )
        await verified(service)
    sold = Counter(each.payload for each in world.account if each.kind == "live")
    for _, data, _ in world.files.values():
        sold.update(json.loads(line)["body"]["input"] for line in data.splitlines())
    assert sold == Counter(text for texts in places.values() for text in texts), "bought other than was asked for"


async def test_of_callers_with_one_key_the_first_wins_and_the_same_request_is_the_same_operation(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with on_test_log(tmp_path / "log.db", World()) as (service, log), trio.open_nursery() as nursery:
        callers = Callers(service)
        for number in range(300):
            nursery.start_soon(partial_of(callers.submit, f"same-{number}", key="k"))
            nursery.start_soon(partial_of(callers.submit, f"other-{number}", "y", key="k"))
        nursery.start_soon(partial_of(callers.submit, "without"))
        await trio.sleep(1)
        handles = callers.handles()
        winner = "same" if "same-0" in handles else "other"
        assert handles.keys() == {f"{winner}-{number}" for number in range(300)} | {"without"}
        assert len({handle.id for name, handle in handles.items() if name != "without"}) == 1
        assert callers.errors() == {KeyConflict: 300}
        assert len(log.appends) <= 4, "callers who lose cost no write"


def partial_of(submit: Callable[..., Any], *args: Any, **how: Any) -> Callable[[], Any]:
    """A call that a nursery can start."""
    return lambda: submit(*args, **how)


async def test_w3_callers_who_wait_when_the_service_leaves_are_told_so(tmp_path: Path, autojump_clock: Clock) -> None:
    async with trio.open_nursery() as outside:
        async with on_test_log(tmp_path / "log.db", World()) as (service, log):
            callers = Callers(service)
            log.gate = trio.Event()
            for number in range(3):
                outside.start_soon(callers.submit, f"first-{number}")
            await trio.sleep(1)
            for number in range(3):
                outside.start_soon(callers.submit, f"second-{number}")
            await trio.sleep(1)
            assert callers.told == {}
        with trio.fail_after(10):
            await trio.testing.wait_all_tasks_blocked()
        assert callers.errors() == {Closed: 6}, "also where the log hangs for good"
        await callers.submit("late")
        assert callers.errors() == {Closed: 7}


class Killed(BaseException):
    """What no code catches, such as an interrupt from the keyboard."""


async def test_a_writer_that_is_broken_off_leaves_nobody_waiting(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken_off(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise Killed

    callers: list[Callers] = []
    with pytest.RaisesGroup(Killed, flatten_subgroups=True):
        async with trio.open_nursery() as outside, serving(tmp_path / "log.db", World()) as service:
            monkeypatch.setattr(service._common.windows, "_place", broken_off)  # pyright: ignore[reportPrivateUsage]
            callers.append(Callers(service))
            outside.start_soon(callers[0].submit, "a")
            outside.start_soon(callers[0].submit, "b")
            await trio.sleep_forever()
    assert callers[0].errors() == {Closed: 2}


async def test_the_strategy_is_told_how_many_wait(tmp_path: Path, autojump_clock: Clock) -> None:
    seen: list[int] = []

    class Watching(BatchStrategy, frozen=True):
        def window(self, submission: Submission) -> Window | None:
            seen.append(submission.waiting)
            return Window(open_s=5.0, max_lines=4, minimum=2)

    async with serving(tmp_path / "log.db", World(), strategy=Watching()) as service:
        callers = Callers(service)
        for number in range(3):
            await callers.submit(f"a-{number}", via="auto")
        await callers.submit("of another group", via="batch")
        await trio.sleep(6)
        await callers.submit("later", via="auto")
        assert seen == [0, 1, 2, 0]


async def test_a_window_is_like_the_request_that_opens_it_wants_it(tmp_path: Path, autojump_clock: Clock) -> None:
    wanted = [Window(open_s=5.0, max_lines=9, minimum=1), Window(open_s=50.0, max_lines=2, minimum=1)]

    class Changing(BatchStrategy, frozen=True):
        def window(self, submission: Submission) -> Window | None:
            return wanted[0]

    async with serving(tmp_path / "log.db", World(), strategy=Changing()) as service:
        callers = Callers(service)
        await callers.submit("a", via="auto")
        await trio.sleep(6)
        wanted.pop(0)
        for name in "bcd":
            await callers.submit(name, via="auto")
        batches = {name: handle.id.partition("-")[0] for name, handle in callers.handles().items()}
        assert batches["a"] != batches["b"] == batches["c"] != batches["d"]
        opened = (await (await service.get(batches["b"])).state()).opened
        assert (opened.max_lines, opened.minimum) == (2, 1)


@pytest.mark.parametrize(("minimum", "type_"), [(9, "LineAnswered"), (2, "ResultsTaken")], ids=["live", "batched"])
async def test_a_line_shows_the_purchase_that_is_its_own(
    tmp_path: Path, autojump_clock: Clock, minimum: int, type_: str
) -> None:
    strategy = BatchStrategy(window_s=1.0, minimum=minimum)
    async with serving(tmp_path / "log.db", World(), strategy=strategy) as service:
        callers = Callers(service)
        for number in range(3):
            await callers.submit(f"c-{number}", via="auto")
        for handle in callers.handles().values():
            await handle.result()
            types = [record.type async for record in handle.events()]
            assert (types.count("PurchaseIntended"), types.count(type_)) == (1, 1), types


@pytest.mark.parametrize("via", ["batch", "auto"])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"window_s": 0.0}, "batching.window_s"),
        ({"window_s": -1.0}, "batching.window_s"),
        ({"window_s": 1e-7}, "batching.window_s"),
        ({"window_s": float("nan")}, "batching.window_s"),
        ({"window_s": float("inf")}, "batching.window_s"),
        ({"max_lines": 0}, "batching.max_lines"),
    ],
    ids=["no time", "a negative time", "less than a tick", "not a number", "for ever", "no request"],
)
async def test_windows_that_never_close_or_take_nothing_are_refused(
    tmp_path: Path, autojump_clock: Clock, wrong: dict[str, Any], field: str, via: str
) -> None:
    async with serving(tmp_path / "log.db", World(), strategy=BatchStrategy(**wrong)) as service:
        callers = Callers(service)
        await callers.submit("a", via=via)
        told = callers.told["a"]
        assert isinstance(told, InvalidRequest)
        assert told.field == field
        assert await service.log.head() == 0


async def test_a_failed_log_is_told_to_whom_it_concerns_and_the_next_window_works(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    async with on_test_log(tmp_path / "log.db", World()) as (service, log):
        callers = Callers(service)
        await callers.submit("before")
        log.always = DiskFull("the disk is full")
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(callers.submit, f"during-{number}")
        log.always = None
        await callers.submit("after")
        assert callers.errors() == {DiskFull: 5}
        handles = callers.handles()
        assert {name: (await handle.result()).text for name, handle in handles.items()} == {
            "before": "re: x",
            "after": "re: x",
        }
        assert await batches_of(service) == {handle.id.partition("-")[0]: 1 for handle in handles.values()}
        await verified(service)


@pytest.mark.parametrize("via", ["live", "batch", "auto"])
async def test_a_caller_may_be_cancelled_at_every_await(tmp_path: Path, autojump_clock: Clock, via: str) -> None:
    """Asked again by key it is the same operation, whether or not the first call had come that far."""
    world = World(batch_s=5.0)
    done, ticks = False, 0
    async with serving(tmp_path / "log.db", world, strategy=BatchStrategy(window_s=0.5, minimum=1)) as service:
        while not done:
            callers = Callers(service)
            name = f"{via} {ticks} {'z' * (20_000 if ticks % 2 else 1)}"
            how: dict[str, Any] = {"key": f"k-{ticks}", "via": via}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(callers.submit, "other", f"other {ticks}")
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_after, scope, ticks)
                    await callers.submit("first", name, **how)
            done = not scope.cancelled_caught and "first" in callers.told and ticks > 3
            await callers.submit("again", name, **how)
            handles = callers.handles()
            assert (await handles["again"].result()).text.endswith(name)
            assert (await handles["other"].result()).text.endswith(f"other {ticks}")
            ticks += 1
            assert ticks < 200
        await verified(service)
        assert world.bought_twice() == []


async def cancel_after(scope: trio.CancelScope, ticks: int) -> None:
    """Cancels once every task has had `ticks` turns."""
    for _ in range(ticks):
        await trio.lowlevel.checkpoint()
    scope.cancel()
