"""Nobody keeps the loop to itself: where a socket takes all that is sent at once, the others still get their turns."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from perdure.adapters.server import PeerGone
from perdure.adapters.server.asgi import Receive, Scope, Send
from tests.adapters.server.peers import answer_with, request, served
from tests.adapters.server.test_websocket import OPENING

pytestmark = pytest.mark.trio

TIMES = 100
FEW = 34
"""How many things a peer may get or do before others have their turn; a thing takes some ten microseconds."""


class Turns:
    """Counts the turns of a task that does nothing else. `seen`: how many there had been at each `look`."""

    def __init__(self) -> None:
        self.count = 0
        self.seen: list[int] = []

    def look(self) -> None:
        self.seen.append(self.count)

    async def take(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.count += 1

    @property
    def fair(self) -> bool:
        """Whether there was a turn within any few looks."""
        return len(self.seen) == TIMES and all(
            early < late for early, late in zip(self.seen, self.seen[FEW:], strict=False)
        )


@asynccontextmanager
async def counting() -> AsyncGenerator[Turns]:
    turns = Turns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take)
        yield turns
        nursery.cancel_scope.cancel()


async def test_requests_sent_ahead_leave_turns_to_others() -> None:
    async with counting() as turns:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                turns.look()
            await answer_with(send, b"hello")

        async with served(app) as server:
            client = await server.connect()
            await client.send(request("/") * TIMES)
            for _ in range(TIMES):
                assert (await client.answer()).body == b"hello"
    assert turns.fair


async def test_an_answer_in_parts_leaves_turns_to_others() -> None:
    async with counting() as turns:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(TIMES):
                turns.look()
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.body"})

        async with served(app) as server:
            assert (await (await server.connect()).get("/")).body == b"x" * TIMES
    assert turns.fair


async def test_the_messages_of_a_websocket_leave_turns_to_others() -> None:
    async with counting() as turns:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            for _ in range(TIMES):
                turns.look()
                await send({"type": "websocket.send", "text": "x"})
            await send({"type": "websocket.close"})

        async with served(app) as server:
            client = await server.connect()
            await client.send(request("/", headers=OPENING))
            assert (await client.head()).status == 101
            await client.until(b"\x81\x01x" * TIMES)
    assert turns.fair


async def test_an_answer_that_never_waits_can_be_cancelled() -> None:
    """And ends its connection, as every send does that is cancelled: the peer can tell that something is missing."""
    lost: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.CancelScope() as scope_:
            scope_.cancel()
            while True:
                await send({"type": "http.response.body", "body": b"endless", "more_body": True})
        try:
            await send({"type": "http.response.body", "body": b"end"})
        except PeerGone as gone:
            lost.append(gone.reason)

    async with served(app) as server:
        client = await server.connect()
        await client.send(request("/"))
        assert await client.rest() == b""
    assert lost == ["a send was cut short"]
