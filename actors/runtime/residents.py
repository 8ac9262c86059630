"""Residents: the states that are kept folded while nothing goes on, bounded in bytes, least recently used go first."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

from perdure.actors.runtime.slot import Slot

SLOT_BYTES: Final = 1_500
"""What a slot and its aggregate take beside the kind's own state."""

LOOKED_AT: Final = 16
"""How many residents are looked at for one that comes: enough to shrink, few enough to cost nothing."""


class Residents:
    """Counts the states in memory, and lets go of those that rest the longest. `slots` is all that is in memory."""

    def __init__(self, slots: dict[str, Slot], limit_bytes: int) -> None:
        self._slots = slots
        self._limit = limit_bytes
        self._weights: OrderedDict[str, int] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._weights)

    def drop(self, slot: Slot) -> None:
        """Forgets a state; the slot stays while anything waits in it or goes on."""
        slot.aggregate = None
        slot.judging = False
        self.bytes -= self._weights.pop(slot.actor, 0)

    def rest(self, slot: Slot) -> None:
        """Counts a slot that nobody sees to any more, and makes room."""
        aggregate = slot.aggregate
        self.bytes -= self._weights.pop(slot.actor, 0)
        if aggregate is None or aggregate.version == 0:
            if slot.idle and not slot.tickets:
                self._slots.pop(slot.actor, None)
            return
        weight = slot.kind.weight(aggregate.state) + SLOT_BYTES
        self._weights[slot.actor] = weight
        self.bytes += weight
        if self.bytes > self._limit:
            self._shrink()

    def _shrink(self) -> None:
        for actor in list(islice(self._weights, LOOKED_AT)):
            if self.bytes <= self._limit:
                return
            slot = self._slots.get(actor)
            if slot is None:
                self.bytes -= self._weights.pop(actor)
            elif slot.idle:
                self.drop(slot)
                if not slot.tickets:
                    del self._slots[actor]
            else:
                self._weights.move_to_end(actor)
