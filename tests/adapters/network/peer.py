"""A provider that answers from a script, over memory streams or real sockets, and keeps what it was sent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import Literal, TypeVar

import h11
import trio
import trio.testing
from msgspec import Struct

from perdure.actors.lane import Lane
from perdure.adapters.network import Endpoint, Engine, EngineSettings, Event, PooledTransport, QueueSettings
from tests.secrets import unique_key

_T = TypeVar("_T")

SECRET = unique_key()
LANE = Lane("acme", "openai", "main", "batch")


class Seen(Struct):
    """A request as the peer read it. `connection` counts from 1 in order of opening."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float


class Reply(Struct):
    """A whole answer. A list of chunks is sent chunked; what follows `body` is up to `then`."""

    status: int = 200
    body: bytes | list[bytes] = b"{}"
    headers: dict[str, str] = {}


class Raw(Struct):
    """Bytes as they are, and what the peer does next."""

    data: bytes = b""
    then: Literal["close", "hang"] = "close"


Answer = Reply | Raw
Handler = Callable[[Seen], Awaitable[Answer]]


def fault(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """An answer with an error body of OpenAI's shape."""
    body = {"error": {"message": message, "type": "some_error", "param": None, "code": code}}
    return Reply(status, json.dumps(body).encode(), {name.replace("_", "-"): value for name, value in headers.items()})


class Peer:
    """Answers request after request with the next of `answers` (the last one again and again), or asks a handler."""

    def __init__(self, answers: Iterable[Answer] | Handler) -> None:
        self._handler = answers if callable(answers) else _scripted(list(answers))
        self.seen: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.streams: list[trio.abc.Stream] = []
        self._nursery: trio.Nursery | None = None

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """For `PooledTransport(connect=...)`: a new connection to this peer in memory."""
        assert self._nursery is not None, f"{host}:{port} is not started"
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.serve, theirs)
        return ours

    def start(self, nursery: trio.Nursery) -> None:
        """Serves connections in memory."""
        self._nursery = nursery

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, until either side closes it."""
        self.connections += 1
        self.open_connections += 1
        self.streams.append(stream)
        number = self.connections
        try:
            async with stream:
                await self._converse(stream, number)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client went away in the middle: what some tests are about
        finally:
            self.open_connections -= 1

    async def _converse(self, stream: trio.abc.Stream, number: int) -> None:
        wire = h11.Connection(h11.SERVER)
        while True:
            seen = await _read_request(wire, stream, number)
            if seen is None:
                return
            self.seen.append(seen)
            answer = await self._handler(seen)
            if isinstance(answer, Raw):
                await stream.send_all(answer.data)
                if answer.then == "hang":
                    while await stream.receive_some(65536):
                        pass
                return
            await _write(wire, stream, answer)
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                return
            wire.start_next_cycle()


def _scripted(answers: list[Answer]) -> Handler:
    async def handle(seen: Seen) -> Answer:
        await trio.lowlevel.checkpoint()
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return handle


async def _read_request(wire: h11.Connection, stream: trio.abc.Stream, number: int) -> Seen | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Seen(head.method.decode(), head.target.decode(), headers, body, number, trio.current_time())
        else:
            return None


async def _write(wire: h11.Connection, stream: trio.abc.Stream, answer: Reply) -> None:
    headers = dict(answer.headers)
    chunks = answer.body if isinstance(answer.body, list) else [answer.body]
    if isinstance(answer.body, list):
        headers["transfer-encoding"] = "chunked"
    else:
        headers["content-length"] = str(len(answer.body))
    headers.setdefault("content-type", "application/json")
    await stream.send_all(
        wire.send(h11.Response(status_code=answer.status, headers=list(headers.items()))) or b"",
    )
    for chunk in chunks:
        await stream.send_all(wire.send(h11.Data(data=chunk)) or b"")
    await stream.send_all(wire.send(h11.EndOfMessage()) or b"")


class Rig:
    """An engine in front of a peer, and what its observer was told."""

    def __init__(self, engine: Engine, peer: Peer, events: list[Event]) -> None:
        self.engine = engine
        self.peer = peer
        self.events = events

    def told(self, kind: type[_T]) -> list[_T]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


async def memory_rig(
    nursery: trio.Nursery,
    answers: Iterable[Answer] | Handler,
    *,
    settings: EngineSettings | None = None,
    queue: QueueSettings | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_keys: bool = False,
    queue_name: str = "",
) -> Rig:
    """A rig over memory streams, fit for a jumping clock. `queue` are the settings of every queue."""
    peer = Peer(answers)
    peer.start(nursery)
    events: list[Event] = []
    sent = {"authorization": f"Bearer {SECRET}"} if headers is None else headers
    endpoint = Endpoint(
        base_url="http://peer.test/v1", headers=sent, idempotency_keys=idempotency_keys, queue=queue_name
    )
    if settings is None:
        settings = EngineSettings() if queue is None else EngineSettings(defaults={("", ""): queue})
    engine = Engine(
        lambda lane: endpoint,
        settings=settings,
        transport=PooledTransport(connect=peer.connect),
        observer=events.append,
        random=Random(7),
    )
    await nursery.start(engine.run)
    return Rig(engine, peer, events)


async def socket_rig(nursery: trio.Nursery, answers: Iterable[Answer] | Handler) -> Rig:
    """A rig over loopback sockets; wrap the test in `trio.fail_after`."""
    peer = Peer(answers)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, peer.serve, [listener])
    port = listener.socket.getsockname()[1]
    events: list[Event] = []
    endpoint = Endpoint(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {SECRET}"})
    engine = Engine(lambda lane: endpoint, observer=events.append, random=Random(7))
    await nursery.start(engine.run)
    return Rig(engine, peer, events)
