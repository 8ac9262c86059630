"""The gate before the routes: it notes each request, keeps to armed rates, and carries out route faults.

Everything works on ASGI messages, so it does not matter which route or which provider is behind it. The control routes
under `/_sim/` pass without notice, so that no fault can lock out who armed it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, assert_never
from uuid import uuid4

import trio
from msgspec import json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perdure.adapters.server import limit_body
from perdure.adapters.simulator.clock import Clock
from perdure.adapters.simulator.faults import (
    ActThenDrop,
    AnswerStatus,
    AnyRouteFault,
    CutRequest,
    Delay,
    Drop,
    Faults,
    Hold,
    Truncate,
    WrongContentType,
    tag_of,
)
from perdure.adapters.simulator.holds import Holds
from perdure.adapters.simulator.provider import REQUEST_ID, SimulatedProvider
from perdure.adapters.simulator.traffic import Seen, Traffic, redact_headers, redact_query

MAX_REQUEST_BYTES: Final = 600_000_000
"""How long a request's body may be: more than any route takes, so that the routes give their own answers."""

CONTROL_PREFIX: Final = "/_sim/"


class Dropped(Exception):
    """A connection was cut on purpose. Under perdure's server nobody sees this; in-process transports raise it."""


class Gate:
    """An ASGI application around another one. What no provider owns is answered as the first of `providers` would."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Clock,
        faults: Faults,
        holds: Holds,
        traffic: Traffic,
        providers: Sequence[SimulatedProvider],
    ) -> None:
        self._app = app
        self._clock = clock
        self._faults = faults
        self._holds = holds
        self._traffic = traffic
        self._providers = providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or fails to, as told."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        method: str = scope["method"]
        request_id = f"req_{uuid4().hex}"
        provider = self._owner(path)
        if path.startswith(CONTROL_PREFIX):
            await self._app(scope, receive, _Marked(send, request_id, provider.request_id_header).send)
            return
        scope[REQUEST_ID] = request_id
        limit_body(scope, MAX_REQUEST_BYTES)
        query = redact_query(scope["query_string"].decode("latin-1"))
        seen = Seen(request_id, method, path, query, redact_headers(scope["headers"]), self._clock.now())
        self._traffic.note(seen)
        marked = _Marked(send, request_id, provider.request_id_header, seen)
        try:
            await self._pass(provider, scope, _counted(receive, seen), marked)
            seen.end = seen.end or "left"
        except Dropped:
            seen.end = "dropped"
            raise
        except (OSError, ClientDisconnect):
            seen.end = "left"
            raise

    def _owner(self, path: str) -> SimulatedProvider:
        return next((provider for provider in self._providers if provider.owns(path)), self._providers[0])

    async def _pass(self, provider: SimulatedProvider, scope: Scope, receive: Receive, marked: _Marked) -> None:
        seen = marked.seen
        if seen is None:
            return
        admission = self._faults.admit(seen.method, seen.path)
        if admission is not None:
            marked.headers = dict(provider.rate_headers(admission, self._clock.now()))
            if not admission.admitted:
                seen.fault = "rate"
                await _answer(marked.send, 429, {}, provider.usual_error(429, seen.request_id))
                return
        fault = self._faults.take(seen.method, seen.path)
        if fault is None:
            await self._app(scope, receive, marked.send)
            return
        seen.fault = tag_of(fault)
        await self._strike(fault, provider, seen, scope, receive, marked.send)

    async def _strike(
        self,
        fault: AnyRouteFault,
        provider: SimulatedProvider,
        seen: Seen,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        match fault:
            case AnswerStatus():
                if fault.act:
                    await self._app(scope, receive, _swallow)
                await _answer_instead(fault, provider.usual_error(fault.status, seen.request_id), send)
            case Delay():
                await trio.sleep(fault.delay_s)
                await self._app(scope, receive, send)
            case Drop():
                await _read_over(receive)
                await _cut(send, started=False)
            case ActThenDrop():
                await self._app(scope, receive, _swallow)
                await _cut(send, started=False)
            case Hold():
                await self._hold(fault, seen, scope, receive, send)
            case Truncate():
                released = partial(self._wait_released, seen, acted=True)
                await self._app(scope, receive, _Truncated(fault, receive, send, released).send)
            case CutRequest():
                with suppress(ClientDisconnect):
                    await self._app(scope, _cut_off(receive, fault.after_bytes), _swallow)
                await _cut(send, started=False)
            case WrongContentType():
                await self._app(scope, receive, _Retyped(fault, send).send)
            case _:
                assert_never(fault)

    async def _hold(self, fault: Hold, seen: Seen, scope: Scope, receive: Receive, send: Send) -> None:
        if not fault.act:
            await self._wait_released(seen, acted=False)
            await self._app(scope, receive, send)
            return

        async def send_held(message: Message) -> None:
            if message["type"] == "http.response.start":
                async with _unless_left(receive):
                    await self._wait_released(seen, acted=True)
            await send(message)

        await self._app(scope, receive, send_held)

    async def _wait_released(self, seen: Seen, *, acted: bool) -> None:
        await self._holds.wait_released(seen.request_id, seen.method, seen.path, acted=acted, at=self._clock.now())


class _Marked:
    """Adds the request id, and what else is in `headers`, to an answer, and notes how it ends."""

    def __init__(self, send: Send, request_id: str, header: str, seen: Seen | None = None) -> None:
        self._send = send
        self._request_id = request_id
        self._header = header
        self.seen = seen
        self.headers: dict[str, str] = {}
        self._status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            marks = {self._header: self._request_id} if self._header else {}
            marks |= self.headers
            message["headers"] = [
                *message.get("headers", ()),
                *((name.encode(), value.encode()) for name, value in marks.items()),
            ]
        await self._send(message)
        # Servers hold the head back until the first piece of the body, so only then has the status left.
        if self.seen is not None and message["type"] == "http.response.body":
            self.seen.status = self._status
            if not message.get("more_body"):
                self.seen.end = "answered"


class _Truncated:
    """Lets only the first bytes of an answer's body through."""

    def __init__(
        self, fault: Truncate, receive: Receive, send: Send, wait_released: Callable[[], Awaitable[None]]
    ) -> None:
        self._fault = fault
        self._receive = receive
        self._send = send
        self._wait_released = wait_released
        self._left = fault.after_bytes
        self._ended = False

    async def send(self, message: Message) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            await self._send(self._shortened(message) if self._fault.clean else message)
            return
        body: bytes = message.get("body", b"")
        passed, self._left = body[: self._left], self._left - min(len(body), self._left)
        more = bool(message.get("more_body"))
        if more and self._left:
            await self._send({"type": "http.response.body", "body": passed, "more_body": True})
            return
        self._ended = True
        if self._fault.clean:
            await self._send({"type": "http.response.body", "body": passed, "more_body": False})
            return
        await self._send({"type": "http.response.body", "body": passed, "more_body": True})
        if self._fault.silent:
            async with _unless_left(self._receive):
                await self._wait_released()
        await _cut(self._send, started=True)

    def _shortened(self, message: Message) -> Message:
        headers = [
            (name, str(min(int(value), self._fault.after_bytes)).encode() if name == b"content-length" else value)
            for name, value in message.get("headers", ())
        ]
        return {**message, "headers": headers}


