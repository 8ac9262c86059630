"""One request and its answer, as the application sees them: `receive` and `send`.

The invariant: exactly one task reads from the peer at any moment. While the body lasts it is whoever awaits `receive`;
afterwards it is the watcher, a task that exists only while somebody wants to know about a departure (the application
awaits `receive` again, or its answer streams). The watcher is gone before the connection reads its next head.
"""

from __future__ import annotations

import contextlib
import logging

import h11
import trio

from perdure.adapters.server.answer import CONTINUE, Answer, refusal
from perdure.adapters.server.asgi import ASGIApp, Control, Message, Scope
from perdure.adapters.server.body import Body
from perdure.adapters.server.errors import ApplicationFault, PeerGone, is_departure
from perdure.adapters.server.head import Head
from perdure.adapters.server.limits import KIB, PIECE_BYTES, Limits
from perdure.adapters.server.peer import Peer

_logger = logging.getLogger("perdure.server")

_WATCH_BYTES = 64 * KIB  # what a pipelining peer may send ahead before we stop reading; then only a send sees it leave
_DISCARD_BYTES = 64 * KIB  # what of an unread body is worth reading to keep the connection


class Exchange:
    """`receive` and `send` of one HTTP request. `run` returns whether the connection can take another request."""

    __slots__ = (
        "_answer",
        "_body",
        "_budget_bytes",
        "_budget_s",
        "_continue_due",
        "_control",
        "_date",
        "_departed",
        "_end_told",
        "_fault",
        "_full",
        "_head",
        "_http",
        "_limits",
        "_nursery",
        "_peer",
        "_reading",
        "_told_to_end",
        "_unwatched",
        "_watch_scope",
    )

    def __init__(
        self,
        peer: Peer,
        http: h11.Connection,
        nursery: trio.Nursery,
        limits: Limits,
        control: Control,
        head: Head,
        *,
        date: bytes,
        full: bool,
    ) -> None:
        self._peer = peer
        self._http = http
        self._nursery = nursery
        self._limits = limits
        self._control = control
        self._head = head
        self._date = date
        self._full = full
        self._answer = Answer(head_only=head.method == b"HEAD", old=head.old, closing=head.closing)
        self._body = Body(http, head)
        self._continue_due = head.expects_continue
        self._budget_bytes = PIECE_BYTES
        self._budget_s = limits.body_s
        self._end_told = False
        self._fault: int | None = None
        self._reading: trio.Lock | None = None
        self._departed: trio.Event | None = None
        self._told_to_end = False
        self._watch_scope: trio.CancelScope | None = None
        self._unwatched: trio.Event | None = None

    async def run(self, app: ASGIApp, scope: Scope) -> bool:
        """Let the application answer, then settle what it left undone. True: the connection can go on."""
        failed = False
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            failed = True
            self._log_failure(error, scope)
        if self._watch_scope is not None and self._unwatched is not None:
            self._watch_scope.cancel()
            await self._unwatched.wait()
        if not self._answer.complete and self._peer.lost is None and self._fault is None:
            await self._settle(failed=failed, scope=scope)
        if self._fault is not None:
            await self._peer.linger(self._limits.linger_s)
            return False
        if self._peer.lost is not None or not self._answer.complete:
            return False
        return await self._reusable()

    def end_stream(self) -> None:
        """Tell an event stream to end, through `receive`; other answers go on. For the end of a drain's farewell."""
        self._told_to_end = True
        self._wake_if_told()

    # ------------------------------------------------------------ the application's side

    async def receive(self) -> Message:
        """The next part of the body, or `http.disconnect`. Checkpoints only where it has to wait."""
        if self._body.ended:
            if not self._end_told:
                self._end_told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            return await self._departure()
        if self._reading is None:
            self._reading = trio.Lock()
        async with self._reading:
            part = await self._body_part()
        return part or await self._departure()

    async def send(self, message: Message) -> None:
        """Take a part of the answer. Checkpoints now and then where more is to come, and where the peer lets us wait.

        Raises `PeerGone` when the peer left or was cut off, `ApplicationFault` when the message is not valid now.
        """
        kind = message["type"]
        if self._fault is not None:
            raise PeerGone(f"its request was refused with {self._fault}")
        if self._peer.lost is not None:
            raise PeerGone(self._peer.lost)
        if kind == "http.response.body":
            data, more = message.get("body", b""), bool(message.get("more_body", False))
            if more:
                await self._peer.give_way(len(data))
            pieces = self._answer.body(data, more=more)
            if pieces:
                self._peer.queue(pieces)
                await self._peer.flush()
            if more:
                self._watch()
            elif self._departed is not None:
                self._departed.set()
        elif kind == "http.response.start":
            close = self._full or self._control.draining.is_set() or self._continue_due or self._much_is_unread()
            self._answer.start(message["status"], message.get("headers", ()), date=self._date, close=close)
        else:
            raise ApplicationFault(f"the application sent {kind!r}; an answer has http.response.start and .body")

    # ------------------------------------------------------------ the request's body

    async def _body_part(self) -> Message | None:
        """None: another task was given the end of the body while this one waited for its turn."""
        body = self._body
        if body.ended:
            return None
        if self._peer.lost is not None or self._fault is not None:
            return {"type": "http.disconnect"}
        limit, declared = self._control.body_bytes, self._head.content_length
        if declared is not None and declared > limit:
            return await self._refuse(413)
        if self._continue_due and not self._answer.started:
            self._continue_due = False
            self._peer.queue((CONTINUE,))
            try:
                await self._peer.flush()
            except PeerGone:
                return {"type": "http.disconnect"}
        part = b""
        while not part and not body.ended:
            try:
                part = body.take()
            except h11.RemoteProtocolError as error:
                return await self._refuse(error.error_status_hint or 400)
            if not part and not body.ended:
                data = await self._read()
                if data is None:
                    return await self._refuse(408)
                if not data:
                    self._peer.lose("it left in the middle of its request")
                    return {"type": "http.disconnect"}
                body.feed(data)
        if body.size_bytes > limit:
            return await self._refuse(413)
        self._end_told = body.ended
        return {"type": "http.request", "body": part, "more_body": not body.ended}

    async def _read(self) -> bytes | None:
        """The next bytes, empty when the peer left, None when it was too slow: see `Limits.body_s`."""
        began_at = trio.current_time()
        data: bytes | None = None
        with trio.CancelScope(deadline=began_at + self._budget_s):
            data = await self._peer.receive()
        if data is None:
            return None
        self._budget_s -= trio.current_time() - began_at
        self._budget_bytes -= len(data)
        if self._budget_bytes <= 0:
            self._budget_bytes, self._budget_s = PIECE_BYTES, self._limits.body_s
        return data

    async def _refuse(self, status: int) -> Message:
        """Answer in the application's place, if it has sent nothing yet; it sees a disconnect either way."""
        self._fault = status
        if self._answer.started:
            self._peer.lose(f"its body was refused ({status})")
        else:
            self._peer.queue((refusal(status, head_only=self._head.method == b"HEAD"),))
            with contextlib.suppress(PeerGone):
                await self._peer.flush()
        return {"type": "http.disconnect"}

    # ------------------------------------------------------------ departures

    async def _departure(self) -> Message:
        if self._departed is None:
            self._departed = trio.Event()
            if self._answer.complete or self._peer.lost is not None or self._fault is not None:
                self._departed.set()
            self._wake_if_told()
        self._watch()
        if not self._departed.is_set():
            await self._departed.wait()
        elif trio.current_effective_deadline() > trio.current_time():
            # Who asks again and again must not keep the loop to itself. Who asks from a cancelled scope, to look
            # without waiting, would see nothing if we checkpointed here.
            await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    def _watch(self) -> None:
        if self._watch_scope is None and self._body.ended and not self._answer.complete and self._peer.lost is None:
            self._watch_scope = trio.CancelScope()
            self._unwatched = trio.Event()
            self._nursery.start_soon(self._watcher, self._watch_scope, self._unwatched)

    async def _watcher(self, scope: trio.CancelScope, unwatched: trio.Event) -> None:
        ahead_bytes = 0
        try:
            with scope:
                while ahead_bytes < _WATCH_BYTES:
                    data = await self._peer.receive()
                    if not data:
                        self._peer.lose("it left before its answer was complete")
                        if self._departed is not None:
                            self._departed.set()
                        break
                    self._http.receive_data(data)
                    ahead_bytes += len(data)
        finally:
            unwatched.set()

    def _wake_if_told(self) -> None:
        if self._told_to_end and self._departed is not None and self._answer.event_stream:
            self._departed.set()

    # ------------------------------------------------------------ the end

    def _log_failure(self, error: Exception, scope: Scope) -> None:
        if self._peer.lost is not None or self._fault is not None or is_departure(error):
            _logger.debug("%s %s ended with its peer gone", scope["method"], scope["path"], exc_info=error)
        else:
            _logger.error("the application failed at %s %s", scope["method"], scope["path"], exc_info=error)

    async def _settle(self, *, failed: bool, scope: Scope) -> None:
        """The application is done and its answer is not. What has begun is cut, so that the peer can tell."""
        if not self._answer.started:
            if not failed:
                _logger.error("the application did not answer %s %s", scope["method"], scope["path"])
            await self._refuse(500)
        elif self._told_to_end and not failed and self._answer.event_stream:
            with contextlib.suppress(PeerGone):
                self._peer.queue(self._answer.body(b"", more=False))
                await self._peer.flush()
        elif not failed:
            _logger.error("the application did not end its answer to %s %s", scope["method"], scope["path"])

    async def _reusable(self) -> bool:
        """Whether the connection can go on. A short rest of the body, if there is one, is read over for that."""
        if not self._body.ended and not self._answer.closing:
            with trio.move_on_after(self._limits.linger_s):
                await self._discard_rest()
        if not self._body.ended:
            await self._peer.linger(self._limits.linger_s)
            return False
        return not self._answer.closing

    def _much_is_unread(self) -> bool:
        """Whether more of the body is to come than is worth reading over. The peer is told then that the connection
        ends with this answer, or it might put its next request onto it."""
        declared = self._head.content_length
        return declared is not None and not self._body.ended and declared - self._body.size_bytes > _DISCARD_BYTES

    async def _discard_rest(self) -> None:
        body = self._body
        last_bytes = body.size_bytes + _DISCARD_BYTES
        with contextlib.suppress(h11.RemoteProtocolError):
            while not body.ended and body.size_bytes < last_bytes:
                if not body.take() and not body.ended:
                    data = await self._peer.receive()
                    if not data:
                        return
                    body.feed(data)
