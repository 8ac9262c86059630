"""Noise: random bytes, broken requests and wild frames never leave their connection."""

from __future__ import annotations

import itertools

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from perdure.adapters.server import Limits, Reception
from tests.adapters.server.peers import Client, request
from tests.adapters.server.test_rude_peers import Both
from tests.adapters.server.test_websocket import OPENING

CHUNKED = "Transfer-Encoding: chunked\r\n"
WHOLE = [
    request("/"),
    request("/echo", method="POST", body=b"body"),
    request("/echo", method="POST", headers=CHUNKED) + b"4\r\nbody\r\n0\r\n\r\n",
    request("/echo", method="POST", headers="Content-Length: 4\r\nExpect: 100-continue\r\n") + b"body",
    request("/", method="HEAD"),
    request("/fail-late"),
    request("/", headers="Connection: close\r\n"),
    request("/", headers=OPENING),
]


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Whole requests, one after the other, with a few bytes removed, replaced or put in."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """An opening, then frames, some of them broken."""
    data = bytearray()
    events = st.one_of(
        st.builds(TextMessage, st.text(max_size=20), message_finished=st.booleans()),
        st.builds(Ping, st.binary(max_size=20)),
        st.just(BytesMessage(b"")),
    )
    for event in draw(st.lists(events, max_size=8)):
        data += Frames(ConnectionType.CLIENT).send(event)
    if draw(st.booleans()):
        data += Frames(ConnectionType.CLIENT).send(CloseConnection(code=draw(st.sampled_from([1000, 4000, 1006]))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return request("/", headers=OPENING) + bytes(data)


async def _throw(reception: Reception, pieces: list[bytes], *, leave: bool) -> None:
    """Throw the pieces at a connection beside a polite one; the nursery would raise what left the connection."""
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        mine, polite = memory_stream_pair()
        nursery.start_soon(reception.handle, theirs)
        nursery.start_soon(reception.handle, polite)
        client = Client(mine)
        for piece in pieces:
            try:
                await ours.send_all(piece)
            except trio.BrokenResourceError:
                break
            await trio.lowlevel.checkpoint()
        assert (await client.get("/")).body == b"hello"
        if leave:
            await ours.aclose()
        assert (await client.get("/")).body == b"hello"
        await mine.aclose()


def _run(data: bytes, cuts: list[int], *, leave: bool) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges) if end > start]
    reception = Reception(Both(), Limits())
    trio.run(lambda: _throw(reception, pieces, leave=leave), clock=MockClock(autojump_threshold=0))


CUTS = st.lists(st.integers(0, 2000), max_size=4)


@settings(deadline=None)
@given(data=st.binary(min_size=1, max_size=400), cuts=CUTS, leave=st.booleans())
def test_random_bytes(data: bytes, cuts: list[int], leave: bool) -> None:
    _run(data, cuts, leave=leave)


@settings(deadline=None, max_examples=300)
@given(data=broken(), cuts=CUTS, leave=st.booleans())
def test_broken_requests(data: bytes, cuts: list[int], leave: bool) -> None:
    _run(data, cuts, leave=leave)


@settings(deadline=None, max_examples=200)
@given(data=frames(), cuts=CUTS, leave=st.booleans())
def test_wild_frames(data: bytes, cuts: list[int], leave: bool) -> None:
    _run(data, cuts, leave=leave)
