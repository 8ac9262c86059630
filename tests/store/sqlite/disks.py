"""Disks whose work waits for a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class HeldDisk:
    """A disk whose work waits for the test: a commit takes as long as the test wants."""

    def __init__(self) -> None:
        self.held = False
        self.runs = 0
        self._released = trio.Event()

    async def run(self, work: Callable[[], T]) -> T:
        """See `Disk.run`."""
        await trio.lowlevel.checkpoint()
        self.runs += 1
        if self.held:
            with trio.CancelScope(shield=True):
                await self._released.wait()
        return work()

    def release(self) -> None:
        """Lets everything through that waits, and all that comes."""
        self.held = False
        self._released.set()
        self._released = trio.Event()
