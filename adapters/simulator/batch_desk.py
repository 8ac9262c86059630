"""Doing what is due for simulated batches when somebody looks: the same at every provider.

What a batch's course says should have happened by now (see `batching.py`) is done before it is shown: its input is read
once its validation is due, its results are written once it has ended. One batch is dealt with by one task at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import trio
from msgspec import json
from msgspec.structs import replace

from perdure.adapters.simulator.batching import TERMINAL, Arrange, CannotAfflict, Course, Stage, input_due
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World


class Record(Course, frozen=True, kw_only=True):
    """What is stored of any batch. Its `id` names it in its provider's routes."""

    id: str


R = TypeVar("R", bound=Record)


class BatchDesk(ABC, Generic[R]):
    """The batches of one provider; implements `SimulatedBatches`.

    Args:
        kind: under which the storage keeps them.
        record: what is kept of each.
    """

    def __init__(self, world: World, kind: str, record: type[R]) -> None:
        self.world = world
        self.kind = kind
        self.decode = json.Decoder(record).decode
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    # ------------------------------------------------------------ what providers differ in

    @abstractmethod
    def stage(self, record: R, now: float) -> Stage:
        """Where a batch stands at `now`."""

    @abstractmethod
    def is_over(self, record: R) -> bool:
        """Whether its results are written."""

    @abstractmethod
    async def check(self, record: R) -> R:
        """The record after its input was read, which is due; as it is where that was done before."""

    @abstractmethod
    async def end(self, record: R, at: Stage) -> R:
        """Writes the results of a batch that ended at `at`, and keeps and returns its record as it is then."""

    @abstractmethod
    def kept(self, tables: Tables) -> set[str]:
        """See `SimulatedBatches`."""

    # ------------------------------------------------------------ what they share

    async def look(self, id_: str) -> tuple[R, float] | None:
        """A batch after what is due for it was done, and the time of that; None when there is none.

        Show it as it is at that time: a batch that ended between the two would be shown without its results.
        """
        async with self._lock(id_):
            now = self.world.clock.now()
            record = await self._settle(id_, now)
            return None if record is None else (record, now)

    async def cancel(self, id_: str) -> Stage | None:
        """Begins a cancellation, once; gives where the batch stood, None when there is none."""
        async with self._lock(id_):
            now = self.world.clock.now()
            record = await self._settle(id_, now)
            if record is None:
                return None
            at = self.stage(record, now)
            if at.status not in TERMINAL and (record.cancel_at is None or record.cancel_at > now):
                await self._save(replace(record, cancel_at=now))
            return at

    async def afflict(self, id_: str, arrange: Arrange) -> bool:
        """See `SimulatedBatches`."""
        async with self._lock(id_):
            now = self.world.clock.now()
            record = await self._settle(id_, now)
            if record is None:
                return False
            at = self.stage(record, now)
            if at.status in TERMINAL:
                raise CannotAfflict(f"the batch '{id_}' has ended")
            arranged = arrange(record.plan)
            if arranged.plan.fail is not None and at.status != "validating":
                raise CannotAfflict(f"the batch '{id_}' is {at.status}; its validation is over")
            changed = replace(
                record,
                plan=arranged.plan,
                expire_at=now if arranged.expires else record.expire_at,
                cancel_at=now if arranged.cancels and record.cancel_at is None else record.cancel_at,
            )
            await self._save(changed)
        return True

    def _lock(self, id_: str) -> trio.Lock:
        lock = self._locks.get(id_)
        if lock is None:
            self._locks[id_] = lock = trio.Lock()
        return lock

    async def _settle(self, id_: str, now: float) -> R | None:
        """Does what is due for a batch by `now`, and returns it. The caller has its lock."""
        doc = await self.world.storage.run(lambda tables: tables.get(self.kind, id_, now))
        if doc is None:
            return None
        record = self.decode(doc)
        if self.is_over(record):
            return record
        if input_due(record, now):
            checked = await self.check(record)
            if checked is not record:
                await self._save(checked)
            record = checked
        at = self.stage(record, now)
        return await self.end(record, at) if at.status in TERMINAL else record

    async def _save(self, record: R) -> None:
        await self.world.storage.run(lambda tables: tables.replace(record.id, json.encode(record)))
