"""A subscriber's cursor in the log's own `tracking` table, for the process that writes the log."""

from __future__ import annotations

import sqlite3
from typing import Final

from perdure.store.cursor import cursor_after, position_of
from perdure.store.sqlite.log import SqliteLog

_PREFIX: Final = "subscriber/"
"""Keeps our names apart from those that applications of the `eventsourcing` library track in the same table."""


class TrackedCursor:
    """Implements `perdure.store.cursor_store.CursorStore`. It moves forward only, and with the log's own backups."""

    def __init__(self, log: SqliteLog, name: str) -> None:
        self._log = log
        self._name = _PREFIX + name

    async def load(self) -> str | None:
        """See `CursorStore.load`."""

        def read(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT position FROM tracking WHERE name = ?", (self._name,)).fetchone()
            return None if row is None else int(row[0])

        position = await self._log.read(read)
        return None if position is None else cursor_after(self._log.log_id, position)

    async def save(self, cursor: str) -> None:
        """See `CursorStore.save`: a commit of its own. Raises as `Log.append`, and `InvalidRequest`."""
        position = position_of(self._log.log_id, cursor)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO tracking VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)",
                (self._name, position),
            )

        await self._log.maintain(write)
