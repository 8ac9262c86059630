"""Progress of an operation on standard error: drawn live on a terminal, else one plain line every few seconds.

What is shown last is always the status in which the operation ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol

from perdure.actors.views import Progress
from perdure.adapters.cli.terminal import Terminal

PLAIN_EVERY_S: Final = 5.0


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


def meter_for(terminal: Terminal, *, wanted: bool) -> Meter:
    """The meter that suits standard error."""
    if not wanted or terminal.quiet:
        return Silence()
    return Bar(terminal) if terminal.live else PlainLines(terminal)


class Silence:
    """Shows nothing."""

    def show(self, progress: Progress) -> None:
        """See `Meter`."""

    def close(self) -> None:
        """See `Meter`."""


class PlainLines:
    """A line for each change of status, and one every few seconds in between."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
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
        self._terminal.say(f"{progress.status}: {progress.done} of {progress.total} lines after {waited}")

    def close(self) -> None:
        """See `Meter`."""


class Bar:
    """A live bar with the count, the status and the time it took."""

    def __init__(self, terminal: Terminal) -> None:
        from rich import progress as rich_progress
        from rich.console import Console

        colored = terminal.colored(sys.stderr)
        console = Console(file=sys.stderr, force_terminal=True, no_color=not colored)
        self._bar = rich_progress.Progress(
            rich_progress.SpinnerColumn(),
            rich_progress.TextColumn("{task.description}", style="bold"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("lines"),
            rich_progress.TimeElapsedColumn(),
            console=console,
            refresh_per_second=8,
        )
        self._task = self._bar.add_task("pending", total=None)
        self._bar.start()

    def show(self, progress: Progress) -> None:
        """See `Meter`."""
        self._bar.update(self._task, description=progress.status, completed=progress.done, total=progress.total or None)

    def close(self) -> None:
        """See `Meter`."""
        self._bar.stop()
