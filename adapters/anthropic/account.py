"""How perdure reaches Anthropic: the name, the address, the key's variable and the headers of every request.

Sources: `contracts/providers.md` section 2, read in Anthropic's Python SDK 2.11 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.adapters.keys import header_key

NAME: Final = "anthropic"
"""The provider's name in lanes, events and on the command line."""

BASE_URL: Final = "https://api.anthropic.com"
"""Where requests go unless told otherwise; the adapter's paths (`/v1/files`, `/v1/messages`) are below it."""

KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
"""The environment variable that usually holds the key."""

VERSION: Final = "2026-10-21"
"""The version of the API that every request names; without one it is refused (section 2)."""


def authorize(secret: str) -> dict[str, str]:
    """The headers that carry the key, and the version. See `header_key`. Raises `InvalidRequest`."""
    return {"x-api-key": header_key(secret, NAME, KEY_VARIABLE), "anthropic-version": VERSION}
