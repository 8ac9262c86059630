"""Data URLs: exact sizes before anything is decoded, and errors that name the offset."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.sources import data_url
from perdure.actors.sources.data_url import parse_data_url
from perdure.events.errors import InvalidSource


@given(st.binary(max_size=200))
def test_f9_base64_reads_back_identically(data: bytes) -> None:
    parsed = parse_data_url("data:image/png;base64," + base64.b64encode(data).decode())
    assert (parsed.mime_type, parsed.data()) == ("image/png", data)


@given(st.binary(max_size=200))
def test_f12_w47_the_size_is_exact_whatever_the_padding(data: bytes) -> None:
    assert parse_data_url("data:;base64," + base64.b64encode(data).decode()).size_bytes == len(data)
    assert parse_data_url("data:;base64," + quote(base64.b64encode(data))).size_bytes == len(data)


@given(st.binary(max_size=200))
def test_percent_encoded_content_reads_back_with_its_exact_size(data: bytes) -> None:
    parsed = parse_data_url("data:text/plain," + quote(data))
    assert (parsed.size_bytes, parsed.data()) == (len(data), data)


@given(st.text(max_size=60).map(lambda text: text.replace("%", "")))
def test_plain_text_counts_as_the_utf_8_it_stands_for(text: str) -> None:
    parsed = parse_data_url("data:," + text)
    assert (parsed.size_bytes, parsed.data()) == (len(text.encode()), text.encode())


@pytest.mark.parametrize(
    ("url", "mime_type"),
    [
        ("data:,a", "text/plain;charset=US-ASCII"),
        ("data:;base64,YQ==", "text/plain;charset=US-ASCII"),
        ("data:;charset=utf-8,a", "text/plain;charset=utf-8"),
        ("data:text/csv;charset=utf-8;base64,YQ==", "text/csv;charset=utf-8"),
        ("DATA:image/svg+xml;BASE64,YQ==", "image/svg+xml"),
        ("data:image/svg+xml,a", "image/svg+xml"),
    ],
)
def test_the_type_that_is_declared(url: str, mime_type: str) -> None:
    parsed = parse_data_url(url)
    assert (parsed.mime_type, parsed.data()) == (mime_type, b"a")


@pytest.mark.parametrize(
    ("url", "offset"),
    [
        ("data:;base64,YWJj*WJj", 17),
        ("data:;base64,YW=jYWJj", 15),
        ("data:;base64,YWJj YWI", 17),
        ("data:;base64,YWJ-", 16),
        ("data:;base64,YWéj", 15),
        ("data:;base64,YWJ", 16),
        ("data:;base64,YWJjY===", 21),
        ("data:,abc%4", 9),
        ("data:,abc%zz", 9),
        ("data:;base64,YQ%3", 15),
    ],
)
def test_what_is_wrong_is_named_by_its_offset(url: str, offset: int) -> None:
    with pytest.raises(InvalidSource, match=f"wrong at offset {offset}: ") as caught:
        parse_data_url(url).data()
    assert (caught.value.reason, caught.value.value) == ("data_url", str(offset))


def test_an_offset_far_inside_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_url, "_PIECE_CHARACTERS", 8)
    parsed = parse_data_url("data:;base64," + "YWJj" * 5 + "YW!j" + "YWJj" * 5)
    assert parsed.size_bytes == 33
    pieces = parsed.pieces()
    assert [next(pieces), next(pieces)] == [b"abcabc", b"abcabc"]
    with pytest.raises(InvalidSource, match=f"offset {13 + 22}: '!' is not a character of base64"):
        next(pieces)


def test_large_content_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_url, "_PIECE_CHARACTERS", 8)
    assert list(parse_data_url("data:;base64,YWJjYWJjYWI=").pieces()) == [b"abcabc", b"ab"]


@pytest.mark.parametrize(
    "url", ["", "data:", "data:image/png;base64", "http://example.com/,a", "image/png;base64,YQ=="]
)
def test_other_text_is_no_data_url(url: str) -> None:
    with pytest.raises(InvalidSource, match="not a data URL") as caught:
        parse_data_url(url)
    assert caught.value.reason == "data_url"
