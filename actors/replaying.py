"""Replaying a whole log with today's code and comparing what comes out with what its rows say. Reads only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from perdure.actors.runtime.aggregate import KindFold
from perdure.store.records import Standing
from perdure.store.sqlite.cold import fold_all
from perdure.store.sqlite.reader import SqliteReader

ACTORS_AT_ONCE: Final = 500
DIFFERENCES_KEPT: Final = 100

_BEYOND: Final = (1 << 62) - 1
"""A version that no actor reaches: loading behind it gives rows without events."""


class Difference(Struct, frozen=True):
    """An actor whose row says otherwise than its events do when folded now. `reason` names the fields."""

    actor: str
    version: int
    reason: str


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay found. `outdated` counts rows written under another fold number, which are not compared, `moved`
    the actors that a writer changed meanwhile, `fold_s` the seconds spent on reading and folding alone."""

    actors: int
    events: int
    outdated: int
    moved: int
    differing: int
    differences: Sequence[Difference]
    fold_s: float

    @property
    def ok(self) -> bool:
        """Whether every row that was compared says what its events say."""
        return not self.differing


async def replay(log: SqliteReader, folds: Sequence[KindFold]) -> Replayed:
    """Folds every actor of `log` and compares it with its row. Raises `UndecodableEvent`, `Corrupt`."""
    by_kind = {fold.name: fold for fold in folds}
    actors = events = outdated = moved = differing = 0
    differences: list[Difference] = []
    fold_s = 0.0
    with closing(fold_all(log.path, folds)) as folded:

        def fold_some() -> list[tuple[str, int, Any]]:
            return list(islice(folded, ACTORS_AT_ONCE))

        while True:
            began = time.perf_counter()
            page = await log.hop(fold_some)
            fold_s += time.perf_counter() - began
            if not page:
                break
            rows = {stream.row.actor: stream.row for stream in await log.load([p[0] for p in page], after=_BEYOND)}
            for actor, version, aggregate in page:
                actors += 1
                events += version
                row = rows[actor]
                fold = by_kind[row.kind]
                if row.version != version:
                    moved += 1
                elif row.standing.fold != fold.fold:
                    outdated += 1
                elif reason := _difference(row.standing, fold.standing(aggregate)):
                    differing += 1
                    if len(differences) < DIFFERENCES_KEPT:
                        differences.append(Difference(actor, version, reason))
    return Replayed(
        actors=actors,
        events=events,
        outdated=outdated,
        moved=moved,
        differing=differing,
        differences=differences,
        fold_s=fold_s,
    )


def _difference(found: Standing, expected: Standing) -> str:
    """What differs, in words. A due time may have been moved by a hint: only whether there is one is compared."""
    parts = [
        f"{name} is {getattr(found, name)!r}, not {getattr(expected, name)!r}"
        for name in Standing.__struct_fields__
        if name != "next_due" and getattr(found, name) != getattr(expected, name)
    ]
    if (found.next_due is None) != (expected.next_due is None):
        parts.append(f"next_due is {found.next_due}, not {expected.next_due}")
    return "; ".join(parts)
