"""WebSockets: the opening, messages, limits, both ways to close, and peers that vanish; wsproto is the other end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from perdure.adapters.server import Limits, PeerGone, Reception
from perdure.adapters.server.asgi import ASGIApp, Receive, Scope, Send
from perdure.adapters.server.asgi import Message as AsgiMessage
from tests.adapters.server.peers import App, Client, connect, request

pytestmark = pytest.mark.trio

OPENING = (
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LIMITS = Limits(websocket_message_bytes=10_000, websocket_queue_bytes=5_000, websocket_ping_s=20, websocket_close_s=5)


class Echo:
    """Accepts and sends back what comes. `messages` is all that it received."""

    def __init__(self) -> None:
        self.messages: list[AsgiMessage] = []
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            elif message["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
            else:
                return


class WebSocketClient:
    """The client's end: `send` an event, `next` is the next one from the server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.frames = Frames(ConnectionType.CLIENT)
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        await self.client.send(self.frames.send(event))

    async def next(self) -> Event | None:
        """None at the end of the connection."""
        while not self.events:
            if not self.client.buffer and not await self.client.more():
                return None
            self.frames.receive_data(self.client.buffer)
            self.client.buffer = b""
            self.events.extend(self.frames.events())
        return self.events.pop(0)


@asynccontextmanager
async def opened(
    app: ASGIApp, *, early: bytes = b"", limits: Limits = LIMITS
) -> AsyncGenerator[tuple[WebSocketClient, Reception]]:
    """An accepted WebSocket; `early` is sent together with the opening. Ends when the server's side has ended."""
    reception = Reception(app, limits)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(request("/socket", headers=OPENING) + early)
        head = await client.head()
        assert head.status == 101
        assert head.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
        yield WebSocketClient(client), reception


async def test_messages_come_back_and_the_client_closes(autojump_clock: MockClock) -> None:
    app = Echo()
    async with opened(app) as (socket, _):
        messages: list[TextMessage | BytesMessage] = [TextMessage("grüße"), BytesMessage(b"\x00\xff"), TextMessage("")]
        for message in messages:
            await socket.send(message)
            event = await socket.next()
            assert event == message
        await socket.send(CloseConnection(code=4001, reason="enough"))
        assert await socket.next() == CloseConnection(code=4001, reason="enough")
        assert await socket.next() is None
    assert app.messages[-1] == {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}
    (scope,) = app.scopes
    assert (scope["type"], scope["scheme"], scope["path"], scope["subprotocols"]) == ("websocket", "ws", "/socket", [])


async def test_a_message_in_parts_arrives_whole(autojump_clock: MockClock) -> None:
    async with opened(Echo()) as (socket, _):
        for part in ("a", "", "b"):
            await socket.send(TextMessage(part, message_finished=False))
        await socket.send(TextMessage("c"))
        assert await socket.next() == TextMessage("abc")
        await socket.client.stream.aclose()


async def test_what_comes_with_the_opening_is_not_lost(autojump_clock: MockClock) -> None:
    """A client may send before it has read that it was accepted."""
    early = Frames(ConnectionType.CLIENT).send(TextMessage("early"))
    async with opened(Echo(), early=early) as (socket, _):
        assert await socket.next() == TextMessage("early")
        await socket.client.stream.aclose()


async def test_the_application_closes(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4002, "reason": "done"})
        with pytest.raises(PeerGone):
            await send({"type": "websocket.send", "text": "more"})

    async with opened(app) as (socket, _):
        event = await socket.next()
        assert event == CloseConnection(code=4002, reason="done")
        assert isinstance(event, CloseConnection)
        await socket.send(event.response())
        assert await socket.next() is None


