"""Signals that something was committed: they carry no value, and one that is lost costs latency only.

To miss nothing, take the signal first, read, and wait for the signal only if there was nothing to read.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio


class Changes:
    """Wakes those who wait for commits: of one actor, or of any."""

    def __init__(self) -> None:
        self._of_actor: dict[str, trio.Event] = {}
        self._of_any = trio.Event()
        self._wanted = trio.Event()

    def signal(self, actor: str | None = None) -> trio.Event:
        """An event that is set by the next commit of `actor`, or of anybody."""
        self._wanted.set()
        if actor is None:
            return self._of_any
        return self._of_actor.setdefault(actor, trio.Event())

    def committed(self, actors: Iterable[str]) -> None:
        """Wakes everybody who waits for one of `actors` or for any."""
        if self._wanted.is_set():
            for actor in actors:
                event = self._of_actor.pop(actor, None)
                if event is not None:
                    event.set()
            self._of_any.set()
            self._of_any = trio.Event()
            if not self._of_actor:
                self._wanted = trio.Event()

    def changed_somewhere(self) -> None:
        """Wakes everybody: something was committed, it is not known by whom."""
        self.committed(list(self._of_actor))

    async def wanted(self) -> None:
        """Returns once somebody waits."""
        await self._wanted.wait()
