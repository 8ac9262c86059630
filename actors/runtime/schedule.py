"""The schedule: which actor wants to be looked at when.

Times are wall-clock (µs since 1970, UTC), because they are stored and must mean the same after a restart. They are
armed on the monotonic clock for a minute at most, so that a wall clock that jumps is noticed within one.

Only what is due within `HORIZON_US`, and no more than `CAPACITY` actors read from the log, stand in memory; the others
stay rows and are read when their time comes near, so that a million waiting operations cost nothing but disk.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

import trio
from msgspec import Struct

HORIZON_US: Final = 600_000_000
LONGEST_SLEEP_S: Final = 60.0
CAPACITY: Final = 20_000
"""Actors that are read ahead from the log's index: some 5 MB."""

_STALE: Final = 1_000


class Due(Struct, frozen=True, gc=False):
    """An actor that wants to be looked at when `at` comes (µs since 1970, UTC)."""

    at: int
    actor: str
    kind: str
    tenant: str


class Schedule:
    """A queue of `Due` with one entry for each actor; setting a new time replaces the old one."""

    def __init__(self) -> None:
        self._due: dict[str, Due] = {}
        self._heap: list[tuple[int, str]] = []
        self._changed = trio.Event()
        self.horizon = 0
        """Everything due up to this time (µs UTC) stands here; later times are left in the log."""

    def set(self, actor: str, at: int | None, kind: str, tenant: str) -> None:
        """Has `actor` looked at when `at` comes (µs UTC); None: not at all."""
        known = self._due.get(actor)
        if at is None or at > self.horizon:
            if known is not None:
                del self._due[actor]
            return
        if known is None or known.at != at:
            self._due[actor] = Due(at, actor, kind, tenant)
            heappush(self._heap, (at, actor))
            if self._heap[0][0] == at:
                self._changed.set()
            if len(self._heap) > 2 * len(self._due) + _STALE:
                self._heap = [(due.at, due.actor) for due in self._due.values()]
                heapify(self._heap)

    def knows(self, actor: str) -> bool:
        """Whether the actor has an entry."""
        return actor in self._due

    def __len__(self) -> int:
        return len(self._due)

    def short(self, now: int) -> bool:
        """Whether more should be read from the log."""
        return self.horizon < now + HORIZON_US // 2 and len(self._due) < CAPACITY // 2

    def take(self, now: int, limit: int) -> list[Due]:
        """Removes and returns up to `limit` actors that are due at `now` (µs UTC), earliest first."""
        taken: list[Due] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < limit:
            at, actor = heappop(self._heap)
            due = self._due.get(actor)
            if due is not None and due.at == at:
                del self._due[actor]
                taken.append(due)
        return taken

    async def wait(self, now: int) -> None:
        """Sleeps until something may be due, or for a minute."""
        while self._heap and ((due := self._due.get(self._heap[0][1])) is None or due.at != self._heap[0][0]):
            heappop(self._heap)
        sleep_s = max(0.0, (self._heap[0][0] - now) / 1_000_000) if self._heap else LONGEST_SLEEP_S
        self._changed = trio.Event()
        with trio.move_on_after(min(sleep_s, LONGEST_SLEEP_S)):
            await self._changed.wait()
