"""Limits in time, with a clock that jumps: each is awaited to the second and no test waits."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair

from perdure.adapters.server import Limits, PeerGone, Reception
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import App, Client, connect, request

pytestmark = pytest.mark.trio

LIMITS = Limits(idle_s=75, head_s=10, body_s=30, send_stall_s=20, linger_s=1)


async def test_an_idle_connection_is_closed_after_idle_s(autojump_clock: MockClock) -> None:
    """Before the first request and after it."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        await trio.sleep(74)
        assert (await client.get("/")).body == b"hello"
        began_at = trio.current_time()
        assert await client.rest() == b""
        assert trio.current_time() - began_at == pytest.approx(75)


async def test_a_head_that_drips_is_answered_with_408(autojump_clock: MockClock) -> None:
    """One byte a second does not buy more than head_s."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        began_at = trio.current_time()

        async def drip() -> None:
            for byte in request("/a-path-that-takes-longer-than-that"):
                await client.send(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(drip)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert trio.current_time() - began_at == pytest.approx(10)
        nursery.cancel_scope.cancel()


async def test_a_body_that_stops_is_answered_with_408(autojump_clock: MockClock) -> None:
    """The application sees a disconnect, and the peer why."""
    app = App()
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, LIMITS))
        await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        began_at = trio.current_time()
        assert (await client.answer()).status == 408
        assert trio.current_time() - began_at == pytest.approx(30)
        assert app.departed.is_set()


async def test_a_body_that_drips_is_answered_with_408(autojump_clock: MockClock) -> None:
    """A byte now and then does not renew the time: a piece must come in it."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        began_at = trio.current_time()

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await trio.sleep(1)

        nursery.start_soon(drip)
        assert (await client.answer()).status == 408
        assert trio.current_time() - began_at == pytest.approx(30)
        nursery.cancel_scope.cancel()


async def test_a_slow_application_does_not_use_up_the_bodys_time(autojump_clock: MockClock) -> None:
    """The time in which it does not ask for the body is not the peer's."""

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(3600)
        await App()({**scope, "path": "/echo"}, receive, send)

    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(slow, LIMITS))
        await client.send(request("/", method="POST", body=b"patience"))
        assert (await client.answer()).body == b"patience"
        nursery.cancel_scope.cancel()


async def test_a_peer_that_takes_nothing_is_cut_after_send_stall_s(autojump_clock: MockClock) -> None:
    """The application's send raises an OSError, and its receive says disconnect."""
    raised: list[Exception] = []
    ended_at: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        except OSError as error:
            raised.append(error)
        ended_at.append(trio.current_time())
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, LIMITS).handle, theirs)
        await Client(ours).send(request("/"))
        began_at = trio.current_time()
    assert ended_at[0] - began_at == pytest.approx(20)
    assert isinstance(raised[0], PeerGone)


async def test_a_send_that_the_application_gave_up_loses_the_peer(autojump_clock: MockClock) -> None:
    """Half of a chunk is on its way: nothing can be sent behind it."""
    raised: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(1) as scope_:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        assert scope_.cancelled_caught
        try:
            await send({"type": "http.response.body", "body": b"y"})
        except OSError as error:
            raised.append(error)

    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, LIMITS).handle, theirs)
        await Client(ours).send(request("/"))
    assert "cut short" in str(raised[0])


async def test_a_peer_that_takes_pieces_slowly_is_kept(autojump_clock: MockClock) -> None:
    """Each piece has the whole time: a long answer to a slow peer is no stall."""
    size = 10 * 65536

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": bytes(size)})

    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Reception(app, LIMITS).handle, theirs)
        client = Client(ours)
        await client.send(request("/"))
        while len(client.buffer) < size:
            await trio.sleep(15)
            assert await client.more()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"garbage\r\n\r\n", 400), (request("/echo", method="POST", headers="Content-Length: 999999999\r\n"), 413)],
    ids=["head", "body"],
)
async def test_a_refused_peer_is_lingered_for_and_no_longer(
    data: bytes, status: int, autojump_clock: MockClock
) -> None:
    """The server reads on for linger_s, so that its answer is not lost to a reset, and then closes."""
    reception = Reception(App(), LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(data)
        assert (await client.answer()).status == status
        began_at = trio.current_time()
    assert trio.current_time() - began_at == pytest.approx(1)


class Broken(trio.abc.HalfCloseableStream):
    """A stream that fails in a way that no stream should."""

    def __init__(self) -> None:
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise ValueError("not a stream")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise ValueError("not a stream")

    async def wait_send_all_might_not_block(self) -> None:
        raise ValueError("not a stream")

    async def send_eof(self) -> None:
        raise ValueError("not a stream")

    async def aclose(self) -> None:
        self.closed = True


async def test_what_is_unheard_of_ends_in_its_connection(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """It is logged, the stream is closed, and `handle` returns."""
    stream = Broken()
    await Reception(App(), LIMITS).handle(stream)
    assert stream.closed
    assert "not a stream" in caplog.text
