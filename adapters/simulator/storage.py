"""What the simulator keeps: a small SQLite database, and files beside it.

The database holds provider objects (as JSON documents), the account and a few counters; bytes of files are plain files
under `files/`. A transaction that returned survives `kill -9` of the simulator. It is not meant to survive a power cut:
`synchronous` is off, because nothing here is worth an fsync.

The invariant: a row never names a file that is not whole. Bytes are written under a temporary name, renamed, and only
then named by a row; what a killed process left without a row is removed at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from perdure.events.errors import Conflict
from perdure.store.disk import Disk, ThreadDisk

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    tag TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL,
    gone INTEGER NOT NULL DEFAULT 0,
    doc BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE TABLE IF NOT EXISTS purchases (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    units INTEGER NOT NULL,
    at REAL NOT NULL,
    payload TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""

BULK_THREADS = 4
"""How many threads at once may read or write files."""


class Page(Struct, frozen=True):
    """One page of a list: the documents in order, and whether there are more behind them."""

    docs: list[bytes]
    has_more: bool


class Tables:
    """The database inside one transaction. Only for the length of the `with` block or call that handed it out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def next_ordinal(self, name: str) -> int:
        """Counts up the counter `name`, from 1."""
        row = self.connection.execute(
            "INSERT INTO numbers VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])

    def number(self, name: str) -> float:
        """The number kept under `name`, 0 if there is none."""
        row = self.connection.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def set_number(self, name: str, value: float) -> None:
        """Keeps `value` under `name`."""
        self.connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (name, value))

    def add(
        self, kind: str, id_: str, doc: bytes, *, tag: str = "", since: float = 0.0, until: float | None = None
    ) -> None:
        """Adds an object. It is listed from `since` on and exists until `until`, both by the simulator's clock."""
        self.connection.execute(
            "INSERT INTO objects (kind, id, tag, since, until, doc) VALUES (?, ?, ?, ?, ?, ?)",
            (kind, id_, tag, since, until, doc),
        )

    def get(self, kind: str, id_: str, now: float) -> bytes | None:
        """The document of an object that exists at `now`, or None."""
        row = self.connection.execute(
            "SELECT doc FROM objects WHERE id = ? AND kind = ? AND gone = 0 AND (until IS NULL OR until > ?)",
            (id_, kind, now),
        ).fetchone()
        return None if row is None else bytes(row[0])

    def replace(self, id_: str, doc: bytes) -> None:
        """Gives an object another document."""
        self.connection.execute("UPDATE objects SET doc = ? WHERE id = ?", (doc, id_))

    def remove(self, id_: str) -> None:
        """Makes an object gone. Its row stays, so that a list can still be read on from behind it."""
        self.connection.execute("UPDATE objects SET gone = 1 WHERE id = ?", (id_,))

    def place(self, kind: str, id_: str) -> int | None:
        """Where in its list an object stands or stood, or None if there never was one."""
        row = self.connection.execute("SELECT seq FROM objects WHERE id = ? AND kind = ?", (id_, kind)).fetchone()
        return None if row is None else int(row[0])

    def page(
        self, kind: str, *, now: float, limit: int, newest_first: bool, after: int | None = None, tag: str | None = None
    ) -> Page:
        """At most `limit` objects of a kind that exist and are listed at `now`, behind the place `after`."""
        where = "kind = ? AND gone = 0 AND since <= ? AND (until IS NULL OR until > ?)"
        values: list[str | float] = [kind, now, now]
        if tag is not None:
            where += " AND tag = ?"
            values.append(tag)
        if after is not None:
            where += " AND seq < ?" if newest_first else " AND seq > ?"
            values.append(after)
        order = "DESC" if newest_first else "ASC"
        rows = self.connection.execute(
            f"SELECT doc FROM objects WHERE {where} ORDER BY seq {order} LIMIT ?", (*values, limit + 1)
        ).fetchall()
        return Page([bytes(row[0]) for row in rows[:limit]], len(rows) > limit)

    def ids(self, kind: str, now: float) -> set[str]:
        """The ids of all objects of a kind that exist at `now`."""
        return {
            row[0]
            for row in self.connection.execute(
                "SELECT id FROM objects WHERE kind = ? AND gone = 0 AND (until IS NULL OR until > ?)", (kind, now)
            )
        }


class Storage:
    """Opens the simulator's directory, alone.

    Args:
        directory: where to keep things; made if it is not there. None: a temporary directory, deleted by `close`.
        disk: runs what blocks; None: threads of its own.

    Raises `Conflict` when another simulator has the directory open.
    """

    def __init__(self, directory: Path | None = None, disk: Disk | None = None) -> None:
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="perdure-simulator-")) if directory is None else directory
        self.files = self.directory / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._held = self._hold_directory()
        self._lock = threading.Lock()
        self._rows_disk = disk or ThreadDisk(1)
        self._bulk_disk = disk or ThreadDisk(BULK_THREADS)
        self._connection = sqlite3.connect(
            self.directory / "simulator.sqlite", isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)

    def _hold_directory(self) -> int:
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise Conflict(
                f"another simulator works in {self.directory}; end it, or give this one another directory"
            ) from None
        return descriptor

    @contextmanager
    def transaction(self) -> Generator[Tables]:
        """One transaction: committed at the end of the block, rolled back if the block raises. Blocks on the disk."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            end = "ROLLBACK"
            try:
                yield Tables(self._connection)
                end = "COMMIT"
            finally:
                self._connection.execute(end)

    async def run(self, work: Callable[[Tables], T]) -> T:
        """Runs `work` in one transaction, as one hop. What it did survives a kill once this returned."""

        def transact() -> T:
            with self.transaction() as tables:
                return work(tables)

        return await self._rows_disk.run(transact)

    async def bulk(self, work: Callable[[], T]) -> T:
        """Runs work on files, as one hop."""
        return await self._bulk_disk.run(work)

    def path(self, name: str) -> Path:
        """Where the bytes called `name` are. Names are ids that the simulator made, never what a client sent."""
        return self.files / name

    def sweep(self, keep: set[str]) -> None:
        """Removes all files but those named in `keep`."""
        for path in self.files.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the database, lets go of the directory, and deletes it if it is a temporary one."""
        with self._lock:
            self._connection.close()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._held)
