"""Lanes: effects wait here, in due order, until their lane has room. A waiting effect is a ticket, not a task."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from perdure.actors.lane import Lane


class Ticket:
    """One effect's place in its lane's queue. `withdrawn` once nobody wants it any more."""

    __slots__ = ("actor", "effect", "lane", "withdrawn")

    def __init__(self, actor: str, effect: str, lane: Lane) -> None:
        self.actor = actor
        self.effect = effect
        self.lane = lane
        self.withdrawn = False


class Lanes:
    """Grants tickets in order of their due time, as many at a time as `room(lane)` says.

    `grant` is called, never from inside `enter` or `leave` of the same call chain twice for one ticket; whoever is
    granted calls `leave` when it is done, or at once when it finds that it has nothing to do.
    """

    def __init__(self, room: Callable[[Lane], int], grant: Callable[[Ticket], None]) -> None:
        self._room = room
        self._grant = grant
        self._inside: dict[Lane, int] = {}
        self._queues: dict[Lane, list[tuple[int, int, Ticket]]] = {}
        self._order = count()
        self.waiting = 0

    def enter(self, ticket: Ticket, due: int) -> None:
        """Queues a ticket that has been due since `due` (µs UTC) and grants what there is room for."""
        heappush(self._queues.setdefault(ticket.lane, []), (due, next(self._order), ticket))
        self.waiting += 1
        self._advance(ticket.lane)

    def leave(self, lane: Lane) -> None:
        """Gives back the room of one granted ticket."""
        self._inside[lane] -= 1
        if not self._inside[lane]:
            del self._inside[lane]
        self._advance(lane)

    def advance_all(self) -> None:
        """Looks at every lane again: room may have changed."""
        for lane in list(self._queues):
            self._advance(lane)

    def _advance(self, lane: Lane) -> None:
        queue = self._queues.get(lane)
        while queue:
            if queue[0][2].withdrawn:
                heappop(queue)
                self.waiting -= 1
            elif self._inside.get(lane, 0) < self._room(lane):
                _, _, ticket = heappop(queue)
                self.waiting -= 1
                self._inside[lane] = self._inside.get(lane, 0) + 1
                self._grant(ticket)
            else:
                return
        self._queues.pop(lane, None)
