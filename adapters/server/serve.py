"""`serve`: an ASGI application on a TCP port of this machine, as a task in the caller's nursery."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from perdure.adapters.server.asgi import ASGIApp
from perdure.adapters.server.head import Address
from perdure.adapters.server.lifespan import run_within
from perdure.adapters.server.limits import Limits
from perdure.adapters.server.listen import Bound, accept_into, open_listeners
from perdure.adapters.server.reception import Reception
from perdure.adapters.server.socket_stream import SocketStream

_DEFAULTS = Limits()


async def serve(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits = _DEFAULTS,
    drain: trio.Event | None = None,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` over HTTP/1.1 and WebSocket until cancelled, or until `drain` is set and then drained.

    `task_status` is given the `Bound` when the application has started and the listeners are open. No TLS, no HTTP/2: a
    reverse proxy in front is the place for both.

    Cancelling cuts all connections at once. Setting `drain` stops accepting, ends idle connections, waits for answers,
    and lets streams say a last word (see `Limits.drain_s`, `Limits.farewell_s` and `draining`). Either way the
    application's lifespan is told to stop, within `Limits.shutdown_s` seconds.

    Raises `AddressInUse` and `AddressRefused` before anything started, `LifespanFailed` when the application does not
    start or its lifespan breaks down later. What a peer or the application does in a connection ends that connection
    only; failures of the application are logged under `perdure.server`.
    """
    bound, listeners = await open_listeners(host, port, backlog=limits.backlog)

    async def serve_started(state: dict[str, object]) -> None:
        reception = Reception(app, limits, state)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(
                        accept_into, listener, connections, reception.wait_for_room, _Admission(reception)
                    )
                task_status.started(bound)
                if drain is None:
                    await trio.sleep_forever()
                else:
                    await drain.wait()
                accepting.cancel_scope.cancel()
            _close(listeners)
            await reception.drain()
            connections.cancel_scope.cancel()

    try:
        await run_within(app, limits, serve_started)
    finally:
        _close(listeners)


class _Admission:
    """Takes an accepted stream into a reception, with the addresses of both ends."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def __call__(self, stream: trio.SocketStream) -> Callable[[], Awaitable[None]] | None:
        try:
            client, server = _address(stream.socket.getpeername()), _address(stream.socket.getsockname())
        except OSError:
            stream.socket.close()  # it has left already
            return None
        connected = SocketStream(socket.socket(fileno=stream.socket.detach()))
        return self._reception.admit(connected, client=client, server=server)


def _address(name: tuple[str, int]) -> Address:
    return name[0], name[1]


def _close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()
