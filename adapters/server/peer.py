"""One peer: a stream that is read by one task and written by one task at a time, each send under a time limit.

The invariant: what is queued reaches the peer in the order in which it was queued, whole, or the connection is lost.
Once lost it stays lost, every further send raises `PeerGone`, and nothing waits for the peer again.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from perdure.adapters.server.errors import PeerGone
from perdure.adapters.server.limits import KIB, PIECE_BYTES

HEAD_READ_BYTES = 16 * KIB


class Peer:
    """A stream with an outgoing queue. `send_stall_s` limits each piece sent, in seconds.

    Attribute: `lost`, why the peer cannot be talked to any more, or None.
    """

    __slots__ = ("_lock", "_queue", "_stall_s", "lost", "stream")

    def __init__(self, stream: trio.abc.Stream, send_stall_s: float) -> None:
        self.stream = stream
        self.lost: str | None = None
        self._stall_s = send_stall_s
        self._queue: list[bytes] = []
        self._lock = trio.Lock()

    def lose(self, reason: str) -> None:
        """Give the peer up; the first reason stays."""
        if self.lost is None:
            self.lost = reason
            self._queue.clear()

    def queue(self, pieces: Iterable[bytes]) -> None:
        """Put bytes behind those that wait already. Does not wait; `flush` sends."""
        self._queue.extend(pieces)

    async def flush(self) -> None:
        """Send all that is queued. Raises `PeerGone` when the peer left, or took too long to take a piece.

        Being cancelled in the middle of a send loses the peer: half of a frame cannot be taken back.
        """
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self.lost is not None:
                raise PeerGone(self.lost)
            data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
            self._queue.clear()
            if data:
                await self._send(data)
        finally:
            self._lock.release()

    async def _send(self, data: bytes) -> None:
        whole = False
        try:
            with trio.CancelScope(deadline=trio.current_time() + self._stall_s) as scope:
                if len(data) <= PIECE_BYTES:
                    await self.stream.send_all(data)
                else:
                    view = memoryview(data)
                    for start in range(0, len(data), PIECE_BYTES):
                        scope.deadline = trio.current_time() + self._stall_s
                        await self.stream.send_all(view[start : start + PIECE_BYTES])
                whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.lose("it closed the connection")
            raise PeerGone("it closed the connection") from error
        finally:
            if not whole:
                self.lose("a send was cut short")
        if not whole:
            self.lost = f"it took less than {PIECE_BYTES} bytes in {self._stall_s:g} s"
            raise PeerGone(self.lost)

    async def receive(self, max_bytes: int = PIECE_BYTES) -> bytes:
        """The next bytes, at most `max_bytes`; empty at the end of what the peer sends, or when it is gone."""
        try:
            return bytes(await self.stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose("it closed the connection")
            return b""

    async def linger(self, linger_s: float) -> None:
        """End our side and throw away what still comes, for at most `linger_s` seconds.

        Closing with unread bytes in the kernel would make it send a reset, which can destroy the answer on its way.
        """
        if self.lost is not None:
            return
        with trio.move_on_after(linger_s):
            if isinstance(self.stream, trio.abc.HalfCloseableStream):
                try:
                    await self.stream.send_eof()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            while await self.receive():
                pass
