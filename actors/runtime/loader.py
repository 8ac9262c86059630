"""The loader: folds dormant actors, all that are wanted at a time in one read hop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import outcome
import trio
from msgspec import Struct

from perdure.actors.kind import Kind
from perdure.actors.runtime.aggregate import Aggregate
from perdure.events.errors import Closed, Corrupt, NotFound
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


class _Wanted:
    __slots__ = ("actor", "kind", "task", "tenant")

    def __init__(self, kind: Kind[Any, Any], actor: str, tenant: str) -> None:
        self.kind = kind
        self.actor = actor
        self.tenant = tenant
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def give(self, answer: outcome.Outcome[Loaded]) -> None:
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task, answer)


class Loader:
    """Folds streams for whoever asks. Runs as one task of the service; each caller gets an aggregate of its own."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._wanted: deque[_Wanted] = deque()
        self._work = trio.Event()
        self._open = False
        self._folded = 0

    async def load(self, kind: Kind[Any, Any], actor: str, tenant: str) -> Loaded:
        """An actor folded from its stream; one at version 0 when the log has no such actor.

        Raises `Corrupt` when a record cannot be read (nothing is written then), `NotFound` when the actor is of
        another kind or tenant, `Closed`, and what the log raises when it cannot be read now.
        """
        if not self._open:
            raise Closed("the service is not running: read the log instead")
        wanted = _Wanted(kind, actor, tenant)
        self._wanted.append(wanted)
        self._work.set()

        def abort(_: object) -> trio.lowlevel.Abort:
            wanted.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        loaded: Loaded = await trio.lowlevel.wait_task_rescheduled(abort)
        return loaded

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves `load` until cancelled."""
        self._open = True
        task_status.started()
        group: list[_Wanted] = []
        try:
            while True:
                await self._work.wait()
                group = [self._wanted.popleft() for _ in range(min(GROUP, len(self._wanted)))]
                if not self._wanted:
                    self._work = trio.Event()
                await self._serve([wanted for wanted in group if wanted.task is not None])
        finally:
            self._open = False
            for wanted in (*group, *self._wanted):
                wanted.give(outcome.Error(Closed("the service has ended: ask again after the restart")))

    async def _serve(self, group: Sequence[_Wanted]) -> None:
        try:
            folds = {wanted.kind.name: wanted.kind.fold for wanted in group}
            found = await self._log.resume(list(dict.fromkeys(wanted.actor for wanted in group)), folds=folds)
        except Exception as error:
            for wanted in group:
                wanted.give(outcome.Error(error))
            return
        streams = {stream.row.actor: stream for stream in found}
        for wanted in group:
            stream = streams.get(wanted.actor)
            try:
                aggregate = await self._fold(wanted, stream)
            except (Corrupt, NotFound) as error:
                wanted.give(outcome.Error(error))
            except Exception as error:
                text = f"{wanted.actor} cannot be folded by kind {wanted.kind.name!r}: {error!r}"
                wanted.give(outcome.Error(Corrupt(text, reason=repr(error))))
            else:
                due = None if stream is None else stream.row.standing.next_due
                wanted.give(outcome.Value(Loaded(aggregate, due)))

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
