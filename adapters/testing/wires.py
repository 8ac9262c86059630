"""Connections in memory between a service and the server that answers it: the bytes are real, the sockets are not.

A virtual clock needs this: trio knows of every task that waits for bytes in memory, so time jumps only when nothing is
on its way. What lies in a socket's buffer trio cannot see, and the clock would run past it.
"""

from __future__ import annotations

import trio
import trio.testing

from perdure.adapters.server import Reception

_Stream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


class Wires:
    """The connections of one service to the host `host`, answered by `reception` in tasks of `nursery`."""

    def __init__(self, host: str, reception: Reception, nursery: trio.Nursery) -> None:
        self._host = host
        self._reception = reception
        self._nursery = nursery
        self._near: set[_Stream] = set()
        self._cut = False

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Opens a connection. Raises `OSError` for any other host, and once the wires are cut."""
        await trio.lowlevel.checkpoint()
        if self._cut or host != self._host:
            raise OSError(f"there is no way to {host}:{port} from a simulation: all it reaches is {self._host}")
        near, far = trio.testing.memory_stream_pair()
        self._near.add(near)
        self._nursery.start_soon(self._serve, near, far)
        return near

    def cut(self) -> None:
        """Closes all connections on the service's side, at this instant. What was sent still arrives, as it does when
        a process is killed."""
        self._cut = True
        for stream in self._near:
            stream.send_stream.close()
            stream.receive_stream.close()

    async def _serve(self, near: _Stream, far: _Stream) -> None:
        try:
            await self._reception.handle(far)
        finally:
            self._near.discard(near)
