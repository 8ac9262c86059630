"""Supervision: what the runtime itself remembers of an actor, folded from its own events.

An effect that fails is tried again after a wait that doubles; after `LIMIT` failures in a row the actor is parked. A
failure is forgotten when the effect's id is no longer asked for (another attempt has another id), or when the effect
ran to its end again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from perdure.events.event import Event
from perdure.events.supervision import EffectFailed, EffectRecovered, Parked, Revived

LIMIT: Final = 8
"""Failures of one effect in a row before its actor is parked: with the waits below, about a minute of trying."""

FIRST_WAIT_US: Final = 500_000
LONGEST_WAIT_US: Final = 60_000_000

ERROR_CHARACTERS: Final = 300
TRACEBACK_CHARACTERS: Final = 8_000
"""What is kept of an error: enough to find the place, never a whole answer that slipped into a message."""


def wait_us(count: int) -> int:
    """How long to wait after the `count`-th failure in a row, in µs."""
    return int(min(FIRST_WAIT_US * 2 ** (count - 1), LONGEST_WAIT_US))


class Supervision:
    """The fold of the runtime's own events over one actor."""

    __slots__ = ("failures", "parked")

    def __init__(self) -> None:
        self.failures: dict[str, EffectFailed] = {}
        self.parked: Parked | None = None

    def evolve(self, event: Event) -> None:
        """Takes in one of the runtime's events."""
        if isinstance(event, EffectFailed):
            self.failures[event.effect] = event
        elif isinstance(event, EffectRecovered):
            self.failures.pop(event.effect, None)
        elif isinstance(event, Parked):
            self.parked = event
        elif isinstance(event, Revived):
            self.parked = None
            self.failures.clear()

    def failed(self, effect: str, error: str, traceback: str, now: int) -> Event:
        """The event for one more failure of `effect` at `now` (µs UTC): a retry, or the end of patience."""
        previous = self.failures.get(effect)
        count = previous.count + 1 if previous else 1
        line = " ".join(error.split())[:ERROR_CHARACTERS]
        if count >= LIMIT:
            return Parked(effect=effect, error=line, traceback=traceback[-TRACEBACK_CHARACTERS:])
        return EffectFailed(effect=effect, count=count, error=line, retry_at=now + wait_us(count))

    def retry_at(self, effect: str) -> int:
        """When `effect` may be tried again, in µs UTC; 0 when it has not failed."""
        failure = self.failures.get(effect)
        return failure.retry_at if failure else 0

    def forget(self, asked: Iterable[str]) -> None:
        """Drops the failures of effects that are no longer asked for."""
        if self.failures:
            wanted = set(asked)
            for effect in [effect for effect in self.failures if effect not in wanted]:
                del self.failures[effect]
