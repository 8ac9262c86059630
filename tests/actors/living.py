"""A runtime over a real log for tests: inline disk, so that a virtual clock may jump."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from perdure.actors.kind import Kind
from perdure.actors.lane import Lane
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.events.event import Recorded
from perdure.events.ids import IdSource, new_id
from perdure.store.disk import Disk, InlineDisk
from perdure.store.log import LogReader
from perdure.store.sqlite import SqliteLog, open_log

EPOCH_US = 1_795_000_000_000_000


def virtual_us() -> int:
    """The wall clock that goes with trio's clock, in µs."""
    return EPOCH_US + round(trio.current_time() * 1_000_000)


@asynccontextmanager
async def living(
    path: Path,
    kinds: Sequence[Kind[Any, Any]],
    *,
    room: int | Callable[[Lane], int] = 64,
    limits: RuntimeLimits | None = None,
    disk: Disk | None = None,
    clock: Callable[[], int] = virtual_us,
    ids: IdSource = new_id,
) -> AsyncGenerator[tuple[Runtime, SqliteLog]]:
    """Opens the log at `path` and runs `kinds` on it until the block is left, without draining."""
    async with (
        open_log(path, disk=disk or InlineDisk(), codecs=[kind.codec for kind in kinds], clock=clock, ids=ids) as log,
        running(log, kinds, room=room, limits=limits, clock=clock) as runtime,
    ):
        yield runtime, log


@asynccontextmanager
async def running(
    log: Any,
    kinds: Sequence[Kind[Any, Any]],
    *,
    room: int | Callable[[Lane], int] = 64,
    limits: RuntimeLimits | None = None,
    clock: Callable[[], int] = virtual_us,
) -> AsyncGenerator[Runtime]:
    """Runs `kinds` on a log that somebody else opened, until the block is left, without draining."""

    def spread(lane: Lane) -> int:
        return room(lane) if callable(room) else room

    runtime = Runtime(log, kinds, room=spread, clock=clock, limits=limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(runtime.run)
        try:
            yield runtime
        finally:
            nursery.cancel_scope.cancel()


async def records_of(log: LogReader, actor: str) -> list[Recorded]:
    """All records of an actor."""
    return list(await log.stream(actor, limit=100_000))


async def types_of(log: LogReader, actor: str) -> list[str]:
    """The types of all events of an actor, without the toys' prefix."""
    return [record.type.removeprefix("toy.") for record in await records_of(log, actor)]


async def assert_due_times_hold(log: SqliteLog, kinds: Sequence[Kind[Any, Any]]) -> None:
    """Every row's due time is missing exactly when its fold asks for nothing, and never earlier than the fold says."""
    folds = {kind.name: KindFold(kind) for kind in kinds}
    after: str | None = None
    while rows := await log.rows(after=after):
        after = rows[-1].actor
        for stream in await log.load([row.actor for row in rows]):
            fold = folds[stream.row.kind]
            aggregate = fold.initial(stream.row.actor, stream.row.tenant)
            for _, at, payload in stream.events:
                fold.evolve(aggregate, fold.codec.decode(payload), at)
            due, stored = fold.standing(aggregate).next_due, stream.row.standing.next_due
            assert (due is None) == (stored is None), (stream.row.actor, due, stored)
            assert due is None or stored is None or due <= stored, (stream.row.actor, due, stored)


async def assert_verifies(log: SqliteLog, kinds: Sequence[Kind[Any, Any]]) -> None:
    """Chain, folds, rows, items: all say the same."""
    verified = await log.verify([KindFold(kind) for kind in kinds])
    assert verified.ok, verified.faults
    await assert_due_times_hold(log, kinds)
