"""The time that a service goes by: the wall clock's, but for jumps of it that do not last.

What was recorded in the future is waited for, and what was recorded in the past comes too soon; so a clock that is set
wrong for a moment would hold work up for as long as it was wrong by. Time goes on with the monotonic clock instead, and
a wall clock that jumped is believed once it has stayed there for a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perdure.store.log import FARTHEST_AHEAD_US

TOLERANCE_US: Final = 1_000_000
"""Up to this the wall clock is followed at once: it is being adjusted, as clocks are all the time."""

PATIENCE_US: Final = 60_000_000
"""How long a wall clock that jumped must stay there before it is believed: a computer that slept, or whose clock was
mended."""


class SteadyClock:
    """Gives µs since 1970, UTC. `wall` does too; `monotonic` gives seconds from any moment on. May be used in any
    thread."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        now = self._elapsed()
        self._offset = wall() - now
        self._jumped: tuple[int, int] | None = None
        """Where the wall clock is that is not believed yet, as an offset, and since when."""

    def __call__(self) -> int:
        """The time."""
        elapsed = self._elapsed()
        offset = self._wall() - elapsed
        if abs(offset - self._offset) <= TOLERANCE_US:
            self._offset, self._jumped = offset, None
        elif self._jumped is None or abs(offset - self._jumped[0]) > TOLERANCE_US:
            self._jumped = offset, elapsed
        elif elapsed - self._jumped[1] >= PATIENCE_US:
            self._offset, self._jumped = offset, None
        return elapsed + self._offset

    def go_on_from(self, recorded_at: int) -> None:
        """Goes on from what an earlier process recorded last, in µs since 1970, if that is a little ahead."""
        ahead = recorded_at - self()
        if 0 < ahead <= FARTHEST_AHEAD_US:
            self._offset += ahead

    def _elapsed(self) -> int:
        return round(self._monotonic() * 1_000_000)
