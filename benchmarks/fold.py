"""A cold log folded, against bare msgspec decoding of the same rows, in turns within one run.

The log is written once; each turn opens it anew in this process. `fold_all` reads it in stream order, decodes through
the codec and evolves one state for each actor. *bare* reads the payloads in the same order and decodes them, no more;
*bare, as written* in order of position, which needs no index. The file is in the system's page cache: what is measured
is our work, not the disk.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from benchmarks._fsync import fsync_ms
from perdure.events.codec import Codec
from perdure.events.event import Event
from perdure.events.ids import new_id, now_us
from perdure.store.records import Append, Claim, CostRow, ItemRow, Standing
from perdure.store.sqlite import fold_all, open_log

ACTORS = 2_000
EVENTS = 100
ROUNDS = 7


class Opened(Event, tag="opened", frozen=True):
    """The actor began."""

    name: str = ""


class Moved(Event, tag="moved", frozen=True):
    """A small event."""

    by: int = 0
    note: str | None = None


class Ended(Event, tag="ended", frozen=True):
    """The actor ended."""

    ok: bool = False


CODEC: Codec[Event] = Codec("bench", [Opened, Moved, Ended])
RUNNING = Standing(status="running", fold=1, next_due=None)


class Place(Struct):
    """A small state."""

    at: int = 0
    moves: int = 0
    notes: int = 0
    ended: bool = False


class NoIndex(Struct, frozen=True):
    """Nothing for the read models."""

    items: Sequence[ItemRow] = ()
    references: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    released: Sequence[str] = ()
    cost: CostRow | None = None


class Fold:
    """Folds places."""

    name = "bench"
    fold = 1
    codec: Codec[Event] = CODEC

    def initial(self, actor: str, tenant: str) -> Place:
        """At the origin."""
        return Place()

    def evolve(self, state: Place, event: Event, at: int) -> Place:
        """Moves."""
        if isinstance(event, Moved):
            state.at += event.by
            state.moves += 1
            if event.note:
                state.notes += 1
        elif isinstance(event, Ended):
            state.ended = True
        return state

    def standing(self, state: Place) -> Standing:
        """Always running."""
        return RUNNING

    def index(self, event: Event) -> NoIndex:
        """Nothing."""
        return NoIndex()


async def write(path: Path, actors: int, events: int) -> None:
    """Writes the log: all actors side by side, so that no stream lies together in the file."""
    async with open_log(path, codecs=[CODEC], synchronous="NORMAL") as log:

        async def one(actor: str) -> None:
            for version in range(events):
                event = Opened(name="place") if version == 0 else Moved(by=version, note="to the left")
                encoded = CODEC.encode(event, now_us())
                await log.append(
                    Append(
                        actor=actor,
                        kind="bench",
                        tenant="",
                        expected_version=version,
                        events=(encoded,),
                        standing=RUNNING,
                    )
                )

        async with trio.open_nursery() as nursery:
            for _ in range(actors):
                nursery.start_soon(one, new_id("ses"))


def folded(path: Path) -> int:
    """Events folded."""
    return sum(version for _, version, _ in fold_all(path, [Fold()]))


def bare(path: Path, order: str) -> int:
    """Events decoded and dropped."""
    decode = msgspec.json.Decoder(Opened | Moved | Ended).decode
    connection = sqlite3.connect(path)
    count = 0
    try:
        for (payload,) in connection.execute(f"SELECT CAST(payload AS BLOB) FROM events ORDER BY {order}"):
            decode(payload)
            count += 1
    finally:
        connection.close()
    return count


def rate(work: Callable[[], int]) -> float:
    """Events a second."""
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def main(actors: int, events: int, rounds: int) -> None:
    """Prints the rates and shares."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        path = Path(directory) / "log.db"
        trio.run(write, path, actors, events)
        ways: dict[str, Callable[[], int]] = {
            "fold_all": lambda: folded(path),
            "bare": lambda: bare(path, "stream, version"),
            "bare, as written": lambda: bare(path, "position"),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                rates[name].append(rate(way))
        size = path.stat().st_size / (1 << 20)
        sync = fsync_ms(Path(directory))
    print(f"{actors * events:,} events of {actors:,} actors, {size:.0f} MiB, {rounds} rounds; fsync {sync:.3f} ms")
    for name, found in rates.items():
        print(f"  {name:17} {statistics.median(found):10,.0f} events/s  ({min(found):,.0f} to {max(found):,.0f})")
    for name in ("bare", "bare, as written"):
        shares = [mine / theirs for mine, theirs in zip(rates["fold_all"], rates[name], strict=True)]
        print(f"  fold_all / {name:17} {statistics.median(shares):.2f}  ({min(shares):.2f} to {max(shares):.2f})")
    print("  goal: 300,000 events/s or more, or 0.50 of bare")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=ACTORS)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    main(arguments.actors, arguments.events, arguments.rounds)
