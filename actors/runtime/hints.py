"""Hints: how those who wait for something in the log learn that it is worth reading again.

A hint carries no value and losing one costs latency only: waiting is always a loop of read, wait, read. Hints are keyed
by actor, or by actor and item, so that a chunk of results wakes those whose lines are in it and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

FORGET_AT: Final = 4_096
"""Subscriptions before those are looked for that nobody waits for any more."""


class Hints:
    """Wakes the tasks that wait for an actor's next commit, or for one of its items."""

    def __init__(self) -> None:
        self._events: dict[str, dict[int | None, trio.Event]] = {}
        self._made: list[tuple[str, int | None, trio.Event]] = []
        self._forget_at = FORGET_AT

    def subscribe(self, actor: str, item: int | None = None) -> trio.Event:
        """An event that is set by the next commit of `actor` (that touches `item`). Take it *before* reading."""
        waiting = self._events.get(actor)
        if waiting is None:
            waiting = self._events[actor] = {}
        event = waiting.get(item)
        if event is None:
            if len(self._made) >= self._forget_at:
                self._forget()
            event = waiting[item] = trio.Event()
            self._events[actor] = waiting
            self._made.append((actor, item, event))
        return event

    @property
    def kept(self) -> int:
        """How many subscriptions are in memory."""
        return len(self._made)

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

    def _forget(self) -> None:
        """Drops what was set, and what nobody waits for: a waiter that left does not say so.

        Whoever took an event and has not begun to wait loses it. It reads once more in between, and the event is set,
        so it looks again at once: nothing is missed.
        """
        kept: list[tuple[str, int | None, trio.Event]] = []
        for actor, item, event in self._made:
            if event.is_set():
                continue
            if event.statistics().tasks_waiting:
                kept.append((actor, item, event))
                continue
            event.set()
            waiting = self._events.get(actor)
            if waiting is not None and waiting.get(item) is event:
                del waiting[item]
                if not waiting:
                    del self._events[actor]
        self._made = kept
        self._forget_at = max(FORGET_AT, 2 * len(kept))
