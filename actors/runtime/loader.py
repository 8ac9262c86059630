"""The loader: folds dormant actors, all that are wanted at a time in one read hop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import outcome
import trio

from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.slot import Slot
from perdure.events.errors import Corrupt
from perdure.store.log import Log

GROUP = 200
"""How many actors one read hop loads at the most; a bound on the memory of one answer."""


class Loader:
    """Gives each slot its folded state. Runs as one task of the service."""

    def __init__(self, log: Log, known: Callable[[], Mapping[str, Slot]]) -> None:
        self._log = log
        self._known = known
        self._wanted: dict[str, tuple[Slot, list[trio.lowlevel.Task]]] = {}
        self._work = trio.Event()

    async def load(self, slot: Slot) -> Aggregate:
        """The slot's aggregate, folded from its stream; one at version 0 when the log has no such actor.

        Raises `Corrupt` when a record cannot be read; nothing is written then.
        """
        task = trio.lowlevel.current_task()
        _, waiting = self._wanted.setdefault(slot.actor, (slot, []))
        waiting.append(task)
        self._work.set()

        def abort(_: object) -> trio.lowlevel.Abort:
            waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        aggregate: Aggregate = await trio.lowlevel.wait_task_rescheduled(abort)
        return aggregate

    async def run(self) -> None:
        """Serves `load` until cancelled."""
        while True:
            await self._work.wait()
            group = dict(list(self._wanted.items())[:GROUP])
            for actor in group:
                del self._wanted[actor]
            if not self._wanted:
                self._work = trio.Event()
            answers = await self._read({actor: slot for actor, (slot, _) in group.items()})
            for actor, (_, waiting) in group.items():
                for task in waiting:
                    trio.lowlevel.reschedule(task, answers[actor])
                waiting.clear()

    async def _read(self, slots: Mapping[str, Slot]) -> dict[str, outcome.Outcome[Aggregate]]:
        try:
            streams = {stream.row.actor: stream for stream in await self._log.load(list(slots))}
        except Exception as error:
            return dict.fromkeys(slots, outcome.Error(error))
        answers: dict[str, outcome.Outcome[Aggregate]] = {}
        for actor, slot in slots.items():
            aggregate = Aggregate(slot.kind, actor, slot.tenant)
            stream = streams.get(actor)
            try:
                if stream is not None:
                    decode = slot.kind.codec.decode
                    for _, at, payload in stream.events:
                        aggregate.evolve(decode(payload), at)
                aggregate.settle()
            except Corrupt as error:
                answers[actor] = outcome.Error(error)
                continue
            except Exception as error:
                answers[actor] = outcome.Error(
                    Corrupt(f"{actor} cannot be folded by kind {slot.kind.name!r}: {error!r}", reason=repr(error))
                )
                continue
            if stream is not None and not aggregate.supervision.parked:
                _hold_back(slot, aggregate, stream.row.standing.next_due)
            answers[actor] = outcome.Value(aggregate)
        return answers


def _hold_back(slot: Slot, aggregate: Aggregate, due: int | None) -> None:
    """Applies the wait that effects asked for before the actor went dormant: the row is due later than the fold."""
    if due is None or not aggregate.asked or due <= min(moment for moment, _ in aggregate.asked):
        return
    for moment, effect in aggregate.asked:
        if moment < due and effect.id not in slot.effects:
            slot.again.setdefault(effect.id, due)
