"""Reading a log: what every process may do, at any time, while one process writes it.

A reader takes no lock, creates no file and sees committed records only. Its work runs behind `Disk`, one hop for each
call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from perdure.events.codec import Codec
from perdure.events.errors import NotFound
from perdure.events.event import Recorded
from perdure.store.disk import Disk, ThreadDisk
from perdure.store.records import ActorRow, Holder, ItemRow, Stream
from perdure.store.replay import Foldable
from perdure.store.sqlite import queries
from perdure.store.sqlite.changes import Changes
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.opening import judge_file, judge_log, real_path
from perdure.store.sqlite.verify import Progress, Verified, verify

T = TypeVar("T")

READING_THREADS: Final = 4
"""Reads at a time: enough that one slow page does not hold up the rest; each costs a connection with its cache."""

POLL_S: Final = 0.1
"""How often a process that does not write asks whether there was a commit (one pragma, some microseconds)."""

FOLLOW_PAGE: Final = 500
"""Records read at a time by `follow`: some 100 KiB, one hop."""


class SqliteReader:
    """Implements `perdure.store.log.LogReader`. Made by `open_reader`, and by `open_log` as part of a `SqliteLog`."""

    def __init__(self, path: Path, log_id: str, connections: Connections, disk: Disk, changes: Changes) -> None:
        self.path = path
        """The file of the log, links resolved."""
        self.log_id = log_id
        self.changes = changes
        """Signals after commits; in a process that only reads they come from polling."""
        self._connections = connections
        self._reading = disk

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` gives for a read-only connection, in one hop. It may be called twice, so it must only read."""
        return await self._reading.run(partial(self._connections.use, query))

    async def hop(self, work: Callable[[], T]) -> T:
        """Runs reading `work` with a connection of its own where the reads of this log run, in one hop."""
        return await self._reading.run(work)

    async def row(self, actor: str) -> ActorRow | None:
        """See `LogReader.row`."""
        return await self.read(partial(queries.row, actor=actor))

    async def find_key(self, tenant: str, key: str) -> Holder | None:
        """See `LogReader.find_key`."""
        return (await self.find_keys(tenant, [key])).get(key)

    async def find_keys(self, tenant: str, keys: Sequence[str]) -> Mapping[str, Holder]:
        """See `LogReader.find_keys`."""
        return await self.read(partial(queries.find_keys, tenant=tenant, keys=keys))

    async def rows(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        group: str | None = None,
        tag: tuple[str, str] | None = None,
        after: str | None = None,
        limit: int = 500,
    ) -> Sequence[ActorRow]:
        """See `LogReader.rows`."""
        return await self.read(
            partial(
                queries.rows,
                kind=kind,
                status=status,
                provider=provider,
                tenant=tenant,
                group=group,
                tag=tag,
                after=after,
                limit=limit,
            )
        )

    async def load(self, actors: Sequence[str], *, after: int = 0, until: int | None = None) -> Sequence[Stream]:
        """See `LogReader.load`."""
        return await self.read(partial(queries.load, actors=actors, after=after, until=until))

    async def stream(self, actor: str, *, after: int = 0, limit: int = 1_000) -> Sequence[Recorded]:
        """See `LogReader.stream`."""
        return await self.read(partial(queries.stream, actor=actor, after=after, limit=limit))

    async def records(self, *, after: int = 0, until: int | None = None, limit: int = 1_000) -> Sequence[Recorded]:
        """See `LogReader.records`."""
        return await self.read(partial(queries.records, after=after, until=until, limit=limit))

    async def head(self) -> int:
        """See `LogReader.head`."""
        return await self.read(queries.head)

    async def items(self, actor: str, *, first: int, last: int) -> Sequence[ItemRow]:
        """See `LogReader.items`."""
        return await self.read(partial(queries.items, actor=actor, first=first, last=last))

    async def items_by_number(self, actor: str, numbers: Sequence[int]) -> Mapping[int, ItemRow]:
        """See `LogReader.items_by_number`."""
        return await self.read(partial(queries.items_by_number, actor=actor, numbers=numbers))

    async def item_named(self, actor: str, name: str) -> ItemRow | None:
        """See `LogReader.item_named`."""
        return await self.read(partial(queries.item_named, actor=actor, name=name))

    async def verify(
        self,
        folds: Iterable[Foldable[Any]] = (),
        *,
        kept_head: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Verified:
        """Checks the chain over all commits, folds every actor that `folds` can and compares its rows: see `Verified`.

        `kept_head` is the `head` of an earlier run, kept elsewhere. Appends go on meanwhile and are not looked at.
        Raises `Unavailable` where a writer began on a log that nobody wrote; run it again.
        """
        return await verify(self._connections, folds, kept_head=kept_head, disk=self._reading, progress=progress)

    def follow(self, *, after: int = 0, actor: str | None = None) -> AsyncIterator[Recorded]:
        """See `LogReader.follow`. What was yielded is final: no record appears later at a lower position."""
        return _Following(self, after, actor)


class _Following:
    """The iterator of `follow`. Not a generator: one that is left half-way needs no closing."""

    def __init__(self, reader: SqliteReader, after: int, actor: str | None) -> None:
        self._reader = reader
        self._after = after
        self._version = 0
        self._actor = actor
        self._page: Iterator[Recorded] = iter(())

    def __aiter__(self) -> _Following:
        return self

    async def __anext__(self) -> Recorded:
        while True:
            record = next(self._page, None)
            if record is not None:
                self._after, self._version = record.position, record.version
                return record
            signal = self._reader.changes.signal(self._actor)
            page = await self._read()
            if not page:
                await signal.wait()
            self._page = iter(page)

    async def _read(self) -> Sequence[Recorded]:
        if self._actor is None:
            return await self._reader.records(after=self._after, limit=FOLLOW_PAGE)
        return await self._reader.read(
            partial(
                queries.stream,
                actor=self._actor,
                after=self._version,
                limit=FOLLOW_PAGE,
                after_position=self._after,
            )
        )


@asynccontextmanager
async def open_reader(
    path: str | Path, *, codecs: Iterable[Codec[Any]] | None = None, disk: Disk | None = None
) -> AsyncGenerator[SqliteReader]:
    """Opens a log for reading, also while another process writes it or after its writer died.

    `codecs` given, a log that holds newer events than they know is refused. Raises `NotFound`, `LogForeign`,
    `LogNewer`, `Corrupt`, `Unavailable` (a dead writer's WAL in a directory that may not be written).
    """
    reading = disk or ThreadDisk(READING_THREADS)
    file = real_path(path)
    known = None if codecs is None else tuple(codecs)

    def judge() -> tuple[Connections, str]:
        if not judge_file(file):
            raise NotFound(f"there is no log at {file}", id=str(file))
        connections = Connections(file)
        return connections, connections.use(lambda connection: judge_log(connection, file, known))

    connections, log_id = await reading.run(judge)
    reader = SqliteReader(file, log_id, connections, reading, Changes())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, reader)
            yield reader
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await reading.run(connections.close)


async def _watch(reader: SqliteReader) -> None:
    """Turns commits of another process into signals, while anybody waits for one."""
    seen = -1
    while True:
        await reader.changes.wanted()
        head = await reader.head()
        if head != seen:
            seen = head
            reader.changes.changed_somewhere()
        await trio.sleep(POLL_S)
