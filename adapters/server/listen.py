"""Listening sockets: opening them with errors that say what to do, and accepting from them within a limit."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Awaitable, Callable

import msgspec
import trio

from perdure.adapters.server.errors import AddressInUse, AddressRefused
from perdure.events.errors import shorten

_logger = logging.getLogger("perdure.server")

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_RESOURCE_WAIT_S = 0.1
_HIGHEST_PORT = 65_535
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class Bound(msgspec.Struct, frozen=True):
    """Where a server listens: the host it was given and the port, chosen by the system where 0 was asked for."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """An address to reach it under from this machine, without a slash at the end."""
        host = _WILDCARDS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


async def open_listeners(host: str, port: int, *, backlog: int) -> tuple[Bound, list[trio.SocketListener]]:
    """Listen on each address that `host` stands for, all on the same port; the caller closes the listeners.

    Raises `AddressInUse`, or `AddressRefused` for an unknown host, a foreign address or a port not allowed to us.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise AddressRefused(
            f"cannot listen on {host}:{port}: a port is a number from 0 to {_HIGHEST_PORT}", host=host, port=port
        )
    try:
        found = await trio.socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(
            f"the host {shorten(host)} is not known here ({error}); give an address of this machine, such as 127.0.0.1",
            host=host,
            port=port,
        ) from error
    opened_sockets: list[trio.socket.SocketType] = []
    unsupported: OSError | None = None
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                opened = trio.socket.socket(family, kind, protocol)
            except OSError as error:
                unsupported = error  # the name stands for IPv6 too, and this machine has none
                continue
            opened_sockets.append(opened)
            if sys.platform != "win32":
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            await opened.bind((address[0], port, *address[2:]))
            opened.listen(backlog)
            port = opened.getsockname()[1]
    except OSError as error:
        for opened in opened_sockets:
            opened.close()
        raise _explain(error, host, port) from error
    if not opened_sockets:
        raise _explain(unsupported or OSError("no address"), host, port) from unsupported
    return Bound(host, port), [trio.SocketListener(opened) for opened in opened_sockets]


def _explain(error: OSError, host: str, port: int) -> AddressInUse | AddressRefused:
    code = error.errno
    if code == errno.EADDRINUSE:
        return AddressInUse(
            f"{host}:{port} is in use; stop what listens there, or give another port (0 lets the system choose)",
            host=host,
            port=port,
        )
    if code in (errno.EACCES, errno.EPERM):
        advice = "this process may not listen there; ports below 1024 need a privilege, give a higher one"
    elif code == errno.EADDRNOTAVAIL:
        advice = "the address is not one of this machine's"
    else:
        advice = str(error)
    return AddressRefused(f"cannot listen on {host}:{port}: {advice}", host=host, port=port)


async def accept_into(
    listener: trio.SocketListener,
    nursery: trio.Nursery,
    wait_for_room: Callable[[], Awaitable[None]],
    admit: Callable[[trio.SocketStream], Callable[[], Awaitable[None]] | None],
) -> None:
    """Accept for ever: wait for room, accept, `admit` the stream, and start what that returns in `nursery`.

    `admit` is called at once, so that a connection takes up its room before the next one is accepted; None means that
    there is nothing to serve. When the process has run out of descriptors or memory it waits a little and tries again.
    """
    while True:
        await wait_for_room()
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in _OUT_OF_RESOURCES:
                raise
            _logger.warning("cannot accept a connection now: %s", error)
            await trio.sleep(_RESOURCE_WAIT_S)
        else:
            if (handle := admit(stream)) is not None:
                nursery.start_soon(handle)
