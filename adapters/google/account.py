"""How perdure reaches Google's Gemini developer API: the name, the address, the keys' variables and header.

Sources: `contracts/providers.md` section 3, read in Google's Python SDK 3.4 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

from perdure.adapters.keys import header_key

NAME: Final = "google"
"""The provider's name in lanes, events and on the command line."""

BASE_URL: Final = "https://generativelanguage.googleapis.com"
"""Where requests go unless told otherwise. The version is not part of it: uploads have theirs further down the path
(`/upload/v1/files`)."""

VERSION: Final = "v1"
"""The version that perdure asks for files and prompts: what Google's own client calls since its generation 3, and the
one that promises not to change. Live requests may name another, see `requests.VERSIONS`."""

KEY_VARIABLES: Final = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
"""The environment variables that usually hold the key; the first wins, as in Google's client."""


def authorize(secret: str) -> dict[str, str]:
    """The headers that carry the key. Raises `InvalidRequest` for a key that no header can carry; see `header_key`."""
    return {"x-goog-api-key": header_key(secret, NAME, KEY_VARIABLES[0])}
