"""One WebSocket, as the application sees it: `receive` and `send`, from the opening to the last close frame.

The frames are wsproto's; the opening is in `handshake.py`. One task reads for the whole session, so that pings are
answered and departures seen while the application is busy. It stops reading while too much waits for the application.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque

import trio
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from perdure.adapters.server import handshake
from perdure.adapters.server.answer import Answer, refusal, write_head
from perdure.adapters.server.asgi import ASGIApp, Message, Scope
from perdure.adapters.server.errors import ApplicationFault, PeerGone, is_departure
from perdure.adapters.server.head import Head
from perdure.adapters.server.limits import Limits
from perdure.adapters.server.peer import Peer

_logger = logging.getLogger("perdure.server")

_MESSAGE_BYTES = 256  # what a waiting message weighs beside its payload, so that a flood of empty ones counts too


class Session:
    """`receive` and `send` of one WebSocket; `run` ends with the connection used up."""

    def __init__(
        self, peer: Peer, early: bytes, nursery: trio.Nursery, limits: Limits, head: Head, *, date: bytes
    ) -> None:
        self._peer = peer
        self._nursery = nursery
        self._limits = limits
        self._head = head
        self._date = date
        self._offered: list[str] = []
        self._denial = Answer()
        self._frames: Frames | None = None
        self._early = bytearray(early)  # what came before the application accepted
        self._inbox: deque[Message] = deque([{"type": "websocket.connect"}])
        self._inbox_size = 0
        self._arrived = trio.Event()
        self._room = trio.Event()
        self._text_parts: list[str] = []
        self._bytes_parts: list[bytes] = []
        self._part_size = 0
        self._opening = trio.CancelScope()  # around what the reader does before the application accepts
        self._reading = trio.CancelScope()  # around all that the reader does
        self._read_done = trio.Event()
        self._disconnect: Message | None = None
        self._ended = False  # the peer's side is over: its close frame came, or something that is no frame
        self._broken = False  # what came was no frame
        self._refused = False
        self._told_to_end = False
        self._pinged = False  # since it was last heard

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application speak with the peer, then close in good order."""
        status = handshake.refuse(self._head.headers)
        if status is not None:
            self._peer.queue((handshake.UPGRADE_REQUIRED if status == 426 else refusal(status),))
            with contextlib.suppress(PeerGone):
                await self._peer.flush()
            await self._peer.linger(self._limits.linger_s)
            return
        self._offered = scope["subprotocols"]
        self._nursery.start_soon(self._read)
        failed = False
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            failed = True
            if self._disconnect is not None or self._peer.lost is not None or is_departure(error):
                _logger.debug("WebSocket %s ended with its peer gone", scope["path"], exc_info=True)
            else:
                _logger.exception("the application failed at WebSocket %s", scope["path"])
        try:
            await self._finish(scope, failed=failed)
        except PeerGone as error:
            _logger.debug("WebSocket %s: %s", scope["path"], error)

    def end_stream(self) -> None:
        """Say goodbye to the peer (1001, going away) and let the application see a disconnect."""
        if not self._told_to_end:
            self._told_to_end = True
            self._nursery.start_soon(self._say_goodbye)

    def break_silence(self) -> None:
        """The peer's `receive_due` is over: ask whether it is still there, or give it up if it was asked before."""
        if self._pinged:
            self._peer.lose("it answered no ping")
            self._reading.cancel()
            return
        self._pinged = True
        self._peer.receive_due = trio.current_time() + self._limits.websocket_ping_s
        self._nursery.start_soon(self._ping)

    # ------------------------------------------------------------ the application's side

    async def receive(self) -> Message:
        """The next message; after the last one always `websocket.disconnect`. Checkpoints only where it has to wait."""
        while not self._inbox:
            if self._disconnect is not None:
                await trio.lowlevel.checkpoint()
                return self._disconnect
            self._arrived = trio.Event()
            await self._arrived.wait()
        message = self._inbox.popleft()
        if message["type"] == "websocket.receive":
            self._inbox_size -= len(message.get("text") or message.get("bytes") or "") + _MESSAGE_BYTES
            self._room.set()
        return message

    async def send(self, message: Message) -> None:
        """Send a message. Raises `PeerGone` after the end, `ApplicationFault` when the message is not valid now."""
        kind = message["type"]
        if self._peer.lost is not None:
            raise PeerGone(self._peer.lost)
        if self._disconnect is not None:
            raise PeerGone("the WebSocket is closed")
        if self._frames is None:
            await self._open(kind, message)
        elif kind == "websocket.send":
            text = message.get("text")
            event = BytesMessage(message["bytes"]) if text is None else TextMessage(text)
            await self._peer.give_way(len(event.data))
            await self._write(self._frames, event)
        elif kind == "websocket.close":
            await self._close(message.get("code", CloseReason.NORMAL_CLOSURE), message.get("reason") or "")
        else:
            raise ApplicationFault(f"the application sent {kind!r} to an open WebSocket")

    async def _open(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            headers = handshake.agree(
                self._head.headers,
                offered=self._offered,
                subprotocol=message.get("subprotocol"),
                extra=message.get("headers") or (),
            )
            opening = write_head(101, headers)
            self._frames = Frames(ConnectionType.SERVER)
            self._peer.queue((opening,))
            await self._peer.flush()
            self._opening.cancel()
        elif kind == "websocket.close":
            await self._refuse(refusal(403))
        elif kind == "websocket.http.response.start":
            self._denial.start(message["status"], message.get("headers", ()), date=self._date, close=True)
        elif kind == "websocket.http.response.body":
            pieces = self._denial.body(message.get("body", b""), more=bool(message.get("more_body", False)))
            self._peer.queue(pieces)
            await self._peer.flush()
            if self._denial.complete:
                await self._refuse(b"")
        else:
            raise ApplicationFault(f"the application sent {kind!r} to a WebSocket that it has not accepted")

    # ------------------------------------------------------------ from the peer

    async def _read(self) -> None:
        """Read until the peer's side ends; how it ended is kept for `receive`."""
        try:
            with self._reading:
                await self._read_early()
                if self._frames is not None:
                    await self._take(self._frames, bytes(self._early))
                    self._early.clear()
                    await self._read_on(self._frames)
        except PeerGone as error:
            _logger.debug("a WebSocket's reader ended: %s", error)
        finally:
            self._peer.receive_due = math.inf
            self._end(CloseReason.ABNORMAL_CLOSURE, "")
            self._read_done.set()

    async def _read_early(self) -> None:
        """Until the application accepts: keep what comes, so that a departure is seen, but not more than may queue."""
        with self._opening:
            while len(self._early) < self._limits.websocket_queue_bytes:
                data = await self._peer.receive()
                if not data:
                    self._peer.lose("it left before its WebSocket was accepted")
                    return
                self._early += data
            await trio.sleep_forever()

    async def _read_on(self, frames: Frames) -> None:
        peer = self._peer
        while not self._ended:
            while self._inbox_size >= self._limits.websocket_queue_bytes:
                self._room = trio.Event()
                await self._room.wait()
            peer.receive_due = trio.current_time() + self._limits.websocket_ping_s
            data = await peer.receive()
            peer.receive_due = math.inf
            if not data:
                peer.lose("it closed the connection")
                return
            self._pinged = False
            await self._take(frames, data)

    async def _take(self, frames: Frames, data: bytes) -> None:
        frames.receive_data(data)
        for event in frames.events():
            if isinstance(event, TextMessage | BytesMessage):
                await self._take_part(event)
            elif isinstance(event, Ping):
                if frames.state is ConnectionState.OPEN:
                    await self._write(frames, event.response())
            elif isinstance(event, CloseConnection):
                await self._take_close(frames, event)
                return

    async def _take_part(self, event: TextMessage | BytesMessage) -> None:
        """Join a message from its parts; one that grows too long closes the WebSocket, and is dropped from then on."""
        if self._disconnect is not None:
            return
        self._part_size += len(event.data)
        if self._part_size > self._limits.websocket_message_bytes:
            self._text_parts.clear()
            self._bytes_parts.clear()
            await self._close(CloseReason.MESSAGE_TOO_BIG, "message too big")
            self._end(CloseReason.MESSAGE_TOO_BIG, "message too big")
            return
        message: Message
        if isinstance(event, TextMessage):
            if event.data:
                self._text_parts.append(event.data)
            message = {"type": "websocket.receive", "text": "".join(self._text_parts) if event.message_finished else ""}
        else:
            if event.data:
                self._bytes_parts.append(bytes(event.data))
            message = {
                "type": "websocket.receive",
                "bytes": b"".join(self._bytes_parts) if event.message_finished else b"",
            }
        if event.message_finished:
            self._inbox.append(message)
            self._inbox_size += self._part_size + _MESSAGE_BYTES
            self._text_parts.clear()
            self._bytes_parts.clear()
            self._part_size = 0
            self._arrived.set()

    async def _take_close(self, frames: Frames, event: CloseConnection) -> None:
        """The peer closes, answers our close, or has sent what is no frame (then the state is still as it was)."""
        self._ended = True
        try:
            if frames.state is ConnectionState.REMOTE_CLOSING:
                await self._write(frames, event.response())
            elif frames.state is ConnectionState.OPEN:
                self._broken = True
                await self._write(frames, event)
            elif frames.state is ConnectionState.LOCAL_CLOSING:
                self._broken = True
        finally:
            self._end(event.code, event.reason or "")

    # ------------------------------------------------------------ both

    async def _write(self, frames: Frames, event: Event) -> None:
        try:
            data = frames.send(event)
        except LocalProtocolError as error:
            raise PeerGone("the WebSocket is closing") from error
        self._peer.queue((data,))
        await self._peer.flush()

    async def _close(self, code: int, reason: str) -> None:
        if self._frames is not None and self._frames.state is ConnectionState.OPEN:
            await self._write(self._frames, CloseConnection(code=code, reason=reason))

    async def _ping(self) -> None:
        if self._frames is not None and self._frames.state is ConnectionState.OPEN:
            with contextlib.suppress(PeerGone):
                await self._write(self._frames, Ping())

    async def _say_goodbye(self) -> None:
        try:
            await self._close(CloseReason.GOING_AWAY, "the server is stopping")
        except PeerGone as error:
            _logger.debug("no goodbye to a WebSocket: %s", error)
        self._end(CloseReason.GOING_AWAY, "the server is stopping")

    def _end(self, code: int, reason: str) -> None:
        """Nothing more comes for the application but this disconnect; the first one stays."""
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            self._arrived.set()

    async def _refuse(self, data: bytes) -> None:
        self._refused = True
        self._peer.queue((data,))
        await self._peer.flush()
        self._end(CloseReason.ABNORMAL_CLOSURE, "")

    async def _finish(self, scope: Scope, *, failed: bool) -> None:
        """The application is done: refuse or close in its place if it did not, and wait a little for the peer."""
        if self._frames is None:
            if not self._refused and not self._denial.started and self._peer.lost is None:
                if not failed:
                    _logger.error("the application neither accepted nor refused WebSocket %s", scope["path"])
                await self._refuse(refusal(500))
        else:
            self._end(CloseReason.NORMAL_CLOSURE, "")
            self._inbox.clear()
            self._inbox_size = 0
            self._room.set()
            await self._close(CloseReason.INTERNAL_ERROR if failed else CloseReason.NORMAL_CLOSURE, "")
            with trio.move_on_after(self._limits.websocket_close_s):
                await self._read_done.wait()
        self._reading.cancel()
        await self._read_done.wait()
        if self._refused or self._broken:
            await self._peer.linger(self._limits.linger_s)