async def test_a_close_without_reply_is_waited_for_websocket_close_s(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async with opened(app) as (socket, _):
        began_at = trio.current_time()
        assert await socket.next() == CloseConnection(code=1000, reason="")
        assert await socket.next() is None
        assert trio.current_time() - began_at == pytest.approx(5)


async def test_a_failing_application_closes_with_1011(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        raise ValueError("as told")

    async with opened(app) as (socket, _):
        event = await socket.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1011
        await socket.send(event.response())
    assert "as told" in caplog.text


async def test_a_client_that_leaves_is_a_disconnect(autojump_clock: MockClock) -> None:
    app = Echo()
    async with opened(app) as (socket, _):
        await socket.client.stream.aclose()
    assert app.messages[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


async def test_a_client_that_vanishes_is_noticed_by_its_silence(autojump_clock: MockClock) -> None:
    """A ping after websocket_ping_s, the end after as much again; who answers stays."""
    app = Echo()
    async with opened(app) as (socket, _):
        began_at = trio.current_time()
        for _ in range(10):
            event = await socket.next()
            assert isinstance(event, Ping)
            await socket.send(event.response())
        assert trio.current_time() - began_at == pytest.approx(200)
        assert isinstance(await socket.next(), Ping)
        assert await socket.next() is None
        assert trio.current_time() - began_at == pytest.approx(240)
    assert app.messages[-1]["code"] == 1006


async def test_pings_are_answered_while_the_application_is_busy(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await trio.sleep(3600)

    async with opened(app) as (socket, _):
        await socket.send(Ping(b"there?"))
        assert await socket.next() == Pong(b"there?")
        await socket.client.stream.aclose()


@pytest.mark.parametrize("parts", [1, 11], ids=["in one frame", "in many frames"])
async def test_a_message_too_long_closes_with_1009(parts: int, autojump_clock: MockClock) -> None:
    app = Echo()
    async with opened(app) as (socket, _):
        for part in range(parts):
            await socket.send(BytesMessage(bytes(11_000 // parts), message_finished=part == parts - 1))
        event = await socket.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1009
        await socket.send(event.response())
        assert await socket.next() is None
    assert app.messages[-1]["code"] == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\x81\x05hello", 1002), (b"\x81\x81\0\0\0\0\xff", 1007), (b"\xff" * 100, 1002)],
    ids=["no mask", "no text", "noise"],
)
async def test_wrong_frames_close_the_connection(data: bytes, code: int, autojump_clock: MockClock) -> None:
    app = Echo()
    async with opened(app) as (socket, _):
        await socket.client.send(data)
        event = await socket.next()
        assert isinstance(event, CloseConnection)
        assert event.code == code
        assert await socket.next() is None
    assert app.messages[-1]["code"] == code


async def test_a_flood_of_empty_messages_is_not_read_ahead(autojump_clock: MockClock) -> None:
    """What waits for the application is bounded, however little each message holds."""
    received = sent = 0
    asked = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal received
        await send({"type": "websocket.accept"})
        await asked.wait()
        await receive()
        while (await receive())["type"] == "websocket.receive":
            received += 1

    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, LIMITS).handle, theirs)
        client = Client(ours)
        await client.send(request("/", headers=OPENING))
        await client.head()
        flood = Frames(ConnectionType.CLIENT).send(BytesMessage(b"")) * 100

        async def pour() -> None:
            nonlocal sent
            for _ in range(500):
                await client.send(flood)
                sent += 100
            await client.stream.aclose()

        nursery.start_soon(pour)
        await wait_all_tasks_blocked()
        assert sent == 100
        asked.set()
    assert received == 50_000


# ---------------------------------------------------------------- openings that are refused


async def refused(app: ASGIApp, headers: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """The answer to an opening, to its end."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, LIMITS))
        await client.send(request("/socket", headers=headers, method=method))
        answer = await client.answer()
        assert await client.rest() == b""
    return answer.status, answer.headers, answer.body


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("Version: 13", "Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
        ("Upgrade: ", "Content-Length: 5\r\nUpgrade: ", 400),
    ],
    ids=["another version", "no version", "a key that is no base64", "a short key", "a body"],
)
async def test_a_wrong_opening_is_refused(old: str, new: str, status: int, autojump_clock: MockClock) -> None:
    app = Echo()
    assert (await refused(app, OPENING.replace(old, new)))[0] == status
    assert app.scopes == []


async def test_other_upgrades_are_plain_requests(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        assert (await client.get("/", headers="Upgrade: h2c\r\nConnection: Upgrade\r\n")).body == b"hello"
        assert (await client.get("/")).body == b"hello"
        nursery.cancel_scope.cancel()


async def test_the_application_refuses(autojump_clock: MockClock) -> None:
    """Shortly, with 403, or with an answer of its own."""

    async def shortly(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def at_length(scope: Scope, receive: Receive, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        headers = [(b"www-authenticate", b"Bearer")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"you?"})

    assert (await refused(shortly, OPENING))[0] == 403
    status, headers, body = await refused(at_length, OPENING)
    assert (status, headers["www-authenticate"], body) == (401, "Bearer", b"who are you?")


async def test_an_application_that_does_not_answer_refuses_with_500(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    assert (await refused(silent, OPENING))[0] == 500
    assert (await refused(App(), OPENING))[0] == 500
    assert len(caplog.records) == 2


async def test_a_subprotocol_is_agreed_on(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        wanted: list[str] = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": wanted[1], "headers": [(b"x-own", b"1")]})

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, LIMITS))
        await client.send(request("/", headers=OPENING + "Sec-WebSocket-Protocol: a, b\r\n"))
        head = await client.head()
        assert (head.status, head.headers["sec-websocket-protocol"], head.headers["x-own"]) == (101, "b", "1")
        nursery.cancel_scope.cancel()


async def test_a_departure_before_the_acceptance_is_a_disconnect(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        with pytest.raises(PeerGone):
            await send({"type": "websocket.accept"})

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, LIMITS))
        await client.send(request("/", headers=OPENING))
        await wait_all_tasks_blocked()
        await client.stream.aclose()
    assert seen == ["websocket.connect", "websocket.disconnect"]
