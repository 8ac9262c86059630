"""Connections in memory between a service and the server that answers it: the bytes are real, the sockets are not.

A virtual clock needs this: trio knows of every task that waits for bytes in memory, so time jumps only when nothing is
on its way. What lies in a socket's buffer trio cannot see, and the clock would run past it.
"""

from __future__ import annotations

import trio
import trio.testing

from perdure.adapters.network import Connect
from perdure.adapters.server import Reception


def connect_in_memory(only_host: str, reception: Reception, nursery: trio.Nursery) -> Connect:
    """Opens connections to `only_host`, on any port, which `reception` answers in tasks of `nursery`.

    For every other host they raise `OSError`.
    """

    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if host != only_host:
            raise OSError(f"there is no way to {host}:{port} from a simulation: all it reaches is {only_host}")
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(reception.handle, far)
        return near

    return connect
