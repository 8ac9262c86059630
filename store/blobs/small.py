"""Small blobs: rows of one SQLite file in the root, so that one sync makes all that came in a turn durable.

A file costs the system far more than the few bytes in it: made, synced, renamed, and its folder synced. A row's `file`
is what the blob's own file would be, header and content, so that both are read and checked in one way. A blob has a row
or a file; where it has both, the row counts.

The first small put makes the database, under another name first: it is whole as soon as it has its own. Like the
folders it belongs to the one process that writes. Everything here blocks and runs inside a hop.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from perdure.events.errors import NotFound
from perdure.store.blobs.layout import FILE_MODE, HEADER_BYTES, sync_file, sync_folder
from perdure.store.crash_points import crash_point
from perdure.store.sqlite.connections import Connections

T = TypeVar("T")

FILE_NAME: Final = "small.db"

SMALL_BYTES: Final = 16 * 1024
"""Contents below this are rows. A row is written twice, into the WAL and from there into its place, which for much more
than this costs as much as a file."""

_BUSY_TIMEOUT_S: Final = 5.0
_CACHE_KIB: Final = 4_096
_WAL_PAGES: Final = 4_000
"""At how many pages (16 MiB) the WAL is moved into the database: some thousand small blobs at a time."""

_AMONG: Final = "WHERE digest IN (SELECT value FROM json_each(?))"
"""One statement for any number of digests: each statement costs the thread its turn at the interpreter."""

_TABLES: Final = (
    "CREATE TABLE blobs (digest TEXT NOT NULL, stored_at INTEGER NOT NULL, file BLOB NOT NULL)",
    # With the time beside it the sweep does not read the rows themselves.
    "CREATE INDEX blobs_by_digest ON blobs (digest, stored_at)",
)


class SmallBlobs:
    """Reads small blobs, from any process. The database need not exist yet. For several threads at once."""

    def __init__(self, root: Path) -> None:
        self._connections = Connections(root / FILE_NAME, what="small blobs")

    def file(self, digest: str) -> bytes | None:
        """Header and content of a blob, None if there is no row of it. Raises `Corrupt`, `Unavailable`."""

        def read(connection: sqlite3.Connection) -> bytes | None:
            found = connection.execute("SELECT file FROM blobs WHERE digest = ?", (digest,)).fetchone()
            return None if found is None else bytes(found[0])

        return self._use(read)

    def older_than(self, age_s: float, after: str, limit: int) -> list[str]:
        """The first `limit` digests behind `after` that were stored `age_s` ago or earlier, in order."""

        def read(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT digest FROM blobs WHERE digest > ? AND stored_at <= ? ORDER BY digest LIMIT ?",
                (after, int(time.time() - age_s), limit),
            )
            return [digest for (digest,) in rows]

        return self._use(read) or []

    def close(self) -> None:
        """Closes what is open. It can be used again."""
        self._connections.close()

    def _use(self, read: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            return self._connections.use(read)
        except NotFound:
            return None


class SmallBlobWriter:
    """The one writer, for one turn at a time. All methods raise OSError and `sqlite3.Error`: then nothing was changed.

    `draft` names a file that may be made (see `Scratch.path`); the root exists, durably, when it returns.
    """

    def __init__(self, root: Path, draft: Callable[[], Path]) -> None:
        self._root = root
        self._path = root / FILE_NAME
        self._draft = draft
        self._connection: sqlite3.Connection | None = None

    def find(self, digests: Collection[str]) -> dict[str, bytes]:
        """Header and content of those of `digests` that have a row. What is found is durable."""
        if self._connection is None and not self._path.exists():
            return {}

        def read(connection: sqlite3.Connection) -> dict[str, bytes]:
            return dict(connection.execute(f"SELECT digest, file FROM blobs {_AMONG}", (_listed(digests),)))

        return self._run(read)

    def store(self, files: Mapping[str, bytes]) -> None:
        """Stores `files`, header and content by digest, and makes them durable. Rows that are there are replaced."""

        def write(connection: sqlite3.Connection) -> None:
            now = int(time.time())
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"DELETE FROM blobs {_AMONG}", (_listed(files),))
            connection.executemany(
                "INSERT INTO blobs VALUES (?, ?, ?)", [(digest, now, file) for digest, file in files.items()]
            )
            crash_point("blob.renamed")
            connection.execute("COMMIT")

        self._run(write)

    def remove(self, digests: Collection[str]) -> dict[str, int]:
        """Removes rows and gives their space back; returns the sizes of the contents removed, by digest."""
        if self._connection is None and not self._path.exists():
            return {}

        def write(connection: sqlite3.Connection) -> dict[str, int]:
            listed = (_listed(digests),)
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(f"SELECT digest, length(file) FROM blobs {_AMONG}", listed)
            removed = {digest: max(size - HEADER_BYTES, 0) for digest, size in found}
            connection.execute(f"DELETE FROM blobs {_AMONG}", listed)
            connection.execute("COMMIT")
            if removed:
                # It gives a row without columns for each page, at which `execute` would stop.
                connection.executescript("PRAGMA incremental_vacuum")
            return removed

        return self._run(write)

    def close(self) -> None:
        """Moves the WAL into the database and closes it. The writer can be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._open()
        done = False
        try:
            result = work(self._connection)
            done = True
            return result
        finally:
            if not done:
                # Rolls back, and the next one begins with what the disk says.
                self.close()

    def _open(self) -> sqlite3.Connection:
        if self._path.exists():
            wal = self._path.with_name(f"{FILE_NAME}-wal")
            if wal.exists():
                # A process that was killed may have committed what it could not sync any more.
                sync_file(wal)
                sync_folder(self._root)
        else:
            self._make()
        connection = _connect(self._path)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        return connection

    def _make(self) -> None:
        draft = self._draft()
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        with closing(_connect(draft)) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in _TABLES:
                connection.execute(statement)
            # Closing would do it too, and tell nobody when it fails.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        sync_file(draft)
        for suffix in ("-wal", "-shm"):
            # Left where somebody removed only the database: they must not be taken for the new one's.
            self._path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
        os.rename(draft, self._path)
        sync_folder(self._root)


def _listed(digests: Iterable[str]) -> str:
    """The parameter of `_AMONG`."""
    return msgspec.json.encode(list(digests)).decode()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        isolation_level=None,  # transactions are begun and ended in the open, never by the driver
        check_same_thread=False,  # a hop may land on any worker thread; turns never overlap
        timeout=_BUSY_TIMEOUT_S,
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection
