"""Secrets out of URLs, headers and texts. Pure."""

from __future__ import annotations

import pytest

from perdure.adapters.network import Endpoint, redact_headers, redact_url
from perdure.adapters.network.redact import redact_text, secrets_of
from tests.secrets import unique_key


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/p?key=abc&x=1", "https://h/p?key=[redacted]&x=1"),
        ("https://h/p?x=1&api_key=abc", "https://h/p?x=1&api_key=[redacted]"),
        ("https://h/p?ACCESS_TOKEN=abc#f", "https://h/p?ACCESS_TOKEN=[redacted]#f"),
        ("https://user:pass@h/p", "https://[redacted]@h/p"),
        ("/p?key=abc", "/p?key=[redacted]"),
        ("https://h/p?monkey=abc", "https://h/p?monkey=abc"),
        ("not a url ?key=abc", "not a url ?key=abc"),
        ("", ""),
    ],
)
def test_n25_urls_lose_their_secrets(url: str, shown: str) -> None:
    """Values of key, api_key and access_token, and user and password, are cut out; what is no URL stays."""
    assert redact_url(url) == shown


@pytest.mark.parametrize("name", ["authorization", "Authorization", "X-API-KEY", "x-api-key", "X-Goog-Api-Key"])
def test_n25_headers_lose_their_secrets(name: str) -> None:
    """The three credential headers are cut out in any case; others stay."""
    assert redact_headers({name: f"Bearer {unique_key()}", "x-other": "1"}) == {name: "[redacted]", "x-other": "1"}


def test_n25_texts_lose_the_credential() -> None:
    """A provider that repeats the credential in its message does not bring it into ours."""
    key = unique_key()
    headers = {"Authorization": f"Bearer {key}", "x-api-key": "short", "x-other": "harmless-value"}
    assert secrets_of(headers) == (key,)
    assert redact_text(f"bad key {key}!", secrets_of(headers)) == "bad key [redacted]!"


def test_w71_endpoint_shows_no_secret() -> None:
    """An endpoint's text names its headers and not their values."""
    shown = repr(Endpoint(base_url="https://u:p@h/v1?key=k", headers={"authorization": f"Bearer {unique_key()}"}))
    assert shown == "Endpoint('https://[redacted]@h/v1?key=[redacted]', headers=['authorization'])"
