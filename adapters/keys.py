"""Keys on their way into a header."""

from __future__ import annotations

from perdure.events.errors import InvalidRequest


def header_key(secret: str, provider: str, variable: str) -> str:
    """The key as a header carries it. White space around it, as files and shells leave it, does not count.

    `variable` is where the key usually stands. Raises `InvalidRequest`, without the key in its message, for a key that
    no HTTP header can carry.
    """
    key = secret.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequest(
            f"the key for {provider} is empty or has characters that a header cannot carry; set {variable} anew",
            field="credential",
        )
    return key
