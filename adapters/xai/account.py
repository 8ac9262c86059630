"""How perdure reaches xAI: the name, the address, the key's variable and header. Constants for who wires it up.

Sources: `contracts/providers.md` section 4 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.adapters.keys import header_key

NAME: Final = "xai"
"""The provider's name in lanes, events and on the command line."""

BASE_URL: Final = "https://api.x.ai/v1"
"""Where requests go unless told otherwise; the adapter's paths (`/files`, `/responses`) are below it."""

KEY_VARIABLE: Final = "XAI_API_KEY"
"""The environment variable that usually holds the key."""


def authorize(secret: str) -> dict[str, str]:
    """The headers that carry the key. Raises `InvalidRequest` for one that no header can carry."""
    return {"authorization": f"Bearer {header_key(secret, NAME, KEY_VARIABLE)}"}
