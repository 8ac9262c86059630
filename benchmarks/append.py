"""Durable appends by 256 actors, one small event each, three ways in turns within one run.

- *log*: `append` on our log, as the runtime calls it.
- *library*: one call of the eventsourcing library's SQLite recorder for each append, through a thread.
- *groups*: a group committer made like ours (one task, what queued during the last commit is the next group) that feeds
  the library's recorder.

The library writes each event into its one table with its topic and a text id; we write the event, the actor's row, and
the chain. Both encode the event with msgspec first, both sync every commit. Each turn begins with a copy of a file that
holds `--history` events; after `--length` events an actor leaves its stream for a new one, as perdure's actors are
operations of some tens of events.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import outcome
import trio
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from benchmarks._fsync import fsync_ms
from perdure.events.codec import Codec
from perdure.events.event import EncodedEvent, Event
from perdure.events.ids import new_id, now_us
from perdure.store.records import Append, Standing
from perdure.store.sqlite import open_log

ACTORS = 256
HISTORY = 200_000
LENGTH = 20
ROUNDS = 7
ROUND_S = 0.5
GROUP = 1_000
THREADS = 40  # trio's own default


class Moved(Event, tag="moved", frozen=True):
    """A small event."""

    by: int = 0
    note: str = ""


CODEC: Codec[Moved] = Codec("bench", [Moved])
RUNNING = Standing(status="running", fold=1, next_due=None)


async def _until(deadline: float, one: Callable[[int], Awaitable[None]], actor: int) -> int:
    done = 0
    while time.perf_counter() < deadline:
        await one(actor)
        done += 1
    return done


class Round(NamedTuple):
    """One way's turn."""

    appends_per_s: float
    cpu_us_per_append: float


async def rate(one: Callable[[int], Awaitable[None]], actors: int, round_s: float) -> Round:
    """What `actors` tasks reach, each with one append under way."""
    total = 0
    cpu = time.process_time()
    start = time.perf_counter()

    async def task(actor: int) -> None:
        nonlocal total
        done = await _until(start + round_s, one, actor)
        total += done

    async with trio.open_nursery() as nursery:
        for actor in range(actors):
            nursery.start_soon(task, actor)
    return Round(total / (time.perf_counter() - start), (time.process_time() - cpu) / total * 1e6)


class Groups:
    """Group commit over the library's recorder."""

    def __init__(self, recorder: SQLiteApplicationRecorder) -> None:
        self._recorder = recorder
        self._queue: deque[tuple[StoredEvent, trio.lowlevel.Task]] = deque()
        self._wake = trio.Event()
        self._limiter = trio.CapacityLimiter(1)

    async def append(self, event: StoredEvent) -> None:
        """Durable on return."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._queue.append((event, trio.lowlevel.current_task()))
        self._wake.set()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async def run(self) -> None:
        """Commits group after group."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                group = [self._queue.popleft() for _ in range(min(GROUP, len(self._queue)))]
                events = [event for event, _ in group]
                await trio.to_thread.run_sync(self._recorder.insert_events, events, limiter=self._limiter)
                for _, task in group:
                    trio.lowlevel.reschedule(task, outcome.Value(None))


class Turn:
    """What a way needs in its turn: a file with a history, the actors' ids and how far each has come."""

    def __init__(self, past: Path, actors: int, length: int) -> None:
        self._length = length
        self.file = past.with_name(f"{uuid4().hex}.db")
        shutil.copyfile(past, self.file)
        self.ids = [uuid4() for _ in range(actors)]
        self.names = [new_id("ses") for _ in range(actors)]
        self.versions = [0] * actors

    def next_version(self, actor: int) -> int:
        """The version that the actor's next event expects; a stream that is long enough is left for a new one."""
        if self.versions[actor] == self._length:
            self.ids[actor], self.names[actor], self.versions[actor] = uuid4(), new_id("ses"), 0
        return self.versions[actor]

    def event(self, actor: int) -> EncodedEvent:
        """The actor's next event, encoded."""
        return CODEC.encode(Moved(by=self.versions[actor], note="to the left"), now_us())

    def stored(self, actor: int) -> StoredEvent:
        """The same as the library stores it."""
        self.versions[actor] = self.next_version(actor) + 1
        payload = self.event(actor).payload
        return StoredEvent(self.ids[actor], self.versions[actor], "benchmarks.append:Moved", payload)

    def recorder(self) -> SQLiteApplicationRecorder:
        """The library's recorder over the turn's file."""
        recorder = SQLiteApplicationRecorder(SQLiteDatastore(f"file:{self.file}"))
        recorder.create_table()
        return recorder


