"""Bodies of requests: however the bytes are cut, the same body comes out, and what is behind it stays."""

from __future__ import annotations

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.server import Limits
from perdure.adapters.server.body import Body
from perdure.adapters.server.head import examine

BEHIND = b"GET /next HTTP/1.1\r\n"


def begun(headers: bytes, first: bytes) -> tuple[h11.Connection, Body]:
    """The body behind a head that came with its `first` bytes."""
    http = h11.Connection(h11.SERVER)
    http.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + first)
    request = http.next_event()
    assert isinstance(request, h11.Request)
    return http, Body(http, examine(request, Limits(), 0))


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


@given(
    parts=st.lists(st.binary(max_size=30), max_size=5),
    declared=st.booleans(),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_a_body_comes_out_whole_however_it_is_cut(parts: list[bytes], declared: bool, cuts: list[int]) -> None:
    whole = b"".join(parts)
    headers = b"Content-Length: %d\r\n" % len(whole) if declared else b"Transfer-Encoding: chunked\r\n"
    data = (whole if declared else chunked(parts)) + BEHIND
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    http, body = begun(headers, pieces[0])
    taken = b""
    for piece in [*pieces[1:], b""]:
        while part := body.take():
            taken += part
        if piece and not body.ended:
            body.feed(piece)
        elif piece:
            http.receive_data(piece)
    assert (taken, body.ended, body.size_bytes) == (whole, True, len(whole))
    assert http.trailing_data[0] == BEHIND


def test_a_part_is_not_copied() -> None:
    """It is the object that was received: an upload is as cheap as it can be."""
    _, body = begun(b"Content-Length: 10\r\n", b"")
    data = b"12345"
    body.feed(data)
    assert body.take() is data
    assert not body.ended


def test_a_request_without_a_body_has_ended() -> None:
    for headers in (b"", b"Content-Length: 0\r\n"):
        http, body = begun(headers, BEHIND)
        assert body.ended
        assert http.trailing_data[0] == BEHIND


def test_a_wrong_chunk_is_an_error_of_the_peer() -> None:
    _, body = begun(b"Transfer-Encoding: chunked\r\n", b"2\r\nokx\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        body.take()
