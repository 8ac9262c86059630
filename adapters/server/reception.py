"""An application and its open connections, on whatever streams they come: all of the server but sockets and lifespan.

Tests drive this with memory streams and a mock clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from perdure.adapters.server.asgi import ASGIApp
from perdure.adapters.server.connection import Connection
from perdure.adapters.server.head import Address
from perdure.adapters.server.limits import Limits
from perdure.adapters.server.site import Site


class Reception:
    """Serves `app` on each stream given to `handle`, and ends them all in good order with `drain`.

    `state` is copied into each scope.
    """

    def __init__(self, app: ASGIApp, limits: Limits, state: dict[str, object] | None = None) -> None:
        self._site = Site(app, limits, {} if state is None else state)
        self._connections: set[Connection] = set()
        self._left = trio.Event()

    async def handle(
        self, stream: trio.abc.Stream, *, client: Address | None = None, server: Address | None = None
    ) -> None:
        """Serve one peer until its connection ends, and close the stream. Raises nothing of the peer's or the app's.

        `client` and `server` are the addresses that the application sees in its scope.
        """
        await self.admit(stream, client=client, server=server)()

    def admit(
        self, stream: trio.abc.Stream, *, client: Address | None = None, server: Address | None = None
    ) -> Callable[[], Awaitable[None]]:
        """`handle` in two steps: the connection counts from now on; what is returned serves it, and must be called."""
        connection = Connection(self._site, stream, client=client, server=server)
        self._connections.add(connection)
        self._site.open_connections += 1
        return partial(self._serve, connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._site.open_connections -= 1
            self._left.set()
            self._left = trio.Event()

    async def wait_for_room(self) -> None:
        """Return when there may be one connection more. Does not checkpoint when there is room already."""
        await self._until_fewer_than(self._site.limits.connections)

    async def drain(self) -> None:
        """End all connections in good order, in at most `drain_s` seconds; what is left then is for a cancellation.

        Idle connections end at once, answers are waited for and announce that the connection ends with them. Event
        streams and WebSockets get `farewell_s` to say a last word, then are told to end.
        """
        site = self._site
        began_at = trio.current_time()
        site.draining.set()
        for connection in tuple(self._connections):
            connection.leave_if_idle()
        with trio.move_on_after(site.limits.farewell_s):
            await self._until_fewer_than(1)
        site.farewell_over = True
        for connection in tuple(self._connections):
            connection.end_stream()
        with trio.move_on_at(began_at + site.limits.drain_s):
            await self._until_fewer_than(1)

    async def _until_fewer_than(self, count: int) -> None:
        while len(self._connections) >= count:
            await self._left.wait()
