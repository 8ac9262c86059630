"""The application that servers are compared with, and each of them serving it: `python -m benchmarks._asgi_site NAME`.

The port goes to standard output; SIGTERM asks for an orderly stop. Each server runs as it comes, but for an access log
and for hypercorn's limit of 1,000 requests on one connection, both of which are off.
"""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from perdure.adapters.server import limit_body

PERDURE, UVICORN, HYPERCORN = "perdure", "uvicorn-h11", "hypercorn-trio"
SERVERS: Final = (PERDURE, UVICORN, HYPERCORN)
"""The three of the comparison: uvicorn as it installs without compiled parts, hypercorn with its trio worker."""
HTTPTOOLS: Final = "uvicorn-httptools"
"""Beside them where its parser, which is written in C, happens to be installed."""

MAX_UPLOAD_BYTES = 4 << 30


def installed() -> tuple[str, ...]:
    """The servers that can run here."""
    return (*SERVERS, HTTPTOOLS) if importlib.util.find_spec("httptools") else SERVERS


class Site:
    """Handlers that need no more than a server."""

    def __init__(self) -> None:
        self._published: list[str] = []
        self._more = anyio.Event()
        self.app = Starlette(
            routes=[
                Route("/operations/{id}", self.operation),
                Route("/publish", self.publish),
                Route("/events", self.events),
                Route("/upload", self.upload, methods=["POST"]),
                Route("/flood", self.flood),
                WebSocketRoute("/echo", self.echo),
            ]
        )

    async def operation(self, request: Request) -> Response:
        return JSONResponse({"id": request.path_params["id"], "status": "running", "n": 12})

    async def publish(self, request: Request) -> Response:
        """Send the time, which is the same clock in every process, to all that listen."""
        self._published.append(f"data: {time.monotonic_ns()}\n\n")
        self._more.set()
        self._more = anyio.Event()
        return Response()

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self._listen(), media_type="text/event-stream")

    async def _listen(self) -> AsyncGenerator[str]:
        at = len(self._published)
        yield ": welcome\n\n"
        while True:
            while at < len(self._published):
                at += 1
                yield self._published[at - 1]
            await self._more.wait()

    async def upload(self, request: Request) -> Response:
        limit_body(request.scope, MAX_UPLOAD_BYTES)
        size = 0
        try:
            async for piece in request.stream():
                size += len(piece)
        except ClientDisconnect:
            return Response()
        return JSONResponse({"size": size})

    async def flood(self, request: Request) -> Response:
        return StreamingResponse(self._endless())

    async def _endless(self) -> AsyncGenerator[bytes]:
        while True:
            yield bytes(65536)

    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect:
            return


def _listener() -> socket.socket:
    """A port for a server that cannot say which one it was given."""
    # With the protocol named: asyncio switches Nagle's algorithm off only on sockets that know they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    print(listener.getsockname()[1], flush=True)
    return listener


def _serve_perdure(app: Starlette) -> None:
    import trio

    from perdure.adapters.server import serve

    async def main() -> None:
        drain = trio.Event()
        async with trio.open_nursery() as nursery:
            print((await nursery.start(partial(serve, app, drain=drain))).port, flush=True)
            await _terminated()
            drain.set()

    trio.run(main)


def _serve_hypercorn(app: Starlette) -> None:
    import trio
    from hypercorn.config import Config
    from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # for WSGI, that is
    from hypercorn.typing import ASGIFramework

    config = Config()
    config.bind = [f"fd://{_listener().detach()}"]
    config.errorlog = None
    config.keep_alive_max_requests = sys.maxsize
    framework: ASGIFramework = app  # type: ignore[assignment]  # both are ASGI 3; they name its messages differently
    trio.run(partial(serve, framework, config, shutdown_trigger=_terminated))


async def _terminated() -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


def _serve_uvicorn(app: Starlette, *, http: str) -> None:
    import uvicorn

    listener = _listener()
    config = uvicorn.Config(
        app,
        http="httptools" if http == "httptools" else "h11",
        loop="asyncio",
        ws="wsproto",
        log_level="critical",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


SERVE: dict[str, Callable[[Starlette], None]] = {
    PERDURE: _serve_perdure,
    UVICORN: partial(_serve_uvicorn, http="h11"),
    HTTPTOOLS: partial(_serve_uvicorn, http="httptools"),
    HYPERCORN: _serve_hypercorn,
}

if __name__ == "__main__":
    SERVE[sys.argv[1]](Site().app)
