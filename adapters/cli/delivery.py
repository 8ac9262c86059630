"""The results of a batch that is in the log: those that are there, or all of them as they come.

Lines are only read while another process writes the log. When nobody writes it any more, the one that follows opens it
itself and goes on behind the last line that it gave: a batch does not stand still because its process died.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

import perdure
from perdure.actors.batch.views import BatchHandle, BatchView, Order
from perdure.actors.views import ENDED
from perdure.adapters.cli.destination import Destination, open_destination
from perdure.adapters.cli.job import UNSETTLED, blocked, log_path
from perdure.adapters.cli.results import Tally, encode_line_with_cursor
from perdure.adapters.cli.submitted import find_batch
from perdure.adapters.cli.terminal import Terminal
from perdure.events.errors import InvalidRequest, LogLocked
from perdure.events.requests import Line

PATIENCE_S: Final = 366 * 86_400.0
"""How long the log's lock is waited for while somebody else writes: as long as anybody would follow."""


class DeliveryOptions(Struct, frozen=True, kw_only=True):
    """What the command was told. `allow_errors` counts lines, `ALL_ERRORS` is any number."""

    name: str
    db: str
    output: Path
    follow: bool
    after: int
    order: Order
    allow_errors: int


class Delivery:
    """One run of the command."""

    def __init__(self, options: DeliveryOptions, terminal: Terminal) -> None:
        self._options = options
        self._terminal = terminal
        self._cursor = options.after
        self._tally = Tally()
        self._blocked: str | None = None
        self._is_relieved = False
        self._others_write = trio.Event()
        self._waiting: trio.CancelScope | None = None

    def come_back(self) -> str:
        """How to go on after an interruption."""
        if str(self._options.output) != "-":
            return "no file was written; the same command begins again"
        return "the batch goes on; --after and the cursor of the last line that came out go on behind it"

    async def run(self) -> int:
        """Gives the lines out and returns the exit code."""
        options = self._options
        async with perdure.read(options.db) as reader:
            view = await find_batch(reader, options.name)  # before the output is opened for a name that there is not
            destination = self._open_destination(view.id)
            try:
                async with trio.open_nursery() as writing:
                    writing.start_soon(destination.run)
                    if options.follow and view.status not in ENDED:
                        await self._follow(view, destination)
                    else:
                        await self._give(view, destination, follow=False)
                    writing.cancel_scope.cancel()
                if self._blocked is not None:
                    raise blocked(view.provider, self._blocked)
                await destination.commit()
            finally:
                destination.abandon()
            return await self._conclude(view, destination)

    def _open_destination(self, id: str) -> Destination:
        options = self._options
        log = log_path(options.db)
        if str(options.output) != "-" and options.output.exists() and options.output.samefile(log):
            raise InvalidRequest(f"{options.output} is the log: name another file for the output", field="--output")
        token = hashlib.sha256(msgspec.json.encode((str(log), id, options.after, options.order))).hexdigest()[:12]
        return open_destination(options.output, token)

    # ------------------------------------------------------------------ giving out

    async def _follow(self, view: BatchView, destination: Destination) -> None:
        """Reads what others write until the log is ours, or the batch has ended."""
        async with trio.open_nursery() as nursery:
            stopped = trio.Event()
            nursery.start_soon(self._relieve, view.id, destination, stopped)
            await self._give(view, destination, follow=True, heed=self._others_write)
            if self._is_relieved:
                stopped.set()
            else:
                nursery.cancel_scope.cancel()

    async def _relieve(self, id: str, destination: Destination, stopped: trio.Event) -> None:
        """Takes the writer's place once there is none, and goes on where the reading stopped."""
        patience_s = 0.0
        while True:
            try:
                async with perdure.open(self._options.db, wait_for_lock_s=patience_s) as service:
                    self._is_relieved = True
                    if self._waiting is not None:
                        self._waiting.cancel()
                    await stopped.wait()
                    self._is_relieved = False
                    view = await find_batch(service, id)
                    if isinstance(view, BatchHandle) and view.status == "blocked":
                        await view.resume()  # the reason may have been put right since
                    await self._give(view, destination, follow=True)
                    return
            except LogLocked as locked:
                self._terminal.say(f"process {locked.pid} on {locked.host} writes the log; following what it does")
                self._others_write.set()
                patience_s = PATIENCE_S

    async def _give(
        self, view: BatchView, destination: Destination, *, follow: bool, heed: trio.Event | None = None
    ) -> None:
        """Gives lines out until there are no more, somebody has to mend something, or somebody else goes on.

        From `heed` on, or at once, it counts that the batch is blocked: before that nobody has tried.
        """
        async with (
            trio.open_nursery() as nursery,
            view.results(after=self._cursor, order=self._options.order, follow=follow) as lines,
        ):
            if follow:
                nursery.start_soon(self._watch, view, heed)
            while (line := await self._next(lines)) is not None:
                await destination.write(encode_line_with_cursor(line))
                self._cursor = line.cursor
                self._tally.add(line)
            nursery.cancel_scope.cancel()

    async def _next(self, lines: AsyncIterator[Line]) -> Line | None:
        """The next line; None when it is not waited for any more. Only the wait is cut short, never a write."""
        if self._is_relieved or self._blocked is not None:
            return None
        with trio.CancelScope() as self._waiting:
            return await anext(lines, None)
        return None

    async def _watch(self, view: BatchView, heed: trio.Event | None) -> None:
        """Stops the wait when the batch waits for somebody itself."""
        if heed is not None:
            await heed.wait()
        async with aclosing(view.progress_updates()) as updates:
            async for progress in updates:
                if progress.status == "blocked":
                    self._blocked = progress.note
                    if self._waiting is not None:
                        self._waiting.cancel()
                    return

    async def _conclude(self, view: BatchView, destination: Destination) -> int:
        await view.refresh()
        self._terminal.say(
            f"{view.id} is {view.status}: {self._tally.ok} lines ok, {self._tally.errors} with an error; "
            f"results: {destination.name}; what comes later: --after {self._cursor}"
        )
        if view.status in UNSETTLED:
            await view.result()  # raises, and says what to do
        return self._tally.code(self._terminal, self._options.allow_errors)
