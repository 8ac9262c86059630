"""`serve` itself: where it listens, what it refuses, the application's lifespan, and how many may connect."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from perdure.adapters.server import AddressInUse, AddressRefused, Bound, LifespanFailed, Limits, serve
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import PATIENCE_S, App, answer_with, served

pytestmark = pytest.mark.trio


async def test_the_url_reaches_it() -> None:
    async with served(App()) as server:
        assert server.bound.host == "127.0.0.1"
        assert server.bound.url == f"http://127.0.0.1:{server.bound.port}"
        answer = await (await server.connect()).get("/")
        assert (answer.body, answer.headers["date"][-3:]) == (b"hello", "GMT")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("a.b", "http://a.b:80"),
    ],
)
async def test_the_url_of_a_host(host: str, url: str) -> None:
    assert Bound(host, 80).url == url


async def test_an_address_in_use_is_an_error_that_names_it() -> None:
    async with served(App()) as server:
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{server.bound.port} is in use") as caught:
            await serve(App(), port=server.bound.port)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", server.bound.port)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("192.0.2.1", 0, "not one of this machine's"),
        ("no such host", 0, "is not known here"),
        ("127.0.0.1", 70_000, "127.0.0.1:70000"),
        ("127.0.0.1", -1, "127.0.0.1:-1"),
    ],
)
async def test_an_address_that_cannot_be_is_refused(host: str, port: int, reason: str) -> None:
    with trio.fail_after(PATIENCE_S), pytest.raises(AddressRefused, match=reason):
        await serve(App(), host=host, port=port)


async def test_the_port_is_free_again_at_once() -> None:
    """After a cancel and after a drain."""
    async with served(App()) as server:
        await (await server.connect()).get("/")
        port = server.bound.port
    async with trio.open_nursery() as nursery:
        drain = trio.Event()
        with trio.fail_after(PATIENCE_S):
            bound = await nursery.start(partial(serve, App(), port=port, drain=drain))
            assert bound == Bound("127.0.0.1", port)
            drain.set()


async def test_more_connections_than_the_limit_wait_for_room() -> None:
    """They are not refused: the next is served when one has ended."""
    app = App()
    async with served(app, Limits(connections=2)) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        await first.send(b"GET")
        await third.send(b"GET /third HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await second.get("/second")).body == b"hello"
        assert (await third.answer()).body == b"hello"
        assert app.seen == ["/second", "/third"]


# ---------------------------------------------------------------- lifespan


class Living:
    """An application with a lifespan. `told` lists what happened."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.told.append("request")
            await answer_with(send, str(scope["state"]["pool"]).encode())
            return
        assert (await receive())["type"] == "lifespan.startup"
        self.told.append("startup")
        scope["state"]["pool"] = "ours"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await trio.lowlevel.checkpoint()
        self.told.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("ending", ["drain", "cancel"])
async def test_the_lifespan_spans_the_requests(ending: str) -> None:
    """Its state reaches the requests; it is shut down after the last one, even by a cancellation."""
    app = Living()
    async with served(app) as server:
        assert (await (await server.connect()).get("/")).body == b"ours"
        if ending == "drain":
            server.drain.set()
        else:
            server.scope.cancel()
        await server.ended.wait()
    assert app.told == ["startup", "request", "shutdown"]


async def test_a_failed_startup_is_an_error_of_serve() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no disk"})

    with trio.fail_after(PATIENCE_S), pytest.raises(LifespanFailed, match="did not start: no disk") as caught:
        await serve(app)
    assert caught.value.reason == "no disk"


async def test_a_startup_that_takes_too_long_is_an_error_of_serve() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE_S), pytest.raises(LifespanFailed, match=r"did not start in 0\.05 s"):
        await serve(app, limits=Limits(startup_s=0.05))


async def test_a_lifespan_that_breaks_down_ends_the_server() -> None:
    """Serving on without what the application has built would answer with errors for ever."""
    broken = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await broken.wait()
            raise ValueError("as told")
        broken.set()
        await trio.sleep_forever()

    async def visit(bound: Bound) -> None:
        stream = await trio.open_tcp_stream(bound.host, bound.port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await stream.receive_some() == b""
        await stream.aclose()

    with trio.fail_after(PATIENCE_S):
        with pytest.RaisesGroup(pytest.RaisesExc(LifespanFailed, match="as told")):
            async with trio.open_nursery() as nursery:
                await visit(await nursery.start(serve, app))


async def test_an_application_without_lifespan_is_served() -> None:
    """`App` raises for a scope it does not know, which says just that."""
    async with served(App()) as server:
        assert (await (await server.connect()).get("/")).status == 200


async def test_a_shutdown_that_takes_too_long_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()

    async with served(app, Limits(shutdown_s=0.05)) as server:
        server.scope.cancel()
        await server.ended.wait()
    assert "did not end in time" in caplog.text
