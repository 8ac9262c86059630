"""Hints: how those who wait for something in the log learn that it is worth reading again.

A hint carries no value and losing one costs latency only: waiting is always a loop of read, wait, read. Hints are keyed
by actor, or by actor and item, so that a chunk of results wakes those whose lines are in it and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio


class Hints:
    """Wakes the tasks that wait for an actor's next commit, or for one of its items."""

    def __init__(self) -> None:
        self._events: dict[str, dict[int | None, trio.Event]] = {}

    def subscribe(self, actor: str, item: int | None = None) -> trio.Event:
        """An event that is set by the next commit of `actor` (that touches `item`). Take it *before* reading."""
        return self._events.setdefault(actor, {}).setdefault(item, trio.Event())

    def fire(self, actor: str, items: Iterable[int] = ()) -> None:
        """Tells the waiters of an actor, and those of `items`, that something was committed."""
        waiting = self._events.get(actor)
        if waiting is None:
            return
        for key in (None, *items) if len(waiting) > 1 or None not in waiting else (None,):
            event = waiting.pop(key, None)
            if event is not None:
                event.set()
        if not waiting:
            del self._events[actor]

    def fire_all(self, actor: str | None = None) -> None:
        """Wakes everybody, or all who wait for `actor` in any way: it ended, was parked, or the service stops."""
        for name in [actor] if actor is not None else list(self._events):
            for event in self._events.pop(name, {}).values():
                event.set()
