"""A connection that fails where a test says so: what SQLite reports, without a disk that breaks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure.store.sqlite import schema


def sqlite_error(code: int, text: str) -> sqlite3.OperationalError:
    """An error as the driver raises it, with SQLite's result code."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


SYNC_FAILED = 1034  # SQLITE_IOERR_FSYNC: extended codes have no names before Python 3.11's sqlite3 was built with them


class Faults:
    """Says which statements of the writer's connection fail, and sees those that it runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._plan: list[tuple[Callable[[str], bool], sqlite3.Error]] = []

    def fail_next(self, statement: str, error: sqlite3.Error) -> None:
        """The next statement that begins with `statement` raises instead of running."""
        self._plan.append((lambda text: text.startswith(statement), error))

    def judge(self, text: str) -> None:
        """Raises what was planned for `text`."""
        self.seen.append(text)
        for number, (matches, error) in enumerate(self._plan):
            if matches(text):
                del self._plan[number]
                raise error


class FaultyConnection(sqlite3.Connection):
    """Asks `faults` before each statement."""

    faults: Faults

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """See `sqlite3.Connection.execute`."""
        self.faults.judge(sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """See `sqlite3.Connection.executemany`."""
        self.faults.judge(sql)
        return super().executemany(sql, parameters)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Every log that the test opens for writing fails as these faults say."""
    planned = Faults()

    def open_writer(path: Path, synchronous: schema.Synchronous) -> sqlite3.Connection:
        real = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=FaultyConnection)
        real.faults = planned
        real.execute("PRAGMA journal_mode = WAL")
        real.execute(f"PRAGMA synchronous = {synchronous}")
        return real

    monkeypatch.setattr(schema, "open_writer", open_writer)
    return planned
