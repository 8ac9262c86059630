"""Secrets out of whatever is logged or raised. A second line: the first is that credentials travel in headers only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "x-goog-api-key"})
"""The headers that carry credentials at the providers we speak to, lower-case (contracts/providers.md)."""

REDACTED: Final = "[redacted]"

_QUERY: Final = re.compile(r"([?&](?:key|api_key|access_token|upload_id)=)[^&#]*", re.IGNORECASE)
_USER: Final = re.compile(r"(?<=://)[^/?#@]*@")
_SHORTEST_SECRET: Final = 8
"""A shorter value is not cut out of texts: it would cut out ordinary words."""


def redact_url(url: str) -> str:
    """`url` without the values of `key`, `api_key`, `access_token` and `upload_id` and without user and password.

    A text that is neither a URL nor a path from its root comes back unchanged."""
    if "://" not in url and not url.startswith("/"):
        return url
    return _USER.sub(f"{REDACTED}@", _QUERY.sub(rf"\g<1>{REDACTED}", url))


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers` with the values of the secret ones replaced, whatever their case."""
    return {name: REDACTED if name.lower() in SECRET_HEADERS else value for name, value in headers.items()}


def secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The secret values in `headers`, without a scheme such as `Bearer`; the longest first."""
    values = (value.rpartition(" ")[2] for name, value in headers.items() if name.lower() in SECRET_HEADERS)
    return tuple(sorted((value for value in values if len(value) >= _SHORTEST_SECRET), key=len, reverse=True))


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """`text` without any of `secrets`: some providers repeat a wrong key in their error message."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text
