"""Mending a log: rows written anew from events, and an id of its own for a copy.

The events themselves are never touched. What is changed is what follows from them, in the writer's own transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from perdure.actors.runtime.aggregate import KindFold
from perdure.adapters.composition import folds, path_of
from perdure.events.errors import NotFound
from perdure.events.ids import new_id
from perdure.store.records import Standing
from perdure.store.replay import state_at
from perdure.store.sqlite import SqliteLog, open_log

PAGE: Final = 500


class Mended(Struct, frozen=True, kw_only=True):
    """What was done, or would be: the log's id before and after, rows looked at and rewritten, what is unfinished."""

    log_id: str
    new_log_id: str
    rows: int
    rewritten: int
    unfinished: int


async def mend(db: str, *, adopt: bool, dry_run: bool, wait_for_lock_s: float) -> Mended:
    """Writes each row as its events say, and with `adopt` gives the log a new id. Verifies the log before and after.

    Raises `NotFound`, `LogLocked`, and `Corrupt` for a log whose chain does not verify: that needs a copy, not a mend.
    """
    path = path_of(db)
    if not path.exists():
        raise NotFound(f"there is no log at {path}", id=str(path))
    known = folds()
    async with open_log(path, codecs=[fold.codec for fold in known], wait_for_lock_s=wait_for_lock_s) as log:
        (await log.verify()).raise_if_bad()
        rows, rewritten, unfinished = await _rewrite(log, known, dry_run=dry_run)
        new = new_id("log") if adopt else log.log_id
        if adopt and not dry_run:
            await log.maintain(lambda connection: _rename(connection, log.log_id, new))
        if not dry_run:
            (await log.verify(known)).raise_if_bad()
        return Mended(log_id=log.log_id, new_log_id=new, rows=rows, rewritten=rewritten, unfinished=unfinished)


def _rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE name = 'log_id'", (new,))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('copied_from', ?)", (old,))


async def _rewrite(log: SqliteLog, known: Sequence[KindFold], *, dry_run: bool) -> tuple[int, int, int]:
    """How many rows were looked at, rewritten, and are not terminal. Due times are compared too."""
    by_kind = {fold.name: fold for fold in known}
    looked_at = rewritten = unfinished = 0
    after: str | None = None
    while page := await log.rows(after=after, limit=PAGE):
        changed: dict[str, Standing] = {}
        for row in page:
            looked_at += 1
            fold = by_kind.get(row.kind)
            if fold is None:
                continue
            _, aggregate = await state_at(log, row.actor, known)
            standing = fold.standing(aggregate)
            unfinished += not standing.terminal
            if standing != row.standing:
                changed[row.actor] = standing
        rewritten += len(changed)
        if changed and not dry_run:
            await log.restate(changed)
        after = page[-1].actor
    return looked_at, rewritten, unfinished
