"""Heads: which are refused and with what, and what the application is told of the others."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from perdure.adapters.server import Limits, Reception
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import App, answer_with, connect

pytestmark = pytest.mark.trio

LIMITS = Limits(head_bytes=2000, head_count=20)

REFUSED = {
    "garbage": (b"\x00\x01\x02\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length that is none": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "an unknown coding": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "HTTP/2 in clear": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000, 431),
    "a head too long in one piece": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 431),
    "a target too long": (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "too many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20 + b"\r\n", 431),
}


@pytest.mark.parametrize(("data", "status"), list(REFUSED.values()), ids=list(REFUSED))
async def test_a_wrong_head_is_refused_and_ends_the_connection(
    data: bytes, status: int, autojump_clock: MockClock
) -> None:
    """With its own status; the application never sees it."""
    app = App()
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(app, LIMITS))
        await client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert await client.rest() == b""
    assert app.seen == []


async def test_heads_are_measured_one_by_one(autojump_clock: MockClock) -> None:
    """Many short ones in one piece are not one long one."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        for _ in range(200):
            assert (await client.answer()).status == 200
        nursery.cancel_scope.cancel()


async def test_a_long_head_behind_a_short_one_is_refused(autojump_clock: MockClock) -> None:
    """Though both came in one piece."""
    async with trio.open_nursery() as nursery:
        client = connect(nursery, Reception(App(), LIMITS))
        short, long = (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"a" * 2000),
        )
        await client.send(short + long)
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 431


TARGETS = {
    "a path": (b"/a/b", "/a/b", b"/a/b", b""),
    "a query": (b"/a?b=%20&c", "/a", b"/a", b"b=%20&c"),
    "escapes": (b"/%C3%BC%2F?x", "/ü/", b"/%C3%BC%2F", b"x"),
    "escapes that are no text": (b"/%FF", "/\ufffd", b"/%FF", b""),
    "an absolute target": (b"http://other:1/a?b", "/a", b"/a", b"b"),
    "an absolute target without path": (b"http://other?b/c", "/", b"/", b"b/c"),
    "all of the server": (b"*", "*", b"*", b""),
}


@pytest.mark.parametrize(("target", "path", "raw_path", "query"), list(TARGETS.values()), ids=list(TARGETS))
async def test_the_scope_of_a_target(
    target: bytes, path: str, raw_path: bytes, query: bytes, autojump_clock: MockClock
) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer_with(send, b"")

    state: dict[str, object] = {"shared": "yes"}
    reception = Reception(app, Limits(), state)
    async with trio.open_nursery() as nursery:
        client = connect(nursery, reception)
        await client.send(b"options %b HTTP/1.1\r\nHost: x\r\nX-Name: Value\r\nx-name: again\r\n\r\n" % target)
        assert (await client.answer()).status == 200
        nursery.cancel_scope.cancel()
    (scope,) = scopes
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)
    assert (scope["type"], scope["method"], scope["scheme"], scope["http_version"]) == (
        "http",
        "OPTIONS",
        "http",
        "1.1",
    )
    assert scope["headers"] == [(b"host", b"x"), (b"x-name", b"Value"), (b"x-name", b"again")]
    assert scope["state"] == state
    assert scope["state"] is not state
