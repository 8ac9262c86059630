"""The loader: folds dormant actors, all that are wanted at a time in one read hop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio
from msgspec import Struct

from perdure.actors.kind import Kind
from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.sharing import Sharing
from perdure.events.errors import Corrupt, NotFound
from perdure.store.log import Log
from perdure.store.records import Stream

GROUP: Final = 200
"""How many actors one read hop loads at the most; a bound on the memory of one answer."""

FOLDED_AT_ONCE: Final = 2_000
"""Events folded before other tasks get their turn: some milliseconds."""


class Loaded(Struct, frozen=True):
    """A folded actor, and the due time that its row says, which an effect that wanted to wait may have moved."""

    aggregate: Aggregate
    due: int | None


class _Wanted(Struct, frozen=True):
    kind: Kind[Any, Any]
    actor: str
    tenant: str


class Loader:
    """Folds streams for whoever asks. Runs as one task of the service; each caller gets an aggregate of its own."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._folded = 0
        self._sharing = Sharing(
            self._load, at_a_time=GROUP, closed="the service is not running here: ask again after the restart"
        )
        self.run = self._sharing.run

    async def load(self, kind: Kind[Any, Any], actor: str, tenant: str) -> Loaded:
        """An actor folded from its stream; one at version 0 when the log has no such actor.

        Raises `Corrupt` when a record cannot be read (nothing is written then), `NotFound` when the actor is of
        another kind or tenant, `Closed`, and what the log raises when it cannot be read now.
        """
        return await self._sharing.ask(_Wanted(kind, actor, tenant))

    async def _load(self, group: Sequence[_Wanted]) -> Mapping[int, Loaded | Exception]:
        folds = {wanted.kind.name: wanted.kind.fold for wanted in group}
        found = await self._log.resume(list(dict.fromkeys(wanted.actor for wanted in group)), folds=folds)
        streams = {stream.row.actor: stream for stream in found}
        loaded: dict[int, Loaded | Exception] = {}
        for place, wanted in enumerate(group):
            stream = streams.get(wanted.actor)
            try:
                aggregate = await self._fold(wanted, stream)
            except (Corrupt, NotFound) as error:
                loaded[place] = error
            except Exception as error:
                text = f"{wanted.actor} cannot be folded by kind {wanted.kind.name!r}: {error!r}"
                loaded[place] = Corrupt(text, reason=repr(error))
            else:
                due = None if stream is None else stream.row.standing.next_due
                loaded[place] = Loaded(aggregate, due)
        return loaded

    async def _fold(self, wanted: _Wanted, stream: Stream | None) -> Aggregate:
        aggregate = Aggregate(wanted.kind, wanted.actor, wanted.tenant)
        if stream is None:
            return aggregate
        if stream.row.kind != wanted.kind.name or stream.row.tenant != wanted.tenant:
            raise NotFound(f"there is no {wanted.kind.name} {wanted.actor} of this tenant", id=wanted.actor)
        if stream.snapshot is not None and not aggregate.restore(stream.snapshot):
            (stream,) = await self._log.load([wanted.actor])
        decode, evolve = wanted.kind.codec.decode, aggregate.evolve
        for _, at, payload in stream.events:
            evolve(decode(payload), at)
            self._folded += 1
            if self._folded % FOLDED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        aggregate.settle()
        return aggregate
