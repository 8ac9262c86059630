"""Opening a log for writing, and the log as the runtime holds it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio

from perdure.events.codec import Codec
from perdure.events.errors import LogLocked
from perdure.events.ids import IdSource, new_id, now_us
from perdure.store.disk import Disk, ThreadDisk
from perdure.store.log import CommitListener
from perdure.store.records import ActorRow, Append, Appended, Standing, Stream
from perdure.store.sqlite import queries, schema
from perdure.store.sqlite.changes import Changes
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.group_commit import QUEUE_BYTES, GroupCommit
from perdure.store.sqlite.handle import WritingHandle, open_for_writing
from perdure.store.sqlite.lock import RETRY_S, LockFile
from perdure.store.sqlite.opening import judge_file, judge_writable, real_path
from perdure.store.sqlite.reader import READING_THREADS, SqliteReader

T = TypeVar("T")

CHECKPOINT_PAGES: Final = 4_000
"""At about this many pages of WAL (16 MiB) a checkpoint runs beside the commits: half of what makes SQLite run one
within a commit, which then finds little left to do."""

_ROWS_PER_PAGE: Final = 20


class SqliteLog(SqliteReader):
    """Implements `perdure.store.log.Log`. Made by `open_log`."""

    def __init__(
        self,
        opened: WritingHandle,
        connections: Connections,
        writing: Disk,
        reading: Disk,
        checkpoints: Disk,
        queue_bytes: int,
    ) -> None:
        super().__init__(opened.path, opened.log_id, connections, reading, Changes())
        self._opened = opened
        self._writer = opened.writer
        self._checkpoints = checkpoints
        self._checkpoint_due = trio.Event()
        self._rows = 0
        self._rows_between = CHECKPOINT_PAGES
        self._listeners: dict[int, CommitListener] = {}
        self._next_listener = 0
        self._committer = GroupCommit(
            opened.writer, writing, committed=self._tell, when_idle=opened.empty_wal, queue_bytes=queue_bytes
        )

    async def run(self) -> None:
        """The writer's task, which `open_log` starts; it ends after `close`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._checkpoint_at_times)
            await self._committer.run()
            nursery.cancel_scope.cancel()

    async def _checkpoint_at_times(self) -> None:
        while True:
            await self._checkpoint_due.wait()
            self._checkpoint_due = trio.Event()
            pages = await self._checkpoints.run(self._opened.checkpoint)
            # How many pages a row takes depends on where it lies: learnt from what the WAL has come to.
            if pages < CHECKPOINT_PAGES // 2:
                self._rows_between = min(self._rows_between * 2, CHECKPOINT_PAGES * _ROWS_PER_PAGE)
            elif pages > CHECKPOINT_PAGES * 2:
                self._rows_between = max(self._rows_between // 2, CHECKPOINT_PAGES // 4)

    def close(self) -> None:
        """Refuses further appends and lets `run` end once those that are handed over are decided."""
        self._committer.close()

    @property
    def healthy(self) -> bool:
        """See `Log.healthy`."""
        return self._writer.healthy

    def append(self, append: Append) -> Coroutine[Any, Any, Appended]:
        """See `Log.append`."""
        return self._committer.append(append)

    def move_due(self, actor: str, next_due: int) -> None:
        """See `Log.move_due`."""
        self._committer.move_due(actor, next_due)

    async def resume(self, actors: Sequence[str], *, folds: Mapping[str, int]) -> Sequence[Stream]:
        """See `Log.resume`."""
        return await self.read(partial(queries.resume, actors=actors, folds=folds))

    async def due(self, *, after: tuple[int, str] | None = None, limit: int = 500) -> Sequence[ActorRow]:
        """See `Log.due`."""
        return await self.read(partial(queries.due, after=after, limit=limit))

    async def known_as(self, name: str) -> Sequence[ActorRow]:
        """See `Log.known_as`."""
        return await self.read(partial(queries.known_as, name=name))

    async def outdated(self, kind: str, fold: int, *, limit: int = 500) -> Sequence[str]:
        """See `Log.outdated`."""
        return await self.read(partial(queries.outdated, kind=kind, fold=fold, limit=limit))

    async def restate(self, rows: Mapping[str, Standing]) -> None:
        """See `Log.restate`."""
        await self._committer.in_writer(lambda _, ledger: ledger.restate(rows))

    @contextmanager
    def on_commit(self, listener: CommitListener) -> Generator[None]:
        """Has `listener` told of every commit while the block runs: see `CommitListener`."""
        number = self._next_listener
        self._next_listener += 1
        self._listeners[number] = listener
        try:
            yield
        finally:
            del self._listeners[number]

    async def referenced(self, digests: Iterable[str]) -> set[str]:
        """Which of these blobs some event names. Asked in the writer, so no commit is under way meanwhile."""
        text = msgspec.json.encode(list(digests)).decode()

        def work(connection: sqlite3.Connection, _: object) -> set[str]:
            found = connection.execute(
                "SELECT DISTINCT digest FROM blob_references WHERE digest IN (SELECT value FROM json_each(?))", (text,)
            )
            return {digest for (digest,) in found}

        return await self._committer.in_writer(work)

    async def last_time(self) -> int:
        """The latest time (µs since 1970 UTC) by which somebody wrote here, by his clock: who comes next goes on from
        it where his own clock is a little behind."""
        return await self.read(queries.last_time)

    async def forget(self, actor: str) -> None:
        """Drops an actor's references to blobs, once its events are archived or erased. Durable on return."""

        def work(connection: sqlite3.Connection, _: object) -> None:
            connection.execute(
                "DELETE FROM blob_references WHERE stream = (SELECT id FROM streams WHERE actor = ?)", (actor,)
            )

        await self._committer.in_writer(work)

    async def maintain(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on the connection that writes, in a transaction of its own between two groups: for tables that
        follow the log. Durable on return. Raises like `append`, and what `work` raises: then nothing was written."""
        return await self._committer.in_writer(lambda connection, _: work(connection))

    def _tell(self, written: Sequence[tuple[Append, Appended]]) -> None:
        self._rows += sum([len(append.events) + len(append.items) for append, _ in written])
        if self._rows >= self._rows_between:
            self._rows = 0
            self._checkpoint_due.set()
        self.changes.committed(append.actor for append, _ in written)
        for listener in tuple(self._listeners.values()):
            listener(written)


@asynccontextmanager
async def open_log(
    path: str | Path,
    *,
    codecs: Iterable[Codec[Any]] | None,
    disk: Disk | None = None,
    synchronous: schema.Synchronous = "FULL",
    wait_for_lock_s: float = 0.0,
    clock: Callable[[], int] = now_us,
    ids: IdSource = new_id,
    address: str = "",
    queue_bytes: int = QUEUE_BYTES,
) -> AsyncGenerator[SqliteLog]:
    """Opens a log for writing, makes it if there is none, and drains and closes it at the end of the block.

    `codecs` are those of every kind that this build knows; None does not ask whether the log holds anything newer.
    `disk` runs all blocking work; by default one thread writes and a few read. `clock` gives µs since 1970, UTC.
    `address` is told to those who find the log locked.

    Raises, with nothing changed: `LogLocked` after `wait_for_lock_s` seconds, `LogForeign`, `LogNewer`, `Corrupt`,
    `DiskFull` (also where file or directory are read-only), `NotFound` (no such directory).
    """
    writing = disk or ThreadDisk(1)
    reading = disk or ThreadDisk(READING_THREADS)
    file = real_path(path)
    known = None if codecs is None else tuple(codecs)
    await writing.run(partial(judge_file, file))
    await writing.run(partial(judge_writable, file))
    lock = await _acquire(file, writing, wait_for_lock_s, since=clock(), address=address)
    try:
        opened = await writing.run(lambda: open_for_writing(file, known, synchronous, clock, ids))
        connections = Connections(file)
        try:
            log = SqliteLog(opened, connections, writing, reading, disk or ThreadDisk(1), queue_bytes)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run)
                try:
                    yield log
                finally:
                    log.close()
        finally:
            with trio.CancelScope(shield=True):
                await reading.run(connections.close)
                await writing.run(opened.close)
    finally:
        with trio.CancelScope(shield=True):
            await writing.run(lock.release)


async def _acquire(file: Path, disk: Disk, wait_s: float, *, since: int, address: str) -> LockFile:
    deadline = trio.current_time() + wait_s
    while True:
        try:
            return await disk.run(lambda: LockFile.acquire(file, since=since, address=address))
        except LogLocked:
            left_s = deadline - trio.current_time()
            if left_s <= 0:
                raise
        await trio.sleep(min(RETRY_S, left_s))
