"""Observing a log: typed events in order, subscribers whose place is durable, and nobody who minds them."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import perdure
from perdure.actors.event_log import EventLog, Types
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.adapters.composition import folds
from perdure.events.event import EncodedEvent
from perdure.store.cursor import START, cursor_after
from perdure.store.cursor_store import CursorStore, FileCursor
from perdure.store.disk import InlineDisk
from perdure.store.records import Append, Standing
from perdure.store.sqlite import SqliteLog, open_log, open_reader
from perdure.store.sqlite.reader import FOLLOW_PAGE, SqliteReader
from perdure.store.sqlite.tracking import TrackedCursor
from tests.actors.living import living
from tests.actors.provider_rig import requests, rigged
from tests.actors.toys import Add, Added, Counters
from tests.adapters.simulator.process import running
from tests.faults.killing import Job

pytestmark = pytest.mark.trio

ROOT = Path(__file__).parents[2]


def observed(log: SqliteReader) -> EventLog:
    """The log as an application has it."""
    return EventLog(log, [KindFold(Counters())])


@asynccontextmanager
async def counting(path: Path) -> AsyncGenerator[tuple[Runtime, SqliteLog]]:
    """A runtime with counters on the log in `path`."""
    async with living(path / "log.db", [Counters()]) as opened:
        yield opened


async def add(runtime: Runtime, amounts: Sequence[int], actor: str = "counter_1") -> None:
    """Lets a counter grow, one event for each amount."""
    for amount in amounts:
        await runtime.tell("counter", actor, Add(amount=amount))


def amount_of(record: perdure.RecordedEvent) -> int:
    """What a record of a counter says."""
    assert isinstance(record.event, Added)
    return record.event.amount


async def take(subscription: perdure.Subscription, count: int, *, done: bool = True) -> list[int]:
    """The amounts of the next `count` records."""
    taken: list[int] = []
    with trio.fail_after(60):
        while len(taken) < count:
            record = await anext(subscription)
            taken.append(amount_of(record))
            if done:
                await subscription.done(record)
    return taken


class Counted:
    """A store of cursors that counts what it does."""

    def __init__(self) -> None:
        self.saved: list[str] = []
        self.failing = False

    async def load(self) -> str | None:
        return self.saved[-1] if self.saved else None

    async def save(self, cursor: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise perdure.DiskFull("no room")
        self.saved.append(cursor)


# ---------------------------------------------------------------- what the log tells


async def test_w20_creation_polls_results_and_the_end_are_typed_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W-20: what was a warning with a text code is an event with fields, in the log and in order."""
    async with rigged(tmp_path, monkeypatch, batch_s=0.3) as rig, rig.open() as service:
        handle = await service.batches.submit(requests(4), provider="openai", key="k")
        created: list[str] = []
        polled: list[str] = []
        lines: list[int] = []
        async for record in service.log.tail(kind="batch"):
            match record.event:
                case perdure.BatchSubmitted(provider_batch=provider_batch):
                    created.append(provider_batch)
                case perdure.BatchPolled(status=status):
                    polled.append(status)
                case perdure.ResultsTaken(numbers=numbers):
                    lines.extend(numbers)
                case perdure.BatchFinished(status=status, ok=ok, failed=failed):
                    assert (record.actor, status, ok, failed) == (handle.id, "succeeded", 4, 0)
                    break
                case _:
                    pass
        assert len(created) == 1
        assert polled
        assert sorted(lines) == [0, 1, 2, 3]
        assert [(await handle.line(f"r-{number}")).ok for number in range(4)] == [True] * 4
        async with service.log.subscribe("billing", types=perdure.BatchFinished) as records:
            record = await anext(records)
            await records.done(record)
        history = [found.event async for found in handle.events()]
        assert isinstance(history[0], perdure.BatchOpened)
        assert [found.position async for found in service.log.read(types="BatchFinished")] == [record.position]
    async with perdure.read(rig.path) as reader:
        events = [found.event async for found in reader.log.read(after=record.cursor, kind="batch")]
        assert not any(isinstance(event, perdure.BatchFinished) for event in events)


