"""What OpenAI's endpoints can be shown: the `ProviderFacts` of responses and chat completions. Pure.

Sources: the table in `content`, section 3.5 of `contracts/media-files-batch.md`, OpenAI's guide to files as inputs
(20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.actors.resolving import ProviderFacts
from perdure.adapters.openai_compatible.content import AUDIO_FORMATS, CHAT, RESPONSES

IMAGES: Final[Sequence[str]] = ("image/jpeg", "image/png", "image/gif", "image/webp")
DOCUMENTS: Final[Sequence[str]] = (
    "application/pdf",
    "application/json",
    "application/rtf",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "text/*",
)

MAX_BYTES: Final = 50_000_000
"""The largest file that a request may name (section 3.5)."""

MAX_INLINE_BYTES: Final = 35_000_000
"""The largest file in a request itself: a request may bring 50 MB, and base64 makes four bytes of three."""


def shows(
    endpoint: str,
    *,
    provider: str,
    documents: Sequence[str] = DOCUMENTS,
    named_images: Sequence[str] = IMAGES,
    max_bytes: int = MAX_BYTES,
) -> ProviderFacts:
    """How requests of `provider` for `endpoint` can show files. `documents` are those that it reads, `named_images`
    the pictures that its responses may name as uploaded files. An endpoint that takes text alone shows none."""
    if endpoint == RESPONSES:
        return ProviderFacts(
            provider=provider,
            references=(*named_images, *documents),
            max_bytes=max_bytes,
            inline=(*IMAGES, *documents),
            max_inline_bytes=MAX_INLINE_BYTES,
            urls=(*IMAGES, *documents),
        )
    if endpoint == CHAT:
        return ProviderFacts(
            provider=provider,
            references=documents,
            max_bytes=max_bytes,
            inline=(*IMAGES, *documents, *AUDIO_FORMATS),
            max_inline_bytes=MAX_INLINE_BYTES,
            urls=IMAGES,
        )
    return ProviderFacts(provider=provider, references=(), max_bytes=0, inline=(), max_inline_bytes=0)
