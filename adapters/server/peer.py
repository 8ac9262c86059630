"""One peer: a stream that is read by one task and written by one task at a time, each send under a time limit.

The invariant: what is queued reaches the peer in the order in which it was queued, whole, or the connection is lost.
Once lost it stays lost, every further send raises `PeerGone`, and nothing waits for the peer again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import trio

from perdure.adapters.server.errors import PeerGone
from perdure.adapters.server.limits import KIB, PIECE_BYTES
from perdure.adapters.server.socket_stream import SocketStream

HEAD_READ_BYTES = 16 * KIB
_SENDS_A_TURN = 16


class Peer:
    """A stream with an outgoing queue. `send_stall_s` limits each piece sent, in seconds.

    Attributes: `lost`, why the peer cannot be talked to any more, or None; `send_due`, the time on trio's clock by
    which the peer has to take the piece that is being sent (infinite while none is). Whoever owns the peer calls `cut`
    then: a cancel scope around each send would cost a short answer a tenth of its time. `receive_due` is the same for
    what a reader waits for; it is the reader's to set.
    """

    __slots__ = (
        "_queue",
        "_quick",
        "_sending",
        "_since_turn_bytes",
        "_stall_s",
        "_turn",
        "lost",
        "receive_due",
        "send_due",
        "stream",
    )

    def __init__(self, stream: trio.abc.Stream, send_stall_s: float) -> None:
        self.stream = stream
        self._quick = stream if isinstance(stream, SocketStream) else None
        self.lost: str | None = None
        self.send_due = math.inf
        self.receive_due = math.inf
        self._since_turn_bytes = 0
        self._stall_s = send_stall_s
        self._queue: list[bytes] = []
        self._sending = False
        self._turn = trio.lowlevel.ParkingLot()

    def lose(self, reason: str) -> None:
        """Give the peer up; the first reason stays."""
        if self.lost is None:
            self.lost = reason
            self._queue.clear()

    async def cut(self) -> None:
        """Close the stream under the send that takes too long, which then raises `PeerGone`."""
        self.send_due = math.inf
        self.lose(f"it took less than {PIECE_BYTES} bytes in {self._stall_s:g} s")
        await trio.aclose_forcefully(self.stream)

    def queue(self, pieces: Iterable[bytes]) -> None:
        """Put bytes behind those that wait already. Does not wait; `flush` sends."""
        self._queue.extend(pieces)

    async def give_way(self, size_bytes: int) -> None:
        """For whoever may send again and again: to be called before each send, with what it will send.

        Notices a cancellation, which loses the peer, as in any send. Gives the other tasks their turn after a piece, or
        `_SENDS_A_TURN` short sends: whoever fans out events has waited for each of them, and need not yield twice.
        """
        self._since_turn_bytes += max(size_bytes, PIECE_BYTES // _SENDS_A_TURN)
        try:
            if self._since_turn_bytes < PIECE_BYTES:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._since_turn_bytes = 0
                await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.lose("a send was cut short")
            raise

    async def flush(self) -> None:
        """Send all that is queued. Raises `PeerGone` when the peer left, or took too long to take a piece.

        Checkpoints only where the peer lets us wait: most answers are taken at once and nobody need be asked. Whoever
        may send again and again has to `give_way`.

        Being cancelled in the middle of a send loses the peer: half of a frame cannot be taken back.
        """
        while self._sending:
            await self._turn.park()
        if self.lost is None and self._queue:
            data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
            self._queue.clear()
            taken_bytes = self._send_now(data)
            if taken_bytes < len(data):
                await self._send(memoryview(data)[taken_bytes:])
        if self.lost is not None:
            raise PeerGone(self.lost)

    def _send_now(self, data: bytes) -> int:
        """How many bytes were taken without waiting."""
        if self._quick is None:
            return 0
        try:
            return self._quick.send_now(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose("it closed the connection")
            return len(data)

    async def _send(self, data: memoryview) -> None:
        self._sending = True
        whole = False
        try:
            for start in range(0, len(data), PIECE_BYTES):
                self.send_due = trio.current_time() + self._stall_s
                await self.stream.send_all(data[start : start + PIECE_BYTES])
            whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose("it closed the connection")
        finally:
            self.send_due = math.inf
            self._sending = False
            self._turn.unpark_all()  # the next may have nothing to wait for, and would not wake those behind it
            if not whole:
                self.lose("a send was cut short")

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
