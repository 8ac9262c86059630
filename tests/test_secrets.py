"""The search for keys finds them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.secrets import assert_not_found, unique_key


def test_a_key_is_found_wherever_it_stands(tmp_path: Path) -> None:
    key = unique_key()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"\0\1 nothing here")
    assert_not_found(key, tmp_path, "nor here", b"nor here")
    for content in (key, f"Bearer {key}", base64.b64encode(key.encode()).decode(), key.encode().hex()):
        (tmp_path / "deep/file").write_text(f"before {content} after")
        with pytest.raises(AssertionError, match="was found in") as caught:
            assert_not_found(key, tmp_path)
        assert key not in str(caught.value)
    with pytest.raises(AssertionError, match="a text"):
        assert_not_found(key, f"error: {key}")


def test_an_empty_place_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="nothing in"):
        assert_not_found(unique_key(), tmp_path)
