"""Supervision: what the runtime itself remembers of an actor, folded from its own events.

An effect that fails is tried again after a wait that doubles; after `LIMIT` failures in a row the actor is parked. A
failure is forgotten when the effect's id is no longer asked for: another attempt has another id.
"""

from __future__ import annotations

from collections.abc import Iterable

from perdure.events.event import Event
from perdure.events.supervision import EffectFailed, Parked, Revived

LIMIT = 8
"""Failures of one effect in a row before its actor is parked: with the waits below, about two minutes of trying."""

FIRST_WAIT_US = 500_000
LONGEST_WAIT_US = 60_000_000


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
        elif isinstance(event, Parked):
            self.parked = event
        elif isinstance(event, Revived):
            self.parked = None
            self.failures.clear()

    def failed(self, effect: str, error: str, traceback: str, at: int) -> Event:
        """The event for one more failure of `effect` at `at` (µs UTC): a retry, or the end of patience."""
        previous = self.failures.get(effect)
        count = previous.count + 1 if previous else 1
        if count >= LIMIT:
            return Parked(effect=effect, error=error, traceback=traceback)
        return EffectFailed(effect=effect, count=count, error=error, retry_at=at + wait_us(count))

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
