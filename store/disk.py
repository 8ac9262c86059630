"""The disk port: where blocking work runs.

All that blocks goes through `Disk.run`, one hop for a batch of work and never one per item. The real one hops to a
thread with a limiter of its own; a simulation runs the work inline, so that a virtual clock never sees a thread it
cannot wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Disk(Protocol):
    """Runs blocking work. Once the work has begun it is finished, whoever is cancelled meanwhile."""

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` and returns what it returns, raises what it raises."""
        ...


class ThreadDisk:
    """Runs work in trio's worker threads, `threads` at a time at most."""

    def __init__(self, threads: int = 1) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def run(self, work: Callable[[], T]) -> T:
        """See `Disk.run`. Cancellation is seen before the hop, never in the middle of it."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineDisk:
    """Runs work at once on the scheduler's thread: for simulations under a virtual clock."""

    async def run(self, work: Callable[[], T]) -> T:
        """See `Disk.run`."""
        await trio.lowlevel.checkpoint()
        return work()