async def through_log(turn: Turn, actors: int, round_s: float) -> Round:
    """Appends a second on our log."""
    async with open_log(turn.file, codecs=[CODEC]) as log:

        async def one(actor: int) -> None:
            version = turn.next_version(actor)
            await log.append(
                Append(
                    actor=turn.names[actor],
                    kind="bench",
                    tenant="",
                    expected_version=version,
                    events=(turn.event(actor),),
                    standing=RUNNING,
                )
            )
            turn.versions[actor] = version + 1

        return await rate(one, actors, round_s)


async def through_library(turn: Turn, actors: int, round_s: float) -> Round:
    """Appends a second, one call of the library's recorder each."""
    recorder = turn.recorder()
    limiter = trio.CapacityLimiter(THREADS)

    async def one(actor: int) -> None:
        await trio.to_thread.run_sync(recorder.insert_events, [turn.stored(actor)], limiter=limiter)

    try:
        return await rate(one, actors, round_s)
    finally:
        recorder.datastore.close()


async def through_groups(turn: Turn, actors: int, round_s: float) -> Round:
    """Appends a second, in groups through the library's recorder."""
    recorder = turn.recorder()
    groups = Groups(recorder)

    async def one(actor: int) -> None:
        await groups.append(turn.stored(actor))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(groups.run)
        found = await rate(one, actors, round_s)
        nursery.cancel_scope.cancel()
    recorder.datastore.close()
    return found


async def write_log(file: Path, events: int, length: int) -> None:
    """A log with a past: streams of `length` events."""
    async with open_log(file, codecs=[CODEC], synchronous="NORMAL") as log, trio.open_nursery() as nursery:
        encoded = CODEC.encode(Moved(by=1, note="to the left"), now_us())

        async def one(streams: int) -> None:
            for _ in range(streams):
                name = new_id("ses")
                for version in range(length):
                    await log.append(
                        Append(
                            actor=name,
                            kind="bench",
                            tenant="",
                            expected_version=version,
                            events=(encoded,),
                            standing=RUNNING,
                        )
                    )

        for _ in range(ACTORS):
            nursery.start_soon(one, max(events // length // ACTORS, 1))


def write_library(file: Path, events: int, length: int) -> None:
    """The same in the library's table, in the same order."""
    recorder = SQLiteApplicationRecorder(SQLiteDatastore(f"file:{file}"))
    recorder.create_table()
    payload = CODEC.encode(Moved(by=1, note="to the left"), now_us()).payload
    for _ in range(max(events // length // ACTORS, 1)):
        ids = [uuid4() for _ in range(ACTORS)]
        for version in range(length):
            recorder.insert_events([StoredEvent(each, version + 1, "benchmarks.append:Moved", payload) for each in ids])
    recorder.datastore.close()


WAYS = {"log": through_log, "library": through_library, "groups": through_groups}


async def main(actors: int, history: int, length: int, rounds: int, round_s: float) -> None:
    """Prints the rates of each way and the ratios."""
    turns: dict[str, list[Round]] = {name: [] for name in WAYS}
    syncs: list[float] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        home = Path(directory)
        ours, theirs = home / "ours.db", home / "theirs.db"
        await write_log(ours, history, length)
        await trio.to_thread.run_sync(write_library, theirs, history, length)
        for _ in range(rounds):
            for name, way in WAYS.items():
                syncs.append(await trio.to_thread.run_sync(fsync_ms, home))
                turns[name].append(await way(Turn(ours if name == "log" else theirs, actors, length), actors, round_s))
    print(f"{actors} actors, one small event each, {rounds} rounds of {round_s} s")
    print(f"on files that hold {history:,} events, in streams of {length}")
    print(f"fsync {statistics.median(syncs):.3f} ms ({min(syncs):.3f} to {max(syncs):.3f})")
    rates = {name: [turn.appends_per_s for turn in found] for name, found in turns.items()}
    for name, found in rates.items():
        cpu = statistics.median(turn.cpu_us_per_append for turn in turns[name])
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"  {name:8} {statistics.median(found):10,.0f} appends/s  ({spread})  {cpu:6.1f} µs of CPU each")
    for name, goal in (("library", 35.0), ("groups", 1.3)):
        ratios = [mine / theirs for mine, theirs in zip(rates["log"], rates[name], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"  log / {name:8} {statistics.median(ratios):6.2f} x  ({spread}), goal {goal}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=ACTORS)
    parser.add_argument("--history", type=int, default=HISTORY, help="events in the file at the start")
    parser.add_argument("--length", type=int, default=LENGTH, help="events in a stream")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=ROUND_S)
    arguments = parser.parse_args()
    trio.run(main, arguments.actors, arguments.history, arguments.length, arguments.rounds, arguments.seconds)