async def test_an_event_of_an_older_release_comes_as_its_newest_type(tmp_path: Path) -> None:
    old = (
        b'{"event":"UploadAsked","provider":"p","credential":"c","purpose":"batch","segments":[],"size_bytes":7,'
        b'"owner_kind":"batch","owner":"batch_1","part":0,"settle_us":1,"patience_us":2}'
    )
    async with open_log(tmp_path / "log.db", codecs=None) as log:
        await log.append(append("provider_file", EncodedEvent("UploadAsked", 1, 1, old)))
        event_log = EventLog(log, folds())
        asked: list[Types] = [perdure.UploadOrdered, [perdure.UploadOrdered, "other"], "UploadAsked", None]
        for types in asked:
            (record,) = [record async for record in event_log.read(types=types)]
            assert record.type == "UploadAsked"
            assert isinstance(record.event, perdure.UploadOrdered)
            assert record.event.size_bytes == 7
            assert record.event is record.event
        assert [record async for record in event_log.read(types=perdure.FileUploaded)] == []


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("stranger", b'{"event":"toy.Added","amount":1}'), ("counter", b'{"event":"toy.Unknown"}')],
    ids=["unknown kind", "unknown type"],
)
async def test_what_cannot_be_read_is_passed_on_and_raises_when_looked_into(
    tmp_path: Path, kind: str, payload: bytes
) -> None:
    async with open_log(tmp_path / "log.db", codecs=None) as log:
        await log.append(append(kind, EncodedEvent("toy.Unknown", 1, 1, payload)))
        record = await anext(observed(log).tail())
        assert record.payload == payload
        with pytest.raises(perdure.Corrupt, match=kind):
            _ = record.event


@pytest.mark.parametrize(
    ("filters", "amounts"),
    [
        ({}, [1, 2, 3, 4]),
        ({"actor": "a"}, [1, 3]),
        ({"actor": "nobody"}, []),
        ({"kind": "counter"}, [1, 2, 3, 4]),
        ({"kind": "batch"}, []),
        ({"types": Added}, [1, 2, 3, 4]),
        ({"types": "toy.Added", "actor": "b"}, [2, 4]),
        ({"types": [perdure.BatchFinished]}, []),
        ({"types": []}, []),
    ],
    ids=str,
)
async def test_only_what_is_asked_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, filters: dict[str, Any], amounts: list[int]
) -> None:
    async with counting(tmp_path) as (runtime, log):
        for number in range(1, 5):
            await add(runtime, [number], "ab"[(number - 1) % 2])
        event_log = observed(log)
        records = [record async for record in event_log.read(**filters)]
        assert [amount_of(record) for record in records] == amounts
        tail = event_log.tail(**filters)
        assert [await anext(tail) for _ in amounts] == records
        with trio.move_on_after(60) as waited:
            await anext(tail)
        assert waited.cancelled_caught
        for place, record in enumerate(records):
            behind = [found async for found in event_log.read(after=record.cursor, **filters)]
            assert behind == records[place + 1 :]
            assert [found async for found in event_log.read(after=record.position, **filters)] == behind
            up_to = [found async for found in event_log.read(until=record.position, **filters)]
            assert up_to == records[: place + 1]


@pytest.mark.parametrize("way", ["read", "tail", "subscribe"])
async def test_a_cursor_of_another_log_or_from_before_a_restore_is_refused(tmp_path: Path, way: str) -> None:
    """Going on behind it would pass over records without a word."""
    (tmp_path / "other").mkdir()
    async with counting(tmp_path / "other") as (runtime, other), counting(tmp_path) as (_, log):
        await add(runtime, [1, 2])
        foreign = [record async for record in observed(other).read()][-1].cursor
        ahead = cursor_after(log.log_id, 9)

        async def go_on(cursor: str) -> None:
            if way == "read":
                await anext(observed(log).read(after=cursor))
            elif way == "tail":
                await anext(observed(log).tail(after=cursor))
            else:
                store = Counted()
                store.saved.append(cursor)
                async with observed(log).subscribe(store):
                    raise AssertionError("it was let in")

        for cursor, why in ((foreign, "another log"), (ahead, "restored"), ("junk", "no cursor")):
            with pytest.raises(perdure.InvalidRequest, match=why) as refused:
                await go_on(cursor)
            assert refused.value.field == "after"


# ---------------------------------------------------------------- subscribers


def stores(path: Path, log: SqliteLog) -> dict[str, CursorStore]:
    """Every kind of place."""
    return {"in the log": TrackedCursor(log, "billing"), "in a file": FileCursor(path / "cursor", disk=InlineDisk())}


PLACES = pytest.mark.parametrize("place", ["in the log", "in a file"])


@PLACES
async def test_a_subscriber_that_was_down_misses_nothing_over_restarts_and_gaps(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, place: str
) -> None:
    seen: list[int] = []
    for life in range(5):
        async with counting(tmp_path) as (runtime, log):
            await add(runtime, range(life * 10 + 1, life * 10 + 6))  # while it was down
            async with observed(log).subscribe(stores(tmp_path, log)[place]) as records:
                seen += await take(records, 3)
                await add(runtime, range(life * 10 + 6, life * 10 + 11))  # while it is up
                seen += await take(records, 4)
        with closing(sqlite3.connect(tmp_path / "log.db")) as connection, connection:
            connection.execute("UPDATE sqlite_sequence SET seq = seq + 1000 WHERE name = 'events'")
    assert seen == list(range(1, 36))


