"""What the server's tests share: a client that speaks raw bytes on any stream, and an application to speak with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio
from trio.testing import memory_stream_pair

from perdure.adapters.server import Bound, Limits, Reception, draining, serve
from perdure.adapters.server.asgi import ASGIApp, Receive, Scope, Send

PATIENCE_S = 10.0
"""Around everything on a real socket: far more than it needs, so that a hang is a failure and a slow machine is not."""


class Answer(NamedTuple):
    """A response as the client read it. `whole` is False when the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True


class Client:
    """The client's end of a connection, in raw bytes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def get(self, path: str, *, headers: str = "", method: str = "GET") -> Answer:
        """Send a request without a body and read its answer."""
        await self.send(request(path, headers=headers, method=method))
        return await self.answer(head_only=method == "HEAD")

    async def more(self) -> bool:
        """Read once; False at the end of the connection, however it ended."""
        try:
            data = bytes(await self.stream.receive_some(65536))
        except trio.BrokenResourceError:
            return False
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; raises `EOFError` if the connection ends before."""
        while mark not in self.buffer:
            if not await self.more():
                raise EOFError(self.buffer)
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    async def rest(self) -> bytes:
        """All that comes until the connection ends."""
        while await self.more():
            pass
        rest, self.buffer = self.buffer, b""
        return rest

    async def head(self) -> Answer:
        """A response's head; its body is still to be read."""
        lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        assert version == "HTTP/1.1", lines[0]
        pairs = [line.partition(":") for line in lines[1:] if line]
        return Answer(int(status[:3]), {name.lower(): value.strip() for name, _, value in pairs}, b"")

    async def answer(self, *, head_only: bool = False) -> Answer:
        """A whole response, framed as its head says."""
        head = await self.head()
        if head_only or head.status in (204, 304) or head.status < 200:
            return head
        if "chunked" in head.headers.get("transfer-encoding", ""):
            body = b""
            try:
                while chunk := await self.chunk():
                    body += chunk
            except EOFError:
                return head._replace(body=body, whole=False)
            return head._replace(body=body)
        length = head.headers.get("content-length")
        if length is None:
            return head._replace(body=await self.rest())
        while len(self.buffer) < int(length):
            if not await self.more():
                return head._replace(body=self.buffer, whole=False)
        body, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
        return head._replace(body=body)

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body, empty for the last one; raises `EOFError` if the connection ends."""
        size = int(await self.until(b"\r\n"), 16)
        while len(self.buffer) < size + 2:
            if not await self.more():
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return data


def request(path: str, *, headers: str = "", method: str = "GET", body: bytes = b"") -> bytes:
    """A request's bytes; `headers` are whole lines, each ending in CR LF."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{length}{headers}\r\n".encode("latin-1") + body


async def answer_with(send: Send, body: bytes, *, status: int = 200) -> None:
    """A whole answer from an application."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class App:
    """An application for the tests. Its events tell what it has seen.

    `/` answers "hello", `/echo` with the body, `/count` with the body's length, `/flood` streams without end, `/events`
    streams one event and then waits until the peer leaves or the server drains, `/wait` answers after `go` is set,
    `/fail` raises before and `/fail-late` within its answer, `/silent` does not answer.
    """

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.departed = trio.Event()
        self.go = trio.Event()
        self.heed_drain = True
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        path: str = scope["path"]
        self.seen.append(path)
        self.entered.set()
        if path in ("/echo", "/count"):
            await self._body(path, receive, send)
        elif path == "/flood":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            except OSError:
                self.departed.set()
                raise
        elif path == "/events":
            await self._events(scope, receive, send)
        elif path == "/wait":
            await self.go.wait()
            await answer_with(send, b"waited")
        elif path == "/fail":
            raise ValueError("as told")
        elif path == "/fail-late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
            raise ValueError("as told")
        elif path != "/silent":
            await answer_with(send, b"hello")

    async def _body(self, path: str, receive: Receive, send: Send) -> None:
        size, kept, more = 0, bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.departed.set()
                return
            size += len(message["body"])
            if path == "/echo":
                kept += message["body"]
            more = message["more_body"]
        await answer_with(send, bytes(kept) if path == "/echo" else b"%d" % size)

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.departed.set()
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            if self.heed_drain:
                await draining(scope).wait()
                await send({"type": "http.response.body", "body": b"data: last\n\n", "more_body": False})
                nursery.cancel_scope.cancel()
            else:
                await trio.sleep_forever()


class Served:
    """A server on a real socket. Setting `drain` drains it; `scope` cancels it; `ended` tells that `serve` returned."""

    def __init__(self, bound: Bound, drain: trio.Event, scope: trio.CancelScope, ended: trio.Event) -> None:
        self.bound = bound
        self.drain = drain
        self.scope = scope
        self.ended = ended
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        """A new connection to it, closed with the server."""
        client = Client(await trio.open_tcp_stream(self.bound.host, self.bound.port))
        self.clients.append(client)
        return client


@asynccontextmanager
async def served(app: ASGIApp, limits: Limits | None = None) -> AsyncGenerator[Served]:
    """The application on a loopback port; everything within `PATIENCE_S`, and the server's end too."""
    drain, ended, scope = trio.Event(), trio.Event(), trio.CancelScope()

    async def run(task_status: trio.TaskStatus[Bound]) -> None:
        with scope:
            await serve(app, limits=limits or Limits(), drain=drain, task_status=task_status)
        ended.set()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            server = Served(await nursery.start(run), drain, scope, ended)
            try:
                yield server
            finally:
                scope.cancel()
                for client in server.clients:
                    await trio.aclose_forcefully(client.stream)


def connect(nursery: trio.Nursery, reception: Reception) -> Client:
    """A connection in memory, handled in `nursery`."""
    ours, theirs = memory_stream_pair()
    nursery.start_soon(reception.handle, theirs)
    return Client(ours)
