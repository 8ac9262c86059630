"""Clients and an application that others wrote: http.client, httpx, trio-websocket; Starlette."""

from __future__ import annotations

import http.client
import tracemalloc
from collections.abc import AsyncGenerator

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from trio_websocket import open_websocket_url

from perdure.adapters.server import Limits
from tests.adapters.server.peers import App, request, served

pytestmark = pytest.mark.trio

MIB = 1024 * 1024


class Site:
    """A Starlette application. `ended` lists which streams and sockets saw their end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.left = trio.Event()
        routes = [
            Route("/items/{name}", self.item, methods=["GET", "POST"]),
            Route("/lines", self.lines),
            Route("/events", self.events),
            Route("/fail", self.fail),
            WebSocketRoute("/socket", self.socket),
        ]
        self.app = Starlette(routes=routes)

    async def item(self, request: Request) -> Response:
        return JSONResponse({"name": request.path_params["name"], "size": len(await request.body())})

    async def lines(self, request: Request) -> Response:
        async def produce() -> AsyncGenerator[str]:
            for number in range(1000):
                yield f"line {number}\n"

        return StreamingResponse(produce(), background=BackgroundTask(self.ended.append, "lines"))

    async def events(self, request: Request) -> Response:
        async def produce() -> AsyncGenerator[str]:
            try:
                yield "data: first\n\n"
                await trio.sleep_forever()
            finally:
                self.ended.append("events")
                self.left.set()

        return StreamingResponse(produce(), media_type="text/event-stream")

    async def fail(self, request: Request) -> Response:
        raise ValueError("as told")

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text((await socket.receive_text()).upper())
        except WebSocketDisconnect as disconnect:
            self.ended.append(f"socket {disconnect.code}")
            self.left.set()


async def test_starlette_by_httpx() -> None:
    site = Site()
    async with served(site.app) as server, httpx.AsyncClient(base_url=server.bound.url) as client:
        assert (await client.get("/items/one")).json() == {"name": "one", "size": 0}
        assert (await client.post("/items/two", content=bytes(MIB))).json() == {"name": "two", "size": MIB}
        assert (await client.head("/items/one")).headers["content-length"] == "23"
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.delete("/items/one")).status_code == 405
        assert (await client.get("/lines")).text.count("\n") == 1000
        assert (await client.get("/fail")).status_code == 500
        assert (await client.get("/items/again")).status_code == 200
        assert site.ended == ["lines"]


async def test_starlette_sees_a_client_of_events_leave() -> None:
    site = Site()
    async with served(site.app) as server:
        client = await server.connect()
        await client.send(request("/events"))
        await client.until(b"data: first\n\n")
        await client.stream.aclose()
        await site.left.wait()


async def test_starlette_ends_its_events_when_drained() -> None:
    """Though it knows nothing of a drain: it is told as if the client had left, and the client sees a whole answer."""
    site = Site()
    async with served(site.app, Limits(farewell_s=0.05)) as server:
        client = await server.connect()
        await client.send(request("/events"))
        assert (await client.head()).status == 200
        assert await client.chunk() == b"data: first\n\n"
        server.drain.set()
        assert await client.chunk() == b""
        await server.ended.wait()
    assert site.ended == ["events"]


async def test_starlettes_websocket_by_trio_websocket() -> None:
    site = Site()
    async with served(site.app) as server:
        url = server.bound.url.replace("http", "ws") + "/socket"
        async with open_websocket_url(url) as socket:
            for text in ("hello", "ü" * 50_000):
                await socket.send_message(text)
                assert await socket.get_message() == text.upper()
        await site.left.wait()
        assert site.ended == ["socket 1000"]


def _speak(host: str, port: int) -> list[bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    bodies: list[bytes] = []
    try:
        connection.request("GET", "/")
        bodies.append(connection.getresponse().read())
        connection.request("POST", "/echo", body=b"length")
        bodies.append(connection.getresponse().read())
        connection.request("POST", "/echo", body=iter([b"in ", b"chunks"]), encode_chunked=True)
        bodies.append(connection.getresponse().read())
        connection.request("HEAD", "/")
        bodies.append(connection.getresponse().read())
        connection.request("GET", "/", headers={"Connection": "close"})
        bodies.append(connection.getresponse().read())
    finally:
        connection.close()
    return bodies


async def test_the_standard_librarys_client() -> None:
    """On one connection: lengths, chunks, no body at all, and a polite end."""
    async with served(App()) as server:
        bodies = await trio.to_thread.run_sync(_speak, server.bound.host, server.bound.port)
    assert bodies == [b"hello", b"length", b"in chunks", b"", b"hello"]


async def test_a_large_upload_takes_little_memory() -> None:
    """An application that does not keep the body needs no more than a few pieces of it, however long it is."""
    size = 48 * MIB
    async with served(App()) as server:
        client = await server.connect()
        await client.send(f"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        piece = bytes(MIB)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for _ in range(size // MIB):
                await client.send(piece)
            answer = await client.answer()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.body == b"%d" % size
    assert peak - before < 2 * MIB


async def test_a_plain_response_needs_no_task_of_its_own() -> None:
    """The price of a request: a simple answer starts no watcher."""
    spawned: list[str] = []

    class Spawns(trio.abc.Instrument):
        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            spawned.append(task.name)

    async with served(PlainTextResponse("hello")) as server:
        client = await server.connect()
        await client.get("/")
        instrument = Spawns()
        trio.lowlevel.add_instrument(instrument)
        for _ in range(10):
            assert (await client.get("/")).body == b"hello"
        trio.lowlevel.remove_instrument(instrument)
    assert spawned == []