@PLACES
async def test_what_was_not_done_comes_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, place: str
) -> None:
    async with counting(tmp_path) as (runtime, log):
        await add(runtime, [1, 2, 3])
        for _ in range(2):
            async with observed(log).subscribe(stores(tmp_path, log)[place]) as records:
                assert await take(records, 3, done=False) == [1, 2, 3]

        async def breaks_off() -> None:
            async with observed(log).subscribe(stores(tmp_path, log)[place]) as records:
                await take(records, 1)
                await take(records, 1, done=False)
                raise OSError("in the middle of the second")

        with pytest.raises(OSError, match="in the middle"):
            await breaks_off()
        with trio.CancelScope() as scope:
            async with observed(log).subscribe(stores(tmp_path, log)[place]) as records:
                assert await take(records, 1) == [2]
                scope.cancel()
                await trio.lowlevel.checkpoint()
        async with observed(log).subscribe(stores(tmp_path, log)[place]) as records:
            assert await take(records, 1) == [3]


@PLACES
async def test_a_subscriber_that_starts_now_misses_nothing_from_now_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, place: str
) -> None:
    async with counting(tmp_path) as (runtime, log):
        await add(runtime, [1, 2])
        async with observed(log).subscribe(stores(tmp_path, log)[place], start="now"):
            pass
        await add(runtime, [3])
        async with observed(log).subscribe(stores(tmp_path, log)[place], start="now") as records:
            assert await take(records, 1) == [3]


