"""How perdure reaches OpenAI: the name, the address, the key's variable and header. Constants for who wires it up.

Sources: `contracts/providers.md` section 1, read in OpenAI's Python SDK 3.52 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.events.errors import InvalidRequest

NAME: Final = "openai"
"""The provider's name in lanes, events and on the command line."""

BASE_URL: Final = "https://api.openai.com/v1"
"""Where requests go unless told otherwise; the adapter's paths (`/files`, `/batches`) are below it."""

KEY_VARIABLE: Final = "OPENAI_API_KEY"
"""The environment variable that usually holds the key."""


def authorize(secret: str) -> dict[str, str]:
    """The headers that carry the key. White space around it, as files and shells leave it, does not count.

    Raises `InvalidRequest`, without the key in its message, for a key that no HTTP header can carry.
    """
    key = secret.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequest(
            f"the key for {NAME} is empty or has characters that a header cannot carry; set {KEY_VARIABLE} anew",
            field="credential",
        )
    return {"authorization": f"Bearer {key}"}