class _Retyped:
    """Gives an answer another content type, and another body if there is one."""

    def __init__(self, fault: WrongContentType, send: Send) -> None:
        self._fault = fault
        self._send = send
        self._ended = False

    async def send(self, message: Message) -> None:
        body = None if self._fault.body is None else self._fault.body.encode()
        if message["type"] == "http.response.start":
            replaced = {b"content-type", b"content-length"} if body is not None else {b"content-type"}
            headers = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in replaced]
            headers.append((b"content-type", self._fault.content_type.encode()))
            if body is not None:
                headers.append((b"content-length", str(len(body)).encode()))
            await self._send({**message, "headers": headers})
        elif body is None:
            await self._send(message)
        elif not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _counted(receive: Receive, seen: Seen) -> Receive:
    """`receive`, with what comes of the body noted."""

    async def receive_counted() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            seen.body_bytes += len(message.get("body", b""))
        return message

    return receive_counted


def _cut_off(receive: Receive, after_bytes: int) -> Receive:
    """`receive`, whose client seems to leave when `after_bytes` of the body have come."""
    left = after_bytes

    async def receive_cut_off() -> Message:
        nonlocal left
        if left <= 0:
            return {"type": "http.disconnect"}
        message = await receive()
        if message["type"] != "http.request":
            return message
        passed = message.get("body", b"")[:left]
        left -= len(passed)
        more = bool(message.get("more_body"))
        return {"type": "http.request", "body": passed, "more_body": more or not left}

    return receive_cut_off


async def _read_over(receive: Receive) -> None:
    """Reads a request to its end, so that what its client sees does not depend on how far its sending got."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _swallow(message: Message) -> None:
    """Takes an answer and sends it nowhere."""
    await trio.lowlevel.checkpoint()


async def _answer_instead(fault: AnswerStatus, usual_error: bytes, send: Send) -> None:
    headers = {name.lower(): value for name, value in fault.headers.items()}
    if isinstance(fault.body, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        body = fault.body.encode()
    elif fault.body is None:
        body = usual_error
    else:
        body = json.encode(fault.body)
    await _answer(send, fault.status, headers, body)


async def _answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    whole = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in whole.items()],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _cut(send: Send, *, started: bool) -> None:
    """Ends the connection without another byte. Always raises `Dropped`.

    ASGI has no word for this. A send that is cancelled before it begins is one: the server cannot know how much of it
    left, and gives the connection up.
    """
    with trio.CancelScope() as scope:
        scope.cancel()
        if not started:
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"\0", "more_body": True})
    raise Dropped("the simulator was told to cut this connection")


@asynccontextmanager
async def _unless_left(receive: Receive) -> AsyncGenerator[None]:
    """Cancels the block when the client leaves, and raises `ClientDisconnect` then. The request must have been read."""
    left = False

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()
    if left:
        raise ClientDisconnect
