"""The log as an audit and an observer see it: what happened, in order, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from perdure.actors.replaying import Replayed, replay
from perdure.actors.runtime.aggregate import KindFold
from perdure.events.event import Recorded
from perdure.store.replay import state_at
from perdure.store.sqlite.reader import SqliteReader
from perdure.store.sqlite.verify import Verified


class EventLog:
    """The log as an audit sees it: everything that happened, in order, and whether it can be trusted."""

    def __init__(self, log: SqliteReader, folds: Sequence[KindFold]) -> None:
        self._log = log
        self._folds = folds

    async def read(self, *, after: int = 0, until: int | None = None) -> AsyncIterator[Recorded]:
        """The records after position `after`, up to `until` (both are positions), in order; then it ends."""
        while True:
            page = await self._log.records(after=after, until=until)
            for record in page:
                yield record
                after = record.position
            if not page:
                return

    def tail(self, *, after: int = 0, actor: str | None = None) -> AsyncIterator[Recorded]:
        """The records after position `after` (of one actor, or of all), then those to come, for ever."""
        return self._log.follow(after=after, actor=actor)

    @property
    def id(self) -> str:
        """The log's id, which is part of every mark that is planted at a provider."""
        return self._log.log_id

    async def head(self) -> int:
        """The last durable position, 0 for an empty log."""
        return await self._log.head()

    async def replay(self) -> Replayed:
        """Folds every actor with today's code and compares it with its row; see `Replayed`."""
        return await replay(self._log, self._folds)

    async def verify(self, *, kept_head: str | None = None) -> Verified:
        """Checks the chain of all commits and folds every actor again; see `Verified`. Raises nothing for a bad log."""
        return await self._log.verify(self._folds, kept_head=kept_head)

    async def state(self, id: str, at: int | datetime | None = None) -> Any:
        """The state of an actor now, after version `at`, or at a time. Raises `NotFound`."""
        return (await self.folded(id, at))[1]

    async def folded(self, id: str, at: int | datetime | None = None) -> tuple[int, Any]:
        """The version and the state of an actor now, after version `at`, or at a time. Raises `NotFound`."""
        version = at if isinstance(at, int) else None
        time = int(at.timestamp() * 1_000_000) if isinstance(at, datetime) else None
        reached, aggregate = await state_at(self._log, id, self._folds, version=version, time=time)
        return reached, aggregate.state
