"""A drain: idle connections end, answers are waited for, streams say a last word, and the deadline is kept."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import CloseConnection, TextMessage

from perdure.adapters.server import Limits, Reception, draining
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import App, connect, request, served
from tests.adapters.server.test_websocket import Echo, opened

pytestmark = pytest.mark.trio

LIMITS = Limits(drain_s=30, farewell_s=2)


async def test_an_idle_server_drains_at_once(autojump_clock: MockClock) -> None:
    reception = Reception(App(), LIMITS)
    async with trio.open_nursery() as nursery:
        client, fresh = connect(nursery, reception), connect(nursery, reception)
        await client.get("/")
        began_at = trio.current_time()
        await reception.drain()
        assert trio.current_time() == began_at
        assert await client.rest() == b""
        assert await fresh.rest() == b""


async def test_a_head_that_arrives_as_the_drain_begins_is_not_half_served(autojump_clock: MockClock) -> None:
    """The connection was idle and has been given up: the application does not see the request only to be cancelled."""
    app = App()
    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await wait_all_tasks_blocked()
        await client.send(request("/"))
        await reception.drain()
        assert await client.rest() == b""
    assert app.seen == []


async def test_an_answer_in_flight_is_waited_for(autojump_clock: MockClock) -> None:
    """It arrives whole and says that the connection ends; the drain is over then, not at its deadline."""
    app = App()
    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(request("/wait"))
        await app.entered.wait()
        nursery.start_soon(reception.drain)
        await trio.sleep(20)
        app.go.set()
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
        assert await client.rest() == b""
    assert trio.current_time() == pytest.approx(20)


async def test_an_answer_that_never_comes_is_left_at_drain_s(autojump_clock: MockClock) -> None:
    app = App()
    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(request("/wait"))
        await app.entered.wait()
        await reception.drain()
        assert trio.current_time() == pytest.approx(30)
        nursery.cancel_scope.cancel()


async def test_a_download_is_not_cut_short(autojump_clock: MockClock) -> None:
    """A stream that is no event stream goes on to its end: ending it early would look like all of it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def until_told() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_told)
            for _ in range(10):
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
                await trio.sleep(1)
            await send({"type": "http.response.body"})

    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(request("/"))
        await wait_all_tasks_blocked()
        nursery.start_soon(reception.drain)
        assert (await client.answer()).body == b"part" * 10


@pytest.mark.parametrize("heeds", [True, False], ids=["that heeds the drain", "that has to be told"])
async def test_an_event_stream_ends_well(heeds: bool, autojump_clock: MockClock) -> None:
    """With its last event, or by being told after farewell_s; with a last chunk either way."""
    app = App()
    app.heed_drain = heeds
    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(request("/events"))
        await client.head()
        await client.chunk()
        nursery.start_soon(reception.drain)
        if heeds:
            assert await client.chunk() == b"data: last\n\n"
        assert await client.chunk() == b""
        assert await client.rest() == b""
    assert trio.current_time() == pytest.approx(0 if heeds else 2)


async def test_a_stream_that_begins_after_the_farewell_is_told_at_once(autojump_clock: MockClock) -> None:
    app = App()
    app.heed_drain = False
    reception = Reception(app, LIMITS)
    async with trio.open_nursery() as nursery:
        late, client = connect(nursery, reception), connect(nursery, reception)
        await client.send(request("/wait"))
        await late.send(b"GET /events HTTP/1.1\r\n")
        await wait_all_tasks_blocked()
        nursery.start_soon(reception.drain)
        await trio.sleep(5)
        await late.send(b"Host: x\r\n\r\n")
        assert (await late.answer()).body == b"data: first\n\n"
        app.go.set()


async def test_a_websocket_is_told_goodbye(autojump_clock: MockClock) -> None:
    """1001 after farewell_s, which the application sees as its disconnect."""
    app = Echo()
    async with opened(app, limits=LIMITS) as (socket, reception):
        drained = trio.Event()

        async def drain() -> None:
            await reception.drain()
            drained.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            event = await socket.next()
            assert isinstance(event, CloseConnection)
            assert event.code == 1001
            await socket.send(event.response())
            await drained.wait()
    assert trio.current_time() == pytest.approx(2)
    assert app.messages[-1]["code"] == 1001


async def test_a_websocket_may_say_a_last_word(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await draining(scope).wait()
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 1001})

    async with opened(app, limits=LIMITS) as (socket, reception), trio.open_nursery() as nursery:
        nursery.start_soon(reception.drain)
        assert await socket.next() == TextMessage("last")
        assert isinstance(await socket.next(), CloseConnection)
        await socket.client.stream.aclose()


async def test_serve_returns_when_drained() -> None:
    """On a real socket: no new connection, the old answer whole, and then the end of `serve`."""
    app = App()
    async with served(app) as server:
        client = await server.connect()
        await client.send(request("/wait"))
        await app.entered.wait()
        server.drain.set()
        while True:
            try:
                other = await server.connect()
            except OSError:
                break
            await other.rest()
        assert not server.ended.is_set()
        app.go.set()
        assert (await client.answer()).body == b"waited"
        await server.ended.wait()
