"""Restating: rows that were written under another fold number are computed anew, before anything starts from them.

Open actors first, and the service is not ready before they are done; terminal ones are done behind it, for nothing
starts from their rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio

from perdure.actors.kind import Kind
from perdure.actors.runtime.aggregate import Aggregate
from perdure.store.log import Log
from perdure.store.records import Standing, Stream

logger = logging.getLogger("perdure")

PAGE: Final = 500


class Restating:
    """One pass over the outdated rows of some kinds.

    `claim(actor)` keeps an actor from being written by anybody else until `release(actor)`; False where it is in use.
    """

    def __init__(
        self,
        log: Log,
        kinds: Iterable[Kind[Any, Any]],
        claim: Callable[[Kind[Any, Any], str, str], bool],
        release: Callable[[str], None],
    ) -> None:
        self._log = log
        self._left = list(kinds)
        self._claim = claim
        self._release = release
        self._skipped: dict[str, set[str]] = {}

    async def open_actors(self) -> None:
        """Restates every row that is not terminal. Raises what the log raises."""
        left = list(self._left)
        self._left.clear()
        for kind in left:
            while (terminal := await self._page(kind)) is False:
                pass
            if terminal:
                self._left.append(kind)

    async def terminal_actors(self) -> None:
        """Restates the rest."""
        while self._left:
            kind = self._left.pop()
            while await self._page(kind) is not None:
                pass

    async def _page(self, kind: Kind[Any, Any]) -> bool | None:
        """Restates a page of rows: True when all were terminal, None when nothing was left to do."""
        skipped = self._skipped.setdefault(kind.name, set())
        found = await self._log.outdated(kind.name, kind.fold, limit=PAGE + len(skipped))
        actors = [actor for actor in found if actor not in skipped]
        if not actors:
            return None
        claimed: list[str] = []
        standings: dict[str, Standing] = {}
        terminal = True
        try:
            # Read once to learn the tenants, claimed, and read again: what a claim came too late for is seen then.
            rows = [stream.row for stream in await self._log.load(actors, after=1 << 62)]
            claimed.extend(row.actor for row in rows if self._claim(kind, row.actor, row.tenant))
            skipped.update(set(actors).difference(claimed))
            for stream in await self._log.load(claimed):
                terminal = terminal and stream.row.standing.terminal
                standing = _standing(kind, stream)
                if standing is None:
                    skipped.add(stream.row.actor)
                else:
                    standings[stream.row.actor] = standing
                await trio.lowlevel.checkpoint()
            if standings:
                await self._log.restate(standings)
        finally:
            for actor in claimed:
                self._release(actor)
        return terminal


def _standing(kind: Kind[Any, Any], stream: Stream) -> Standing | None:
    aggregate = Aggregate(kind, stream.row.actor, stream.row.tenant)
    try:
        for _, at, payload in stream.events:
            aggregate.evolve(kind.codec.decode(payload), at)
        aggregate.settle()
        return aggregate.standing()
    except Exception:
        # One actor that cannot be folded must not keep the service down: it is told to whoever asks for it.
        logger.exception("%s cannot be folded, its row stays as it is", stream.row.actor)
        return None
