"""Forms that are held whole."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.simulator.forms import FormPart, parse_form
from perdure.adapters.simulator.multipart import MultipartError


def sent(files: list[tuple[str, tuple[str, bytes, str]]], fields: dict[str, str]) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://any", data=fields, files=files)
    return request.headers["content-type"], request.read()


def test_all_files_of_a_name_come_in_order_with_their_types() -> None:
    files = [("image[]", ("a.png", b"one", "image/png")), ("image[]", ("b", b"two\r\n", "image/webp"))]
    assert parse_form(*sent(files, {"prompt": "a fox"})) == [
        FormPart("prompt", None, "", b"a fox"),
        FormPart("image[]", "a.png", "image/png", b"one"),
        FormPart("image[]", "b", "image/webp", b"two\r\n"),
    ]


@given(data=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_any_bytes_come_through(data: list[bytes]) -> None:
    parts = parse_form(*sent([("f", ("n", one, "a/b")) for one in data], {}))
    assert [part.data for part in parts] == data


def test_a_form_that_is_cut_off_or_no_form_is_refused() -> None:
    content_type, body = sent([("f", ("n", b"words", "a/b"))], {})
    for cut in range(len(body) - 2):
        with pytest.raises(MultipartError):
            parse_form(content_type, body[:cut])
    with pytest.raises(MultipartError):
        parse_form("application/json", b"{}")
    with pytest.raises(MultipartError):
        parse_form("multipart/form-data", body)
