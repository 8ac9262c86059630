"""The server's stream on a socket: trio's own suite for streams, and what it adds to them."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import check_half_closeable_stream

from perdure.adapters.server.socket_stream import SocketStream
from tests.adapters.server.peers import PATIENCE_S

pytestmark = pytest.mark.trio


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


def fill(stream: SocketStream) -> int:
    """Send until the kernel takes no more; how many bytes it took."""
    taken_bytes = 0
    while more := stream.send_now(bytes(65536)):
        taken_bytes += more
    return taken_bytes


async def _pair() -> tuple[SocketStream, SocketStream]:
    ours, theirs = socket.socketpair()  # not TCP, whose buffers empty into each other even when both are full
    return SocketStream(ours), SocketStream(theirs)


async def _clogged_pair() -> tuple[SocketStream, SocketStream]:
    pair = await _pair()
    fill(pair[0])
    fill(pair[1])
    return pair


async def test_it_is_a_stream_as_trio_has_it() -> None:
    with trio.fail_after(PATIENCE_S):
        await check_half_closeable_stream(_pair, _clogged_pair)


async def test_what_is_sent_now_arrives_in_order_with_what_waits() -> None:
    ours, theirs = await _pair()
    sent_bytes = 0

    async def send() -> None:
        nonlocal sent_bytes
        sent_bytes = fill(ours)
        await ours.send_all(b"x" * 1_000_000)
        sent_bytes += 1_000_000 + ours.send_now(b"end")
        await ours.send_eof()

    received = bytearray()
    with trio.fail_after(PATIENCE_S):
        async with ours, theirs, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while data := await theirs.receive_some():
                received += data
    assert len(received) == sent_bytes
    assert received.endswith(b"xend")


async def test_sending_now_to_a_peer_that_has_left_is_an_error() -> None:
    ours, theirs = tcp_pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    async with SocketStream(ours) as stream:
        with pytest.raises(trio.BrokenResourceError):
            stream.send_now(b"x")
    with pytest.raises(trio.ClosedResourceError):
        stream.send_now(b"x")


async def test_a_reset_is_an_error_of_the_stream() -> None:
    ours, theirs = tcp_pair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    async with SocketStream(ours) as stream:
        theirs.close()
        with trio.fail_after(PATIENCE_S), pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
