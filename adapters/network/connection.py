"""One HTTP/1.1 connection as a client: h11 on a trio stream, one exchange at a time.

It is not a pool and knows nothing of retries. It is ours because the engine must know the moment the first and the
last byte of a request leave, because a whole small request should leave in one write, and because the generic
connection class costs twice the CPU (`benchmarks/network_engine.py`).

The invariant: `reusable` is true only between two exchanges that both sides have finished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol, cast

import h11
import trio

from perdure.adapters.network import http
from perdure.adapters.network.progress import Progress

_READ_BYTES: Final = 64 * 1024
"""What one read asks for; the size of a common socket buffer."""

_MAX_HEAD_BYTES: Final = 100 * 1024
"""The longest status line and headers taken; the largest that common servers send is 64 KiB."""

_CLOSE_SOURCE_S: Final = 5.0
"""How long a request body's source may take to clean up after a failure, in seconds."""


class Stale(Exception):
    """The peer closed an idle connection before anything was written to it: take another one."""


class _Closes(Protocol):
    async def aclose(self) -> None: ...


class Connection:
    """A connected stream. Its owner closes it with `close`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._socket = _socket_of(stream)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self.exchanges = 0
        self.idle_since = 0.0

    def peer_has_spoken(self) -> bool:
        """Whether an idle connection is readable: then the peer closed it or broke the protocol. False where the
        stream has no socket to ask."""
        return self._socket is not None and self._socket.is_readable()

    async def send(
        self,
        method: bytes,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes | AsyncIterator[bytes],
        progress: Progress,
    ) -> None:
        """Sends one request. A peer that stops reading early is no error here: its answer tells more.

        Raises: `Stale`, whatever `before_send` or the body's source raise, `http.WriteError` only from `receive_head`.
        """
        reused = self.exchanges > 0
        self.exchanges += 1
        wire = self._h11
        try:
            head = wire.send(h11.Request(method=method, target=target, headers=headers)) or b""
        except h11.LocalProtocolError as error:
            raise http.UnsupportedProtocol(f"the request cannot be written as HTTP/1.1: {error}") from error
        if await progress.announce() and reused and self.peer_has_spoken():
            raise Stale
        try:
            if isinstance(body, bytes):
                data = wire.send(h11.Data(body)) if body else None
                end = wire.send(h11.EndOfMessage())
                await self._write(b"".join(part for part in (head, data, end) if part), progress)
            else:
                await self._send_source(head, body, progress)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        progress.last_byte()

    async def receive_head(self, progress: Progress) -> h11.Response:
        """The status line and headers. Raises `http.ReadError`, `http.WriteError`, `http.RemoteProtocolError`."""
        while True:
            event = self._h11_event()
            if event is h11.NEED_DATA:
                await self._fill(progress)
            elif isinstance(event, h11.Response):
                return event
            elif not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise http.RemoteProtocolError("the peer switched protocols or closed without an answer")

    async def next_chunk(self, progress: Progress) -> bytes:
        """The next piece of the answer's body, b"" at its end. Raises `http.ReadError`, `http.RemoteProtocolError`
        (the body was cut)."""
        while True:
            event = self._h11_event()
            if event is h11.NEED_DATA:
                await self._fill(progress)
            elif isinstance(event, h11.Data):
                return bytes(event.data)
            else:
                return b""

    def recycle(self) -> bool:
        """Makes the connection ready for another exchange; False if it must be closed."""
        wire = self._h11
        if wire.our_state is h11.DONE and wire.their_state is h11.DONE:
            wire.start_next_cycle()
            return True
        return False

    async def close(self) -> None:
        """Closes the stream at once, without the peer's consent; safe under cancellation."""
        await trio.aclose_forcefully(self._stream)

    async def _send_source(self, head: bytes, body: AsyncIterator[bytes], progress: Progress) -> None:
        wire = self._h11
        held = head
        try:
            async for chunk in body:
                if chunk:
                    await self._write(held + (wire.send(h11.Data(chunk)) or b""), progress)
                    held = b""
            held += wire.send(h11.EndOfMessage()) or b""
            if held:
                await self._write(held, progress)
        finally:
            await _close_source(body)

    async def _write(self, data: bytes, progress: Progress) -> None:
        progress.first_byte()
        await self._stream.send_all(data)

    def _h11_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise http.RemoteProtocolError(f"the answer is cut or is not HTTP/1.1: {error}") from error

    async def _fill(self, progress: Progress) -> None:
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if not progress.whole:
                raise http.WriteError("the connection broke while the request was being sent") from error
            raise http.ReadError("the connection broke while the answer was being read") from error
        if not data and self._h11.their_state is h11.SEND_RESPONSE:
            raise http.RemoteProtocolError("the peer closed the connection without an answer")
        self._h11.receive_data(bytes(data))


async def _close_source(body: AsyncIterator[bytes]) -> None:
    if hasattr(body, "aclose"):
        closes = cast("_Closes", body)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SOURCE_S):
            await closes.aclose()


def _socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    inner: object = stream
    while isinstance(inner, trio.SSLStream):
        inner = cast("trio.SSLStream[trio.abc.Stream]", inner).transport_stream
    return inner.socket if isinstance(inner, trio.SocketStream) else None
