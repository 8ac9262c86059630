"""Folding a whole log in stream order, as fast as Python folds: for replaying everything against a new build.

Reads in pages of streams. One statement gives a page's events in stream order, three columns each: what costs here is
made of rows, so nothing is read that folding does not need.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from perdure.events.errors import NotFound
from perdure.store.replay import Foldable, by_kind
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.opening import judge_file, real_path
from perdure.store.sqlite.rows import VERSION

STREAMS_AT_ONCE: Final = 500


def fold_all(path: str | Path, folds: Iterable[Foldable[Any]]) -> Generator[tuple[str, int, Any], None, None]:
    """`(actor, version, state)` of every actor whose kind has a fold, in the order in which the actors were made.

    Blocks; one state at a time is in memory. Raises `NotFound`, `LogForeign`, `Corrupt`, `UndecodableEvent`.
    """
    file = real_path(path)
    if not judge_file(file):
        raise NotFound(f"there is no log at {file}", id=str(file))
    connections = Connections(file)
    with closing(connections):
        yield from connections.iterate(lambda connection: fold_streams(connection, folds))


def fold_streams(
    connection: sqlite3.Connection, folds: Iterable[Foldable[Any]]
) -> Generator[tuple[str, int, Any], None, None]:
    """See `fold_all`; for a connection that is inside a transaction."""
    kinds = by_kind(folds)
    last = 0
    while True:
        streams = connection.execute(
            f"SELECT id, actor, kind, tenant, {VERSION} FROM streams WHERE id > ? ORDER BY id LIMIT ?",
            (last, STREAMS_AT_ONCE),
        ).fetchall()
        if not streams:
            return
        first, last = streams[0][0], streams[-1][0]
        rows = connection.execute(
            "SELECT stream, at, CAST(payload AS BLOB) FROM events "
            "WHERE stream BETWEEN ? AND ? ORDER BY stream, version",
            (first, last),
        )
        yield from _fold_page(streams, rows, kinds)


def _fold_page(
    streams: Sequence[tuple[int, str, str, str, int]],
    rows: Iterator[tuple[int, int, bytes]],
    kinds: Mapping[str, Foldable[Any]],
) -> Generator[tuple[str, int, Any], None, None]:
    row = next(rows, None)
    for stream, actor, kind, tenant, version in streams:
        fold = kinds.get(kind)
        if fold is None:
            while row is not None and row[0] == stream:
                row = next(rows, None)
            continue
        evolve, decode = fold.evolve, fold.codec.decode
        state = fold.initial(actor, tenant)
        if row is not None and row[0] == stream:
            state = evolve(state, decode(row[2]), row[1])
            for row in rows:
                if row[0] != stream:
                    break
                state = evolve(state, decode(row[2]), row[1])
            else:
                row = None
        yield actor, version, state
