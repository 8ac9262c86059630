"""Named places where a process may die: the seam that the crash sweeps pull.

Production code calls `crash_point(name, kind)` at each boundary that matters for durability. Nothing happens there
unless a sweep has entered `armed(probe)` in the current context; then the probe is called with the name and the actor
kind, counts it, and may end the process or the loop. Contexts are inherited by trio tasks and by the threads that trio
starts, so a probe reaches all code that runs below it and nothing else.

The full list stands in `CRASH_POINTS`; a sweep fails for a name in it that was never hit, and a name that is not in it
is refused, so the list cannot go stale.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

Probe = Callable[[str, str], None]

CRASH_POINTS: Final = frozenset(
    {
        "commit.before",  # a group is decided, nothing of it is written
        "commit.written",  # rows are in the transaction, COMMIT was not called
        "commit.after",  # COMMIT returned, nobody was told
        "report.before",  # an effect has something to say and has not said it
        "report.after",  # a report is durable, its effect has not gone on
        "send.before",  # a request is about to leave, no byte has left
        "send.after_last_byte",  # the whole request left, no answer was read
        "answer.received",  # an answer is in memory and nowhere else
        "blob.written",  # a temporary file holds the bytes, not synced; nothing holds those of a row yet
        "blob.renamed",  # the blob has its name, its directory is not synced; its row is in the transaction
        "blob.durable",  # the blob is durable, no event names it
    }
)

_probe: ContextVar[Probe | None] = ContextVar("perdure_crash_probe", default=None)


def crash_point(name: str, kind: str = "") -> None:
    """Passes the crash point `name` on behalf of an actor of `kind` ("" where no single actor is concerned)."""
    probe = _probe.get()
    if probe is not None:
        if name not in CRASH_POINTS:
            raise LookupError(f"crash point {name!r} is not in CRASH_POINTS: add it there")
        probe(name, kind)


@contextmanager
def armed(probe: Probe) -> Generator[None]:
    """Hands every crash point below this context to `probe`."""
    token = _probe.set(probe)
    try:
        yield
    finally:
        _probe.reset(token)
