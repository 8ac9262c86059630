"""Acceptance: whatever one peer does, its own connection ends, another one goes on, and a cancelled server returns."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage

from perdure.adapters.server import Limits
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import App, Client, request, served
from tests.adapters.server.test_websocket import OPENING, Echo

pytestmark = pytest.mark.trio

CANCEL_S = 2.0
"""How long a cancelled server may take to return, whatever state its connections are in."""

BRIEF = Limits(send_stall_s=0.2, head_s=0.2, linger_s=0.2)


async def stop_reading(client: Client) -> None:
    """Ask for an endless answer and take none of it."""
    await client.send(request("/flood"))


async def leave_in_the_body(client: Client) -> None:
    """Go away in the middle of a body, with a reset."""
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    assert isinstance(client.stream, trio.SocketStream)
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await client.stream.aclose()


async def leave_in_the_head(client: Client) -> None:
    """Go away in the middle of a head."""
    await client.send(b"GET / HTTP/1.1\r\nHo")
    await client.stream.aclose()


async def send_a_slow_head(client: Client) -> None:
    """Begin a head and do not go on."""
    await client.send(b"GET / HTTP/1.1\r\nHost:")


async def send_a_huge_head(client: Client) -> None:
    """Send more head than any server should take."""
    await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000)


async def send_a_wrong_chunk(client: Client) -> None:
    """Begin a chunked body and send a chunk without a size."""
    await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n")


async def send_garbage(client: Client) -> None:
    """Send what is no HTTP."""
    await client.send(bytes(range(256)) + b"\r\n\r\n")


async def listen_to_events(client: Client) -> None:
    """Follow a stream of events; not rude, but a state to be cancelled in."""
    await client.send(request("/events"))
    await client.until(b"data: first")


async def hold_a_websocket(client: Client) -> None:
    """Open a WebSocket and say nothing; not rude either."""
    await client.send(request("/", headers=OPENING))
    await client.head()


async def flood_a_websocket(client: Client) -> None:
    """Make a WebSocket's application answer, and take no answer."""
    await client.send(request("/", headers=OPENING))
    message = Frames(ConnectionType.CLIENT).send(BytesMessage(bytes(60_000)))
    with trio.move_on_after(0.2):
        while True:
            await client.send(message)


RUDE = [
    stop_reading,
    leave_in_the_body,
    leave_in_the_head,
    send_a_slow_head,
    send_a_huge_head,
    send_a_wrong_chunk,
    send_garbage,
]


def _title(rude: Callable[[Client], Awaitable[None]]) -> str:
    return rude.__name__.replace("_", " ")


@pytest.mark.parametrize("rude", RUDE, ids=_title)
async def test_only_the_rude_connection_ends(rude: Callable[[Client], Awaitable[None]]) -> None:
    """A connection opened before answers during and after, and so does a new one; the rude one is closed."""
    app = App()
    async with served(app, BRIEF) as server:
        polite = await server.connect()
        assert (await polite.get("/")).body == b"hello"
        client = await server.connect()
        await rude(client)
        assert (await polite.get("/")).body == b"hello"
        if rude in (stop_reading, leave_in_the_body):
            await app.departed.wait()
        elif rude is not leave_in_the_head:
            await client.rest()  # comes to an end only if the server closes
        assert (await polite.get("/")).body == b"hello"
        assert (await (await server.connect()).get("/")).body == b"hello"
        assert not server.ended.is_set()


class Both(App):
    """`App`, and an echo for WebSockets."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (Echo()(scope, receive, send) if scope["type"] == "websocket" else super().__call__(scope, receive, send))


@pytest.mark.parametrize("rude", [*RUDE, listen_to_events, hold_a_websocket, flood_a_websocket], ids=_title)
async def test_cancel_returns_in_time(rude: Callable[[Client], Awaitable[None]]) -> None:
    """With limits too long to help, a cancelled server still returns at once."""
    async with served(Both(), Limits(send_stall_s=3600, head_s=3600, linger_s=3600, body_s=3600)) as server:
        client = await server.connect()
        await rude(client)
        polite = await server.connect()
        assert (await polite.get("/")).body == b"hello"
        server.scope.cancel()
        with trio.fail_after(CANCEL_S):
            await server.ended.wait()
