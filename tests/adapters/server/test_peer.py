"""A peer's outgoing queue on a real socket: what several tasks send arrives whole, and none of them is forgotten."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from perdure.adapters.server.peer import Peer
from perdure.adapters.server.socket_stream import SocketStream
from tests.adapters.server.peers import PATIENCE_S

pytestmark = pytest.mark.trio


async def test_all_who_wait_for_their_turn_get_it() -> None:
    """One waits for the peer, the others for the one; when it is through, what they queued may need no waiting."""
    ours, theirs = (SocketStream(end) for end in socket.socketpair())
    peer = Peer(ours, send_stall_s=3600)
    big = b"0" * 3_000_000

    async def send(data: bytes) -> None:
        peer.queue((data,))
        await peer.flush()

    received = bytearray()
    with trio.fail_after(PATIENCE_S):
        async with ours, theirs, trio.open_nursery() as nursery:
            nursery.start_soon(send, big)
            await wait_all_tasks_blocked()
            for number in b"123":
                nursery.start_soon(send, bytes([number]))
            await wait_all_tasks_blocked()
            while len(received) < len(big) + 3:
                received += await theirs.receive_some()
    assert received[: len(big)] == big
    assert sorted(received[len(big) :]) == sorted(b"123")
