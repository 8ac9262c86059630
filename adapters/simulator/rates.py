"""Armed rates: how a request stands against one, and when a client that was refused may come back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

RATE_WINDOW_S: Final = 1.0
"""Over what an armed rate is counted, in seconds."""


class Admission(Struct, frozen=True):
    """How a request stands against an armed rate: the limit and what is left of it. Times are in seconds from now.

    `room_s`: when there is room again. `reset_s`: when all would be free again if it came back evenly and never before
    there is room for it; so a client that reckons with an even refill, as OpenAI's header means it, stays within the
    limit in any second. `admitted` false: the request was over it.
    """

    per_s: int
    remaining: int
    room_s: float
    reset_s: float
    admitted: bool


def admission(per_s: int, taken_at: Sequence[float], now: float, *, admitted: bool) -> Admission:
    """How it stands when requests were counted at `taken_at`, oldest first, all within the window."""
    free_s = [at + RATE_WINDOW_S - now for at in taken_at]
    slowest_s = max(wait_s / place for place, wait_s in enumerate(free_s, 1))
    return Admission(per_s, per_s - len(free_s), free_s[0], slowest_s * len(free_s), admitted=admitted)


def retry_after(stands: Admission) -> dict[str, str]:
    """The header that tells a refused client when to come back, in whole seconds, rounded up."""
    return {} if stands.admitted else {"retry-after": str(math.ceil(stands.room_s))}


def retry_after_ms(stands: Admission) -> dict[str, str]:
    """The header that tells it in milliseconds, rounded up."""
    return {} if stands.admitted else {"retry-after-ms": str(math.ceil(stands.room_s * 1000))}
