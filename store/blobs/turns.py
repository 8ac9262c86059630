"""Turns: whoever comes while a turn runs waits for the next one, and one hop does all that waits.

There is no task behind it. The first to come runs a turn for everybody who is there when its hop begins; the first of
those who came later runs the next. So a lone caller pays one hop, and a thousand callers share a few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio

from perdure.events.errors import PerdureError, Unavailable
from perdure.store.disk import Disk


class Job:
    """Something to be done in a turn. `settled` once it was done or refused."""

    def __init__(self) -> None:
        self.settled = False
        self._error: PerdureError | None = None

    def settle(self, error: PerdureError | None) -> None:
        """Says how it ended; called by the turn's work."""
        self._error = error
        self.settled = True

    def raise_for_error(self) -> None:
        """Raises what the job was refused with."""
        if self._error is not None:
            raise self._error


class Turns:
    """Runs `work(jobs)` on the disk, one turn at a time. `work` settles every job it is given."""

    def __init__(self, disk: Disk, work: Callable[[Sequence[Job]], None]) -> None:
        self._disk = disk
        self._work = work
        # Filled on the scheduler's thread, emptied by the hop; both ends of a deque may be used by two threads.
        self._waiting: deque[Job] = deque()
        self._running: trio.Event | None = None

    async def take(self, job: Job) -> None:
        """Waits until `job` was done in some turn; raises what it was refused with.

        Cancelled before its turn begins, the job is not done at all. Cancelled later, it is done, and `job.settled`
        says so: the caller undoes what it must.
        """
        self._waiting.append(job)
        try:
            await self._until_settled(job)
        except trio.Cancelled:
            if not job.settled and not self._withdraw(job):
                # It is in the turn that runs. A turn is disk work without an end of its own to wait for; leaving now
                # would leave a file behind that nobody knows of.
                with trio.CancelScope(shield=True):
                    await self._until_settled(job)
            raise
        job.raise_for_error()

    async def _until_settled(self, job: Job) -> None:
        while not job.settled:
            if self._running is None:
                await self._run()
            else:
                await self._running.wait()

    async def _run(self) -> None:
        ended = self._running = trio.Event()
        try:
            await self._disk.run(self._hop)
        finally:
            self._running = None
            ended.set()

    def _hop(self) -> None:
        jobs: list[Job] = []
        with suppress(IndexError):
            while True:
                jobs.append(self._waiting.popleft())
        try:
            self._work(jobs)
        finally:
            for job in jobs:
                if not job.settled:
                    job.settle(Unavailable("a blob was not stored: the work on its folder broke off; try again"))

    def _withdraw(self, job: Job) -> bool:
        """Takes a job back that no turn has begun with; False if one has."""
        try:
            self._waiting.remove(job)
        except ValueError:
            return False
        return True
