"""How long providers are waited for and how far their lists and clocks are trusted. Ours: no provider states these."""

from __future__ import annotations

from typing import Final

SETTLE_S: Final = 5.0
"""How long a new object may be missing from its list, in seconds."""

CLOCK_MARGIN_S: Final = 300.0
"""How much further back than asked a list is read, in seconds: our clock and the provider's may differ, and theirs may
count whole seconds. Hosts without time synchronisation drift by seconds a day."""

PROCESSING_S: Final = 120.0
"""How long a provider may take to answer once it has every byte, in seconds."""

_SLOWEST_UPLOAD: Final = 100_000
"""The slowest upload that is waited for, in bytes a second."""


def patience_s(size_bytes: int) -> float:
    """How long sending so many bytes may take, with the answer, in seconds."""
    return 2 * PROCESSING_S + size_bytes / _SLOWEST_UPLOAD
