"""Progress of an operation on standard error: drawn live on a terminal, else one plain line every few seconds.

What is shown last is always the status in which the operation ended. Bytes on their way are shown from `LARGE_BYTES`
on: what is smaller is over before anybody has looked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Literal, Protocol

from perdure.actors.views import Progress
from perdure.adapters.cli.terminal import Terminal

PLAIN_EVERY_S: Final = 5.0
LARGE_BYTES: Final = 8 << 20

Unit = Literal["lines", "copies", "bytes"]
"""What progress counts."""


class Meter(Protocol):
    """Shows progress."""

    def show(self, progress: Progress) -> None:
        """The operation stands like this now."""
        ...

    def close(self) -> None:
        """Nothing more will be shown; the last state stays."""
        ...


async def follow(updates: AsyncIterator[Progress], meter: Meter) -> Progress:
    """Shows updates until they end, or until the operation is blocked; returns the last."""
    last = Progress("pending", 0, 0)
    try:
        async for progress in updates:
            last = progress
            meter.show(progress)
            if progress.status == "blocked":
                break
    finally:
        meter.close()
    return last


async def counted(
    chunks: AsyncIterator[bytes], meter: Meter, *, words: tuple[str, str], size_bytes: int | None = None
) -> AsyncGenerator[bytes]:
    """The same chunks, shown as they are taken if there is much of them. `words`: what goes on, and what was done.

    `size_bytes` is how much will come, None where that is not known. Closes the meter, not `chunks`.
    """
    done = 0
    try:
        async for chunk in chunks:
            done += len(chunk)
            if max(done, size_bytes or 0) >= LARGE_BYTES:
                meter.show(Progress(words[0], done, size_bytes or 0))
            yield chunk
        if done >= LARGE_BYTES:
            meter.show(Progress(words[1], done, done))
    finally:
        meter.close()


def meter_for(terminal: Terminal, *, wanted: bool, unit: Unit = "lines") -> Meter:
    """The meter that suits standard error."""
    if not wanted or terminal.quiet:
        return Silence()
    return Bar(terminal, unit) if terminal.live else PlainLines(terminal, unit)


def amount(progress: Progress, unit: Unit) -> str:
    """How much of how much, in words; the whole is left out where it is not known."""
    if unit != "bytes":
        return f"{progress.done} of {progress.total} {unit}"
    whole = f" of {progress.total / 1e6:.0f}" if progress.total else ""
    return f"{progress.done / 1e6:.0f}{whole} MB"


class Silence:
    """Shows nothing."""

    def show(self, progress: Progress) -> None:
        """See `Meter`."""

    def close(self) -> None:
        """See `Meter`."""


class PlainLines:
    """A line for each change of status, and one every few seconds in between."""

    def __init__(self, terminal: Terminal, unit: Unit) -> None:
        self._terminal = terminal
        self._unit: Unit = unit
        self._status = ""
        self._shown_at = 0.0
        self._started_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        """See `Meter`."""
        now = time.monotonic()
        if progress.status == self._status and now - self._shown_at < PLAIN_EVERY_S:
            return
        self._status, self._shown_at = progress.status, now
        waited = f"{now - self._started_at:.0f} s"
        self._terminal.say(f"{progress.status}: {amount(progress, self._unit)} after {waited}")

    def close(self) -> None:
        """See `Meter`."""


class Bar:
    """A live bar with the count, the status and the time it took, drawn from the first `show` on."""

    def __init__(self, terminal: Terminal, unit: Unit) -> None:
        from rich import progress as rich_progress
        from rich.console import Console

        colored = terminal.colored(sys.stderr)
        console = Console(file=sys.stderr, force_terminal=True, no_color=not colored)
        self._bar = rich_progress.Progress(
            rich_progress.SpinnerColumn(),
            rich_progress.TextColumn("{task.description}", style="bold"),
            rich_progress.BarColumn(),
            *(
                (rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn())
                if unit == "bytes"
                else (rich_progress.MofNCompleteColumn(), rich_progress.TextColumn(unit))
            ),
            rich_progress.TimeElapsedColumn(),
            console=console,
            refresh_per_second=8,
        )
        self._task = self._bar.add_task("pending", total=None)

    def show(self, progress: Progress) -> None:
        """See `Meter`."""
        self._bar.start()
        self._bar.update(self._task, description=progress.status, completed=progress.done, total=progress.total or None)

    def close(self) -> None:
        """See `Meter`."""
        self._bar.stop()
