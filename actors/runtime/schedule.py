"""The schedule: which actor wants to be looked at when.

Times are wall-clock (µs since 1970, UTC), because they are stored and must mean the same after a restart. They are
armed on the monotonic clock for a minute at most, so that a wall clock that jumps is noticed within one.

Only what is due within `HORIZON_US` stands in memory; what lies beyond stays a row and is read when its time comes
near, so that a million waiting operations cost nothing but disk.
"""

from __future__ import annotations

from heapq import heappop, heappush

import trio

HORIZON_US = 600_000_000
LONGEST_SLEEP_S = 60.0


class Schedule:
    """A queue of `(due, actor)` with one entry for each actor; setting a new time replaces the old one."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._changed = trio.Event()
        self.horizon = 0
        """Everything due up to this time (µs UTC) stands here; later times are left in the log."""

    def set(self, actor: str, due: int | None) -> None:
        """Has `actor` looked at when `due` comes (µs UTC); None: not at all."""
        if due is None or due > self.horizon:
            self._due.pop(actor, None)
            return
        if self._due.get(actor) != due:
            self._due[actor] = due
            heappush(self._heap, (due, actor))
            if self._heap[0][0] == due:
                self._changed.set()

    def knows(self, actor: str) -> bool:
        """Whether the actor has an entry."""
        return actor in self._due

    def __len__(self) -> int:
        return len(self._due)

    def take(self, now: int, limit: int) -> list[str]:
        """Removes and returns up to `limit` actors that are due at `now` (µs UTC), earliest first."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < limit:
            due, actor = heappop(self._heap)
            if self._due.get(actor) == due:
                del self._due[actor]
                taken.append(actor)
        return taken

    async def wait(self, now: int) -> None:
        """Sleeps until something may be due, the horizon must be moved, or a minute has passed."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        next_at = min(self._heap[0][0] if self._heap else self.horizon, self.horizon)
        self._changed = trio.Event()
        with trio.move_on_after(min(max(0.0, (next_at - now) / 1_000_000), LONGEST_SLEEP_S)):
            await self._changed.wait()
