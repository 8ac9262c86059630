"""No key that a test uses may be found in anything that the test made: logs, blobs, output, standard error."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from pathlib import Path


def unique_key() -> str:
    """A key that no other test has and that looks like a provider's."""
    return f"sk-test-{secrets.token_hex(16)}"


def assert_not_found(key: str, *places: Path | str | bytes) -> None:
    """Searches texts, files, and all files below directories for `key`, as it is and in base64.

    Raises AssertionError that names the place and never the key.
    """
    text = key.encode()
    forms = {text, text.hex().encode(), *(base64.b64encode(text)[:-4], base64.b64encode(b":" + text)[4:-4])}
    for name, content in _contents(places):
        assert not any(form in content for form in forms), f"a key was found in {name}"


def _contents(places: Iterable[Path | str | bytes]) -> Iterable[tuple[str, bytes]]:
    for place in places:
        if isinstance(place, Path):
            files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
            assert files, f"there is nothing in {place}: the search would show nothing"
            yield from ((str(path), path.read_bytes()) for path in files)
        else:
            yield "a text", place.encode() if isinstance(place, str) else place
