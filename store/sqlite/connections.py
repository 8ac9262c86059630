"""Connections that read: a small pool of them for a process, which creates no files and takes no lock of ours.

While a writer lives, or after it died, there is a WAL beside the database and SQLite reads both. After a clean close
there is none, and SQLite would have to create one only to read; then the file is opened as immutable instead, and each
answer is checked afterwards: when a writer has begun meanwhile the answer is thrown away and read again with the WAL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias, TypeVar

from perdure.events.errors import NotFound, PerdureError, Unavailable
from perdure.store.sqlite.faults import primary_code, translate
from perdure.store.sqlite.schema import open_for_reading

R = TypeVar("R")
T = TypeVar("T")
Y = TypeVar("Y")

_Stamp: TypeAlias = tuple[int, int, int]


class Connections:
    """A pool of read-only connections. `use` may be called from several threads, each call gets one of its own.

    `what` the file holds, for messages.
    """

    def __init__(self, path: Path, *, what: str = "log") -> None:
        self._path = path
        self._what = what
        self._wal = path.with_name(path.name + "-wal")
        self._free: list[tuple[sqlite3.Connection, _Stamp | None]] = []
        self._closed = False

    def use(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` gives for a connection. It may be called again when a writer began during the first call.

        Raises `NotFound`, `Corrupt`, `Unavailable`.
        """
        try:
            while True:
                connection, stamp = self._take()
                keep = False
                try:
                    result = read(connection)
                    valid = stamp is None or stamp == self._stamp()
                    keep = valid and not self._closed
                    if valid:
                        return result
                finally:
                    if keep:
                        self._free.append((connection, stamp))
                    else:
                        connection.close()
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def iterate(self, read: Callable[[sqlite3.Connection], Generator[Y, None, R]]) -> Generator[Y, None, R]:
        """Runs a long read on a connection of its own that sees one snapshot from the first step to the last.

        Raises as `use`; `Unavailable` also where a writer began meanwhile on a log that nobody wrote at the start.
        """
        try:
            connection, stamp = self._open()
            with closing(connection):
                connection.execute("BEGIN")
                result = yield from read(connection)
                if stamp is not None and stamp != self._stamp():
                    raise Unavailable(f"{self._path}: a writer began while it was read; read again", retry_after_s=0.0)
                return result
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """Closes what is free; what is in use is closed when its call ends."""
        self._closed = True
        while self._free:
            self._free.pop()[0].close()

    def _take(self) -> tuple[sqlite3.Connection, _Stamp | None]:
        while self._free:
            connection, stamp = self._free.pop()
            if stamp is None or stamp == self._stamp():
                return connection, stamp
            connection.close()
        return self._open()

    def _open(self) -> tuple[sqlite3.Connection, _Stamp | None]:
        if self._wal.exists():
            return open_for_reading(self._path), None
        stamp = self._stamp()
        return open_for_reading(self._path, immutable=stamp is not None), stamp

    def _stamp(self) -> _Stamp | None:
        """What changes when a writer has touched the database file; None while there is a WAL."""
        if self._wal.exists():
            return None
        try:
            status = self._path.stat()
        except FileNotFoundError:
            raise NotFound(f"there is no {self._what} at {self._path}", id=str(self._path)) from None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _translate(self, error: sqlite3.Error) -> PerdureError:
        if primary_code(error) == sqlite3.SQLITE_CANTOPEN:
            if not self._path.exists():
                return NotFound(f"there is no {self._what} at {self._path}", id=str(self._path))
            return Unavailable(
                f"{self._path} cannot be opened for reading ({error}): its last writer left a WAL behind, which SQLite "
                "reads only with the -shm file beside it or a writable directory"
            )
        return translate(error, self._path, f"reading the {self._what}")
