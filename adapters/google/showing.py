"""What Google's models can be shown: their `ProviderFacts`. They fetch no address.

Sources: `files.ACCEPTED_TYPES`, section 3 of `contracts/providers.md`, Google's documentation of files in prompts
(20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.actors.resolving import ProviderFacts
from perdure.adapters.google.account import NAME
from perdure.adapters.google.files import ACCEPTED_TYPES, MAX_FILE_BYTES

MAX_INLINE_BYTES: Final = 14_000_000
"""The largest file in a request itself: a request may have 20 MB, and base64 makes four bytes of three."""

SHOWS: Final = ProviderFacts(
    provider=NAME,
    references=ACCEPTED_TYPES,
    max_bytes=MAX_FILE_BYTES,
    inline=ACCEPTED_TYPES,
    max_inline_bytes=MAX_INLINE_BYTES,
)
