"""Requests that are kept waiting until somebody lets them go."""

from __future__ import annotations

import trio
from msgspec import Struct


class Held(Struct, frozen=True):
    """A request that waits. `acted`: what it asked for was done. `at` is when it was held, in seconds since 1970."""

    id: str
    request_id: str
    method: str
    path: str
    acted: bool
    at: float


class Holds:
    """The held requests of one simulator, in the order in which they were held."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Held, trio.Event]] = {}
        self._count = 0
        self._changed = trio.Event()

    def held(self) -> list[Held]:
        """What is held now."""
        return [held for held, _ in self._waiting.values()]

    async def wait_held(self, count: int = 1) -> list[Held]:
        """Waits until at least `count` requests are held, and returns what is held then."""
        while len(self._waiting) < count:
            await self._changed.wait()
        return self.held()

    async def wait_released(self, request_id: str, method: str, path: str, *, acted: bool, at: float) -> None:
        """Holds the calling request. Returns when it is released; cancelled, for instance as its client left, it is
        held no longer."""
        self._count += 1
        held = Held(f"hold-{self._count}", request_id, method, path, acted, at)
        released = trio.Event()
        self._waiting[held.id] = (held, released)
        self._changed.set()
        self._changed = trio.Event()
        try:
            await released.wait()
        finally:
            self._waiting.pop(held.id, None)

    def release(self, id_: str | None = None) -> list[Held]:
        """Lets one held request go on, or all, and returns which. An unknown id releases none."""
        chosen = [name for name in self._waiting if id_ in (None, name)]
        freed = [self._waiting.pop(name) for name in chosen]
        for _, released in freed:
            released.set()
        return [held for held, _ in freed]
