"""What is read from a log, as plain functions on a connection. Each sees one snapshot of what is committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from perdure.events.event import Recorded
from perdure.store.records import ActorRow, Holder, ItemRow, Stream
from perdure.store.sqlite.rows import (
    ITEM_COLUMNS,
    RECORD_COLUMNS,
    RECORD_SOURCE,
    STREAM_COLUMNS,
    actor_row,
    item_row,
    recorded,
)

_END = (1 << 63) - 1
"""Above every position, version and item number: SQLite's integers end here."""


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """All reads inside see the log as it was at the first of them."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def row(connection: sqlite3.Connection, actor: str) -> ActorRow | None:
    """See `LogReader.row`."""
    fields = connection.execute(f"SELECT {STREAM_COLUMNS} FROM streams WHERE actor = ?", (actor,)).fetchone()
    return None if fields is None else actor_row(fields)


def find_keys(connection: sqlite3.Connection, tenant: str, keys: Sequence[str]) -> Mapping[str, Holder]:
    """See `LogReader.find_keys`."""
    found = connection.execute(
        "SELECT k.*, s.actor FROM keys k JOIN streams s ON s.id = k.stream "
        "WHERE k.tenant = ? AND k.key IN (SELECT value FROM json_each(?))",
        (tenant, msgspec.json.encode(keys).decode()),
    )
    # In a file of format 1 that no newer build has opened for writing, the keys of single items have no columns.
    return {key: Holder(actor, *item) for _, key, _, *item, actor in found}


def rows(
    connection: sqlite3.Connection,
    *,
    kind: str | None = None,
    status: str | None = None,
    provider: str | None = None,
    tenant: str | None = None,
    group: str | None = None,
    tag: tuple[str, str] | None = None,
    after: str | None = None,
    limit: int = 500,
) -> list[ActorRow]:
    """See `LogReader.rows`."""
    terms: list[str] = []
    values: list[str | int] = []
    wanted = {"kind": kind, "status": status, "provider": provider, "tenant": tenant, '"group"': group}
    for column, value in wanted.items():
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    if tag is not None:
        terms.append("tags <> '' AND EXISTS (SELECT 1 FROM json_each(tags) t WHERE t.key = ? AND t.value = ?)")
        values.extend(tag)
    if after is not None:
        terms.append("id < (SELECT id FROM streams WHERE actor = ?)")
        values.append(after)
    where = f"WHERE {' AND '.join(terms)} " if terms else ""
    # The page's ids first: sorting a whole kind would otherwise look up the last event of each of its actors.
    found = connection.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams "
        f"WHERE id IN (SELECT id FROM streams {where}ORDER BY id DESC LIMIT ?) ORDER BY id DESC",
        (*values, limit),
    )
    return [actor_row(fields) for fields in found]


def load(connection: sqlite3.Connection, actors: Sequence[str], *, after: int, until: int | None) -> list[Stream]:
    """See `LogReader.load`."""
    loaded: list[Stream] = []
    with snapshot(connection):
        for actor in actors:
            found = connection.execute(f"SELECT id, {STREAM_COLUMNS} FROM streams WHERE actor = ?", (actor,)).fetchone()
            if found is not None:
                events = connection.execute(
                    "SELECT version, at, CAST(payload AS BLOB) FROM events "
                    "WHERE stream = ? AND version > ? AND version <= ? ORDER BY version",
                    (found[0], after, _END if until is None else until),
                ).fetchall()
                loaded.append(Stream(actor_row(found[1:]), events))
    return loaded


def resume(connection: sqlite3.Connection, actors: Sequence[str], *, folds: Mapping[str, int]) -> list[Stream]:
    """See `Log.resume`."""
    loaded: list[Stream] = []
    with snapshot(connection):
        for actor in actors:
            found = connection.execute(f"SELECT id, {STREAM_COLUMNS} FROM streams WHERE actor = ?", (actor,)).fetchone()
            if found is None:
                continue
            row = actor_row(found[1:])
            kept = connection.execute(
                "SELECT version, payload FROM snapshots WHERE stream = ? AND fold = ? AND version <= ?",
                (found[0], folds.get(row.kind, -1), row.version),
            ).fetchone()
            events = connection.execute(
                "SELECT version, at, CAST(payload AS BLOB) FROM events "
                "WHERE stream = ? AND version > ? ORDER BY version",
                (found[0], 0 if kept is None else kept[0]),
            ).fetchall()
            loaded.append(Stream(row, events, None if kept is None else kept[1]))
    return loaded


def stream(
    connection: sqlite3.Connection, actor: str, *, after: int, limit: int, after_position: int = 0
) -> list[Recorded]:
    """See `LogReader.stream`; `after_position` leaves out what stands at or before a position."""
    found = connection.execute(
        f"SELECT {RECORD_COLUMNS} FROM {RECORD_SOURCE} WHERE e.stream = (SELECT id FROM streams WHERE actor = ?) "
        "AND e.version > ? AND e.position > ? ORDER BY e.version LIMIT ?",
        (actor, after, after_position, limit),
    )
    return [recorded(fields) for fields in found]


def records(connection: sqlite3.Connection, *, after: int, until: int | None, limit: int) -> list[Recorded]:
    """See `LogReader.records`."""
    found = connection.execute(
        f"SELECT {RECORD_COLUMNS} FROM {RECORD_SOURCE} "
        "WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT ?",
        (after, _END if until is None else until, limit),
    )
    return [recorded(fields) for fields in found]


def head(connection: sqlite3.Connection) -> int:
    """See `LogReader.head`."""
    return int(connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])


def last_time(connection: sqlite3.Connection) -> int:
    """See `SqliteLog.last_time`."""
    found = connection.execute(
        "SELECT max((SELECT at FROM fence), coalesce((SELECT at FROM events ORDER BY position DESC LIMIT 1), 0))"
    )
    return int(found.fetchone()[0])


def items(connection: sqlite3.Connection, actor: str, *, first: int, last: int) -> list[ItemRow]:
    """See `LogReader.items`."""
    found = connection.execute(
        f"SELECT {ITEM_COLUMNS} FROM items WHERE stream = (SELECT id FROM streams WHERE actor = ?) "
        "AND number >= ? AND number <= ? ORDER BY number",
        (actor, first, last),
    )
    return [item_row(fields) for fields in found]


def items_by_number(connection: sqlite3.Connection, actor: str, numbers: Sequence[int]) -> Mapping[int, ItemRow]:
    """See `LogReader.items_by_number`."""
    found = connection.execute(
        f"SELECT {ITEM_COLUMNS} FROM items WHERE stream = (SELECT id FROM streams WHERE actor = ?) "
        "AND number IN (SELECT value FROM json_each(?))",
        (actor, msgspec.json.encode(numbers).decode()),
    )
    return {fields[0]: item_row(fields) for fields in found}


def item_named(connection: sqlite3.Connection, actor: str, name: str) -> ItemRow | None:
    """See `LogReader.item_named`."""
    found = connection.execute(
        f"SELECT {ITEM_COLUMNS} FROM items WHERE stream = (SELECT id FROM streams WHERE actor = ?) "
        "AND name = ? AND name <> '' LIMIT 1",
        (actor, name),
    ).fetchone()
    return None if found is None else item_row(found)


def due(connection: sqlite3.Connection, *, after: tuple[int, str] | None, limit: int) -> list[ActorRow]:
    """See `Log.due`. Rows of one time come in the order in which their actors were made."""
    if after is None:
        found = connection.execute(
            f"SELECT {STREAM_COLUMNS} FROM streams WHERE next_due IS NOT NULL ORDER BY next_due, id LIMIT ?", (limit,)
        )
    else:
        found = connection.execute(
            f"SELECT {STREAM_COLUMNS} FROM streams WHERE next_due IS NOT NULL "
            "AND (next_due, id) > (?, (SELECT id FROM streams WHERE actor = ?)) ORDER BY next_due, id LIMIT ?",
            (*after, limit),
        )
    return [actor_row(fields) for fields in found]


def known_as(connection: sqlite3.Connection, name: str) -> list[ActorRow]:
    """See `Log.known_as`."""
    found = connection.execute(
        f"SELECT {STREAM_COLUMNS} FROM streams WHERE id IN (SELECT stream FROM known_as WHERE name = ?) ORDER BY id",
        (name,),
    )
    return [actor_row(fields) for fields in found]


def outdated(connection: sqlite3.Connection, kind: str, fold: int, *, limit: int) -> list[str]:
    """See `Log.outdated`."""
    # Two ranges of the index instead of `<>`, which would read the whole kind to find that nothing is outdated.
    found = connection.execute(
        "SELECT actor, terminal, id FROM streams WHERE kind = ?1 AND fold < ?2 "
        "UNION ALL SELECT actor, terminal, id FROM streams WHERE kind = ?1 AND fold > ?2 "
        "ORDER BY terminal, id LIMIT ?3",
        (kind, fold, limit),
    )
    return [actor for actor, _, _ in found]
