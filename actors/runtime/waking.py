"""Waking: reads the log's index of due times ahead, and has actors looked at when their time has come.

It takes no more than the lanes can hold: beyond `waiting_effects` the rest stays rows, in due order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from perdure.actors.kind import Kind
from perdure.actors.runtime.effects import Effects
from perdure.actors.runtime.loader import GROUP
from perdure.actors.runtime.schedule import CAPACITY, HORIZON_US, LONGEST_SLEEP_S, Schedule
from perdure.actors.runtime.slot import Slot
from perdure.events.errors import PerdureError
from perdure.store.log import Log

logger = logging.getLogger("perdure")

PAGE: Final = 500
RETRY_S: Final = 1.0
"""How long to wait after the index could not be read."""


class Waker:
    """Runs as one task of the service, over the slots in memory and the rows that are not.

    `quiet` is where whoever stops driving a slot says so.
    """

    def __init__(
        self,
        log: Log,
        kinds: Mapping[str, Kind[Any, Any]],
        schedule: Schedule,
        slots: dict[str, Slot],
        clock: Callable[[], int],
        kick: Callable[[Slot], None],
        quiet: trio.lowlevel.ParkingLot,
        waiting_effects: int,
    ) -> None:
        self._log = log
        self._kinds = kinds
        self._schedule = schedule
        self._slots = slots
        self._clock = clock
        self._kick = kick
        self._quiet = quiet
        self._waiting_effects = waiting_effects
        self._woken: list[Slot] = []

    async def run(self, effects: Effects) -> None:
        """Wakes what is due, until cancelled or until nothing may be started any more."""
        while not effects.closed:
            now = self._clock()
            if self._schedule.short(now):
                try:
                    await self.refill()
                except PerdureError as error:
                    logger.warning("the index of due times cannot be read now: %s", error)
                    await trio.sleep(RETRY_S)
                    continue
            effects.lanes.advance_all()
            if effects.lanes.waiting >= self._waiting_effects:
                await effects.lanes.below(self._waiting_effects, LONGEST_SLEEP_S)
            elif not self._wake(effects, now):
                await self._schedule.wait(self._clock())
            else:
                await trio.lowlevel.checkpoint()
                while any(slot.driving and slot.aggregate is None for slot in self._woken):
                    await self._quiet.park()  # what they ask for is known when they are loaded: no more before that

    async def refill(self) -> None:
        """Reads the log's index of due times up to a new horizon."""
        horizon = self._schedule.horizon = self._clock() + HORIZON_US
        for slot in self._slots.values():
            if slot.nearest is not None:
                self._schedule.set(slot.actor, slot.nearest, slot.kind.name, slot.tenant)
        after: tuple[int, str] | None = None
        while True:
            page = await self._log.due(after=after, limit=PAGE)
            for row in page:
                due = row.standing.next_due
                if due is None or due > horizon:
                    return
                if row.kind in self._kinds and row.actor not in self._slots and not self._schedule.knows(row.actor):
                    self._schedule.set(row.actor, due, row.kind, row.tenant)
            if len(page) < PAGE:
                return
            last = page[-1]
            after = (last.standing.next_due or 0, last.actor)
            if len(self._schedule) >= CAPACITY:
                self._schedule.horizon = after[0]
                return

    def _wake(self, effects: Effects, now: int) -> bool:
        due = self._schedule.take(now, GROUP)
        self._woken = []
        for entry in due:
            slot = self._slots.get(entry.actor)
            if slot is None:
                slot = self._slots[entry.actor] = Slot(entry.actor, self._kinds[entry.kind], entry.tenant)
            slot.nearest = None
            if slot.aggregate is None:
                self._kick(slot)
                self._woken.append(slot)
            elif slot.judging:
                pass  # matched at the end of its turn
            else:
                effects.match(slot)
        return bool(due)
