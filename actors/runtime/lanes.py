"""Lanes: effects wait here, in due order, until their lane has room. A waiting effect is a ticket, not a task."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import trio

from perdure.actors.lane import Lane


class Ticket:
    """One effect's place in its lane's queue; `granted` once the lane's room is its own."""

    __slots__ = ("actor", "effect", "granted", "lane", "withdrawn")

    def __init__(self, actor: str, effect: str, lane: Lane) -> None:
        self.actor = actor
        self.effect = effect
        self.lane = lane
        self.granted = False
        self.withdrawn = False


class Lanes:
    """Grants tickets in order of their due time, as many at a time as `room(lane)` says.

    `grant` says whether the room is used; if so, somebody calls `leave` (or `withdraw`) when it is free again.
    """

    def __init__(self, room: Callable[[Lane], int], grant: Callable[[Ticket], bool]) -> None:
        self._room = room
        self._grant = grant
        self._inside: dict[Lane, int] = {}
        self._queues: dict[Lane, list[tuple[int, int, Ticket]]] = {}
        self._order = count()
        self._bound = 0
        self._eased: trio.Event | None = None
        self.waiting = 0
        """Tickets that wait for room."""
        self.closed = False
        """Once True nothing is granted any more."""

    def enter(self, ticket: Ticket, due: int) -> None:
        """Queues a ticket that has been due since `due` (µs UTC) and grants what there is room for."""
        heappush(self._queues.setdefault(ticket.lane, []), (due, next(self._order), ticket))
        self.waiting += 1
        self._advance(ticket.lane)

    def withdraw(self, ticket: Ticket) -> None:
        """Takes a ticket back, whether it waits or was granted."""
        if ticket.granted:
            self.leave(ticket.lane)
        elif not ticket.withdrawn:
            ticket.withdrawn = True
            self._waits_no_more()

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

    async def below(self, bound: int, timeout_s: float) -> None:
        """Returns once fewer than `bound` tickets wait, or after `timeout_s` seconds."""
        self._bound, self._eased = bound, trio.Event()
        with trio.move_on_after(timeout_s):
            await self._eased.wait()
        self._eased = None

    def _waits_no_more(self) -> None:
        self.waiting -= 1
        if self._eased is not None and self.waiting < self._bound:
            self._eased.set()

    def _advance(self, lane: Lane) -> None:
        queue = self._queues.get(lane)
        while queue:
            ticket = queue[0][2]
            if ticket.withdrawn:
                heappop(queue)
            elif not self.closed and self._inside.get(lane, 0) < self._room(lane):
                heappop(queue)
                self._waits_no_more()
                ticket.granted = True
                self._inside[lane] = self._inside.get(lane, 0) + 1
                if not self._grant(ticket):
                    ticket.granted = False
                    self._inside[lane] -= 1
            else:
                return
        self._queues.pop(lane, None)
        if not self._inside.get(lane, 1):
            del self._inside[lane]
