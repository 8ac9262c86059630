"""What Anthropic's messages can be shown: their `ProviderFacts`.

Sources: the table in `requests`, section 3.5 of `contracts/media-files-batch.md`, Anthropic's documentation of the size
of requests (20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.actors.resolving import ProviderFacts
from perdure.adapters.anthropic.account import NAME
from perdure.adapters.anthropic.files import ACCEPTED_TYPES, MAX_FILE_BYTES
from perdure.adapters.anthropic.requests import IMAGE_TYPES, PDF

MAX_INLINE_BYTES: Final = 20_000_000
"""The largest file in a request itself: a request may have 32 MB, and base64 makes four bytes of three."""

SHOWS: Final = ProviderFacts(
    provider=NAME,
    references=ACCEPTED_TYPES,
    max_bytes=MAX_FILE_BYTES,
    inline=ACCEPTED_TYPES,
    max_inline_bytes=MAX_INLINE_BYTES,
    urls=(*sorted(IMAGE_TYPES), PDF),
)