async def test_names_are_places_of_their_own(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with counting(tmp_path) as (runtime, log):
        await add(runtime, [1, 2])
        for name in ("billing", "mail"):
            async with observed(log).subscribe(name) as records:
                assert await take(records, 2) == [1, 2]


async def test_saving_costs_one_commit_a_second_however_much_is_done(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(tmp_path) as (runtime, log):
        store = Counted()
        await add(runtime, range(1, 1_501))
        async with observed(log).subscribe(store) as records:
            assert len(store.saved) == 1, "where it begins"
            await take(records, 1_400)
            assert len(store.saved) == 1
            await trio.sleep(1)
            last = await anext(records)
            await records.done(last)
            assert store.saved[1:] == [last.cursor]
            await take(records, 99)
            with trio.move_on_after(0.5):
                await anext(records)
            assert len(store.saved) == 2
            with trio.move_on_after(3600):
                await anext(records)
            assert len(store.saved) == 3, "while it waits, what was done is saved"
        assert len(store.saved) == 3


async def test_with_zero_seconds_what_is_done_is_durable(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(tmp_path) as (runtime, log):
        store = Counted()
        await add(runtime, [1, 2, 3])
        async with observed(log).subscribe(store, save_every_s=0) as records:
            async for record in records:
                await records.done(record)
                assert store.saved[-1] == record.cursor
                if amount_of(record) == 3:
                    break


async def test_what_nobody_wants_is_not_looked_at_again(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    wanted = EncodedEvent("toy.Added", 1, 1, b'{"event":"toy.Added","amount":1}')
    async with open_log(tmp_path / "log.db", codecs=None, disk=InlineDisk()) as log:
        await log.append(append("counter", wanted))
        await log.append(append("other", *[wanted] * 900))
        end = [record async for record in observed(log).read()][-1].cursor
        for done in (True, False):
            store = Counted()
            async with observed(log).subscribe(store, kind="counter") as records:
                await take(records, 1, done=done)
                with trio.move_on_after(60):
                    await anext(records)
            assert store.saved[-1] == (end if done else START), "nothing goes past what is not done"


async def test_a_save_that_fails_is_told_and_loses_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(tmp_path) as (runtime, log):
        await add(runtime, [1, 2])
        store = Counted()
        async with observed(log).subscribe(store, save_every_s=0) as records:
            record = await anext(records)
            store.failing = True
            with pytest.raises(perdure.DiskFull):
                await records.done(record)
            store.failing = False
            await records.done(record)
            assert store.saved[-1] == record.cursor

        async def leaves(error: Exception | None) -> None:
            store = Counted()
            async with observed(log).subscribe(store) as records:
                await take(records, 1)
                store.failing = True
                if error is not None:
                    raise error

        with pytest.raises(perdure.DiskFull):
            await leaves(None)
        with pytest.raises(OSError, match="the first reason"):
            await leaves(OSError("the first reason"))


async def test_a_slow_subscriber_costs_no_memory_and_nobody_waits(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(tmp_path) as (runtime, log):
        await add(runtime, [1])
        fetched = 0
        records_of_log = log.records

        async def records(**how: Any) -> Sequence[perdure.Recorded]:
            nonlocal fetched
            page = await records_of_log(**how)
            fetched += len(page)
            return page

        log.records = records  # type: ignore[method-assign]
        async with observed(log).subscribe("slow") as subscription:
            assert await take(subscription, 1) == [1]
            with trio.fail_after(1):
                await add(runtime, range(2, 3_000))
            assert fetched == 1
            assert await take(subscription, 1) == [2]
            assert fetched == 1 + FOLLOW_PAGE
            assert await take(subscription, 2_997) == list(range(3, 3_000))


async def test_an_exception_in_a_subscriber_touches_nobody_else(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with counting(tmp_path) as (runtime, log):
        seen: list[int] = []

        async def follows() -> None:
            async with observed(log).subscribe("good") as records:
                seen.extend(await take(records, 20))

        async def breaks() -> None:
            async with observed(log).subscribe("bad") as records:
                async for record in records:
                    _ = 1 / (amount_of(record) - 5)
                    await records.done(record)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follows)
            await add(runtime, range(1, 11))
            with pytest.raises(ZeroDivisionError):
                await breaks()
            await add(runtime, range(11, 21))
        assert seen == list(range(1, 21))
        async with observed(log).subscribe("bad") as records:
            assert await take(records, 1) == [5]


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"start": "head"}, "start"),
        ({"save_every_s": -1}, "save_every_s"),
        ({"save_every_s": float("nan")}, "save_every_s"),
        ({"name": ""}, "name"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_subscription_is_refused_with_its_field(
    tmp_path: Path, how: dict[str, Any], field: str
) -> None:
    async with counting(tmp_path) as (_, log):
        with pytest.raises(perdure.InvalidRequest) as refused:
            observed(log).subscribe(how.pop("name", "billing"), **how)
        assert refused.value.field == field
    async with open_reader(tmp_path / "log.db") as reader:
        with pytest.raises(perdure.InvalidRequest, match="FileCursor"):
            observed(reader).subscribe("billing")
        with pytest.raises(RuntimeError, match="async with"):
            await anext(observed(reader).subscribe(FileCursor(tmp_path / "cursor")))


# ---------------------------------------------------------------- other processes


@PLACES
@pytest.mark.parametrize("moment", ["before handling", "before done", "while saving", "after done"])
async def test_a_killed_subscriber_sees_again_what_was_not_done_and_skips_nothing(
    tmp_path: Path, place: str, moment: str
) -> None:
    """Each process is killed at its third record, at the same moment; what it handled is in a file."""
    async with counting(tmp_path) as (runtime, _):
        await add(runtime, range(1, 8))
    handled: list[list[int]] = []
    died = True
    with trio.fail_after(60):
        while died:
            told = tmp_path / f"told-{len(handled)}"
            command = [
                sys.executable,
                "-m",
                "tests.faults.workers.subscriber",
                str(tmp_path / "log.db"),
                place,
                str(told),
                moment,
            ]
            ended = await trio.run_process(command, check=False, cwd=ROOT, capture_stderr=True)
            died = ended.returncode == -9
            assert died or ended.returncode == 0, ended.stderr.decode()
            handled.append([int(line) for line in told.read_text().split()])
            assert len(handled) < 20
    assert len(handled) > 1, "nobody was killed"
    assert list(dict.fromkeys(amount for life in handled for amount in life)) == list(range(1, 8)), "in order, no gap"
    repeats = sum(map(len, handled)) - 7
    deaths = len(handled) - 1
    assert repeats == (deaths if moment in ("before done", "while saving") else 0), handled


async def test_a_subscriber_in_another_process_follows_writers_that_die_and_are_replaced(tmp_path: Path) -> None:
    with running("--batch-seconds", "0") as simulator, trio.fail_after(60):
        job = Job(tmp_path / "job", simulator)
        assert await job.work("commit.after", "4") is None
        versions: list[int] = []
        events: list[perdure.Event] = []

        async def follow() -> None:
            cursor = perdure.FileCursor(tmp_path / "cursor")
            while not any(isinstance(event, perdure.BatchFinished) for event in events):
                async with (
                    perdure.read(job.path) as reader,
                    reader.log.subscribe(cursor, kind="batch") as records,
                ):
                    for _ in range(2):  # then it starts again too
                        record = await anext(records)
                        versions.append(record.version)
                        events.append(record.event)
                        await records.done(record)
                        if isinstance(record.event, perdure.BatchFinished):
                            break

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            assert await job.work("report.before", "6") is None
            assert not any(isinstance(event, perdure.BatchFinished) for event in events)
            assert await job.work() is not None
        assert versions == list(range(1, len(versions) + 1))


def append(kind: str, *events: EncodedEvent) -> Append:
    """Events of an actor of its own."""
    return Append(
        actor=f"{kind}_1",
        kind=kind,
        tenant="",
        expected_version=0,
        events=events,
        standing=Standing(status="running", fold=1, next_due=None),
    )
