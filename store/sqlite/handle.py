"""The files of a log as its one writing process holds them: connections and the writer. Synchronous.

Whoever opens them holds the lock file already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from perdure.events.codec import Codec
from perdure.events.ids import IdSource
from perdure.store.sqlite import schema
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.faults import translate
from perdure.store.sqlite.opening import create, judge_file, judge_log
from perdure.store.sqlite.writer import Writer


class WritingHandle:
    """The connections of a writing process."""

    def __init__(
        self, path: Path, log_id: str, connection: sqlite3.Connection, checkpointer: sqlite3.Connection, writer: Writer
    ) -> None:
        self.path = path
        self.log_id = log_id
        self.writer = writer
        self._connection = connection
        self._checkpointer = checkpointer

    def checkpoint(self) -> int:
        """Moves what it can of the WAL into the database file, beside the commits that go on meanwhile.

        Gives how many pages the WAL held, 0 where that could not be told.
        """
        with suppress(sqlite3.Error):  # the log is whole with the WAL too, and a later checkpoint tries again
            _, pages, _ = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return max(int(pages), 0)
        return 0

    def empty_wal(self) -> None:
        """Moves the WAL into the database file and empties it; does nothing where a reader is in the way.

        For the thread that commits, between two commits.
        """
        if not self.writer.healthy:
            return
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.execute(f"PRAGMA busy_timeout = {schema.BUSY_TIMEOUT_MS}")

    def close(self) -> None:
        """Closes the connections; the last one to close moves the WAL into the database file."""
        self.empty_wal()
        self._checkpointer.close()
        self._connection.close()


def open_for_writing(
    file: Path,
    codecs: Sequence[Codec[Any]] | None,
    synchronous: schema.Synchronous,
    clock: Callable[[], int],
    ids: IdSource,
) -> WritingHandle:
    """Opens a log, or makes it. `codecs` and the errors are those of `open_log`; `clock` gives µs since 1970, UTC."""
    if judge_file(file):
        connections = Connections(file)
        try:
            connections.use(lambda connection: judge_log(connection, file, codecs))
        finally:
            connections.close()
    else:
        create(file, ids("log"), clock())
    with ExitStack() as undo:
        try:
            connection = undo.enter_context(closing(schema.open_writer(file, synchronous)))
            checkpointer = undo.enter_context(closing(schema.open_checkpointer(file)))
            log_id = judge_log(connection, file, codecs)
            schema.migrate(connection)
            writer = Writer(connection, file, clock=clock, build=version("perdure"), synchronous=synchronous)
            writer.open_fence()
        except sqlite3.Error as error:
            raise translate(error, file, "opening the log") from error
        undo.pop_all()
    return WritingHandle(file, log_id, connection, checkpointer, writer)
