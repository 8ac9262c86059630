"""The simulator's clock: real time plus an offset that only grows.

Everything that has a date at a simulated provider (creation, expiry, the stages of a batch, rate limits) is read off
this clock, so a test moves a batch through its 24 hours by advancing it, without waiting. Nothing in the simulator is
driven by a timer: what should have happened by now is worked out when somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Seconds since 1970 (UTC), as a float.

    Args:
        source: where real time comes from. Hand in a constant function to have a clock that only moves when told to.
        offset_s: how far ahead of `source` it starts.
    """

    def __init__(self, source: Callable[[], float] = time.time, *, offset_s: float = 0.0) -> None:
        self._source = source
        self._offset_s = offset_s
        self._last = float("-inf")

    @property
    def offset_s(self) -> float:
        """How far it was advanced in all, in seconds."""
        return self._offset_s

    def now(self) -> float:
        """The current time, in seconds since 1970. Never less than what it said before, whatever `source` does."""
        self._last = max(self._last, self._source() + self._offset_s)
        return self._last

    def advance(self, by_s: float) -> float:
        """Moves the clock forward by `by_s` seconds and returns the new time. Raises `ValueError` below zero."""
        if by_s < 0:
            raise ValueError(f"the clock only moves forward, not by {by_s} s")
        self._offset_s += by_s
        return self.now()
