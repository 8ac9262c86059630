"""What the runtime costs: CPU for each command and event, bytes for each actor.

    python -m benchmarks.runtime [--commands 40000] [--actors 10000]

CPU is that of this process (`time.process_time`). The log is one in memory that answers at once, and its own share,
measured apart in the same run, is taken off; what is left is the runtime: mailbox, turn, fold, answer, and the task
that waits for it. A command is told by one of `concurrency` tasks, each to an actor of its own, one after the other; a
run of them is one command that leads to many events, as results come in. Rounds are interleaved, medians are shown.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio
import trio.testing
from msgspec import Struct

from perdure.actors.kind import NO_INDEX, Again, Effect, Index, Port, Row
from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.events.codec import Codec
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.supervision import SUPERVISION_EVENTS
from perdure.store.records import ActorRow, Append, Appended, Standing, Stream

CONCURRENCIES: Final = (1, 64, 256)
GOAL_US: Final = 70.0


class Counted(Event, frozen=True, tag="bench.Counted"):
    """Something happened."""

    amount: int


class Begun(Event, frozen=True, tag="bench.Begun"):
    """An effect is asked for."""


class Count(Command, frozen=True):
    """Leads to `events` events."""

    events: int = 1


class Begin(Command, frozen=True):
    """Asks for an effect that goes on."""


class Total(Struct):
    """The state: a number, and whether something goes on."""

    total: int = 0
    begun: bool = False


class Totals:
    """A kind as small as one can be, so that what is measured is the runtime."""

    name = "total"
    fold = 1
    codec: Codec[Event] = Codec("total", (Counted, Begun, *SUPERVISION_EVENTS))

    def initial(self, actor: str, tenant: str) -> Total:
        """Nothing."""
        return Total()

    def decide(self, state: Total, command: Command, at: int) -> Sequence[Event]:
        """Counts, or begins."""
        return [Counted(amount=1)] * command.events if isinstance(command, Count) else (Begun(),)

    def evolve(self, state: Total, event: Event) -> Total:
        """Adds."""
        if isinstance(event, Counted):
            state.total += event.amount
        else:
            state.begun = True
        return state

    def effects(self, state: Total) -> Sequence[Effect]:
        """One, once begun."""
        return (Effect(id="go"),) if state.begun else ()

    def row(self, state: Total) -> Row:
        """How far it is."""
        return Row(status="running", progress=str(state.total))

    def index(self, event: Event) -> Index:
        """Nothing."""
        return NO_INDEX

    def weight(self, state: Total) -> int:
        """About."""
        return 100

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """Goes on for ever."""
        await trio.sleep_forever()


class MemoryLog:
    """A log that keeps versions only and answers each append at its next turn."""

    log_id = "log_memory"
    healthy = True

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}

    async def append(self, append: Append) -> Appended:
        """Durable at once."""
        await trio.lowlevel.checkpoint()
        version = append.expected_version + len(append.events)
        self.versions[append.actor] = version
        return Appended(version, version)

    async def resume(self, actors: Sequence[str], *, folds: Mapping[str, int]) -> Sequence[Stream]:
        """See `Log.resume`: there are no snapshots here."""
        return await self.load(actors)

    async def load(self, actors: Sequence[str], **bounds: Any) -> Sequence[Stream]:
        """Nothing is kept."""
        await trio.lowlevel.checkpoint()
        return ()

    async def due(self, **bounds: Any) -> Sequence[ActorRow]:
        """Nothing is due."""
        await trio.lowlevel.checkpoint()
        return ()

    async def known_as(self, name: str) -> Sequence[ActorRow]:
        """Nobody is known."""
        await trio.lowlevel.checkpoint()
        return ()

    async def outdated(self, kind: str, fold: int, *, limit: int = 500) -> Sequence[str]:
        """Nothing is outdated."""
        await trio.lowlevel.checkpoint()
        return ()

    async def restate(self, rows: Mapping[str, Standing]) -> None:
        """Nothing to do."""
        await trio.lowlevel.checkpoint()

    def move_due(self, actor: str, next_due: int) -> None:
        """Nothing to do."""


async def _cpu_of_log(commands: int, concurrency: int, events: int) -> float:
    """CPU seconds that the log itself, and the tasks that call it, take for as many appends."""
    log = MemoryLog()
    encoded = [Totals.codec.encode(Counted(amount=1), 0)] * events
    standing = Standing(status="running", fold=1, next_due=None)

    async def caller(number: int) -> None:
        for version in range(commands // concurrency):
            await log.append(
                Append(
                    actor=f"total_{number}",
                    kind="total",
                    tenant="",
                    expected_version=version * events,
                    events=encoded,
                    standing=standing,
                )
            )

    started = time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(concurrency):
            nursery.start_soon(caller, number)
    return time.process_time() - started


async def _cpu(commands: int, concurrency: int, events: int) -> float:
    """CPU seconds for `commands` commands of `events` events each."""
    runtime = Runtime(MemoryLog(), [Totals()])  # type: ignore[arg-type]  # only what the runtime calls is there
    command = Count(events=events)

    async def caller(number: int) -> None:
        for _ in range(commands // concurrency):
            await runtime.tell("total", f"total_{number}", command)

    async with trio.open_nursery() as service:
        await service.start(runtime.run)
        gc.collect()
        started = time.process_time()
        async with trio.open_nursery() as nursery:
            for number in range(concurrency):
                nursery.start_soon(caller, number)
        taken = time.process_time() - started
        service.cancel_scope.cancel()
    return taken


async def _bytes(actors: int) -> Mapping[str, float]:
    """Bytes for each actor: dormant, resident, running with one effect."""
    found: dict[str, float] = {}
    for state in ("dormant", "resident", "running"):
        limits = RuntimeLimits(resident_bytes=0 if state == "dormant" else 1 << 40)
        log = MemoryLog()
        runtime = Runtime(log, [Totals()], room=lambda lane: 1 << 30, limits=limits)  # type: ignore[arg-type]
        async with trio.open_nursery() as service:
            await service.start(runtime.run)
            await runtime.tell("total", "first", Begin() if state == "running" else Count())
            names = [f"total_{number:020}" for number in range(actors)]
            log.versions = dict.fromkeys(names, 1)
            gc.collect()
            tracemalloc.start()
            for name in names:
                await runtime.tell("total", name, Begin() if state == "running" else Count())
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            found[state] = tracemalloc.get_traced_memory()[0] / actors
            tracemalloc.stop()
            counts = runtime.counts()
            assert counts["resident"] == (0 if state == "dormant" else actors + 1), counts
            assert counts["effects"] == (actors + 1 if state == "running" else 0), counts
            service.cancel_scope.cancel()
    return found


def _fold_us(events: int) -> float:
    """CPU µs to fold one stored event: what loading costs, the read apart."""
    payload = Totals.codec.encode(Counted(amount=1), 0).payload
    aggregate, decode = Aggregate(Totals(), "total_1", ""), Totals.codec.decode
    started = time.process_time()
    for _ in range(events):
        aggregate.evolve(decode(payload), 0)
    return (time.process_time() - started) / events * 1e6


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--actors", type=int, default=10_000)
    given = parser.parse_args()
    shapes = [(concurrency, 1) for concurrency in CONCURRENCIES] + [(64, 20)]
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {shape: [] for shape in shapes}
    for _ in range(given.rounds):
        for concurrency, events in shapes:
            commands = given.commands // given.rounds // concurrency * concurrency
            log = trio.run(_cpu_of_log, commands, concurrency, events) / commands * 1e6
            whole = trio.run(_cpu, commands, concurrency, events) / commands * 1e6
            taken[concurrency, events].append((whole, log))
    print(
        "CPU in µs: concurrency, events/command, per command with the log, the log alone, runtime per event (goal 70)"
    )
    for (concurrency, events), rounds in taken.items():
        whole = statistics.median(one for one, _ in rounds)
        log = statistics.median(other for _, other in rounds)
        ours = (whole - log) / events
        met = "met" if ours <= GOAL_US else "MISSED"
        print(f"{concurrency:5} {events:5} {whole:9.1f} {log:9.1f} {ours:9.1f}  {met}")
    print(f"folding a stored event: {_fold_us(200_000):.2f} µs")
    for state, size in trio.run(_bytes, given.actors).items():
        print(f"{state:9} actor: {size:8.0f} bytes")


if __name__ == "__main__":
    main()
