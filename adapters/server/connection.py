"""One connection: heads in, exchanges or a WebSocket out of them, until either side has had enough.

The invariant: whatever the peer or the application does, `Connection.run` ends in nothing but a return or a
cancellation from outside, and its stream is closed when it does.
"""

from __future__ import annotations

import logging
import math

import h11
import trio

from perdure.adapters.server.answer import refusal
from perdure.adapters.server.asgi import Control
from perdure.adapters.server.errors import PeerGone
from perdure.adapters.server.exchange import Exchange
from perdure.adapters.server.head import Address, build_scope, examine
from perdure.adapters.server.limits import Limits
from perdure.adapters.server.peer import HEAD_READ_BYTES, Peer
from perdure.adapters.server.site import Site
from perdure.adapters.server.websocket import Session

_logger = logging.getLogger("perdure.server")


class Connection:
    """One peer's connection on any trio stream, serving the application of a `Site`."""

    __slots__ = (
        "_client",
        "_current",
        "_due",
        "_head_begun",
        "_http",
        "_idle",
        "_peer",
        "_scope",
        "_server",
        "_site",
        "_unparsed_bytes",
    )

    def __init__(self, site: Site, stream: trio.abc.Stream, *, client: Address | None, server: Address | None) -> None:
        self._site = site
        self._client = client
        self._server = server
        self._peer = Peer(stream, site.limits.send_stall_s)
        self._http = _reader(site.limits)  # a new one for each request
        self._scope = trio.CancelScope()  # around all requests; cancelled when `_due` is over, or to drain
        self._due = math.inf  # when the peer must have sent its head; infinite while we answer
        self._current: Exchange | Session | None = None
        self._idle = False
        self._head_begun = False
        self._unparsed_bytes = 0

    async def run(self) -> None:
        """Serve the peer until the connection ends; failures are logged, never raised."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                with self._scope:
                    while await self._request(nursery):
                        pass
                if self._scope.cancelled_caught and self._head_begun:
                    await self._refuse(408)
                nursery.cancel_scope.cancel()
        except* Exception:
            _logger.exception("a connection failed")
        finally:
            await trio.aclose_forcefully(self._peer.stream)

    def leave_if_idle(self) -> None:
        """End the connection if no request is under way, for the start of a drain."""
        if self._idle:
            self._scope.cancel()

    def end_stream(self) -> None:
        """Tell what runs here to end if it is an event stream or a WebSocket, for the end of a drain's farewell."""
        if self._current is not None:
            self._current.end_stream()

    async def _keep_time(self) -> None:
        """Enforce `_due` and the peer's `send_due` and `receive_due`, to the moment.

        One task that looks now and then is cheaper than cancel scopes in each request, whose deadlines would be moved
        several times. It looks as often as the shortest of the limits, so no moment can pass between two looks.
        """
        limits, peer = self._site.limits, self._peer
        period_s = min(limits.idle_s, limits.head_s, limits.send_stall_s, limits.websocket_ping_s)
        while True:
            now = trio.current_time()
            if now >= peer.send_due:
                await peer.cut()
            if now >= self._due:
                self._due = math.inf
                self._scope.cancel()
            if now >= peer.receive_due and isinstance(self._current, Session):
                self._current.break_silence()
            await trio.sleep_until(min(now + period_s, self._due, peer.send_due, peer.receive_due))

    async def _request(self, nursery: trio.Nursery) -> bool:
        """Serve one request; whether there may be another."""
        request = await self._read_request()
        if request is None or self._scope.cancel_called:
            return False  # the connection was given up just as the head arrived: better unanswered than cut in between
        site = self._site
        limits = site.limits
        head = examine(request, limits, self._unparsed_bytes)
        if head.refusal is not None:
            await self._refuse(head.refusal, head_only=request.method == b"HEAD")
            return False
        control = Control(site.draining, limits.body_bytes)
        scope = build_scope(request, head, control=control, server=self._server, client=self._client, state=site.state)
        if head.websocket:
            session = Session(self._peer, self._rest(), nursery, limits, head, date=site.date())
            self._current = session
            self._tell_if_late()
            await session.run(site.app, scope)
            return False
        exchange = Exchange(self._peer, self._http, nursery, limits, control, head, date=site.date(), full=site.full)
        self._current = exchange
        self._tell_if_late()
        again = await exchange.run(site.app, scope)
        self._current = None
        return again

    def _tell_if_late(self) -> None:
        if self._site.farewell_over and self._current is not None:
            self._current.end_stream()

    async def _read_request(self) -> h11.Request | None:
        """The next request's head; None: the connection is over, and has been answered if there was anything to say."""
        peer, limits = self._peer, self._site.limits
        rest = self._rest()
        self._http = http = _reader(limits)
        self._unparsed_bytes = len(rest)
        if rest:
            http.receive_data(rest)
            await trio.lowlevel.checkpoint()  # who sends many requests ahead must not keep the loop to itself
        self._head_begun = self._unparsed_bytes > 0
        self._idle = not self._head_begun
        self._due = trio.current_time() + (limits.idle_s if self._idle else limits.head_s)
        while True:
            try:
                event = http.next_event() if self._head_begun else h11.NEED_DATA
            except h11.RemoteProtocolError as error:
                self._quiet()
                await self._refuse(error.error_status_hint or 400)
                return None
            if isinstance(event, h11.Request):
                self._quiet()
                return event
            if event is not h11.NEED_DATA:
                return None
            if self._idle and self._site.draining.is_set():
                return None
            data = await peer.receive(HEAD_READ_BYTES)
            if not data:
                return None
            if self._idle:
                self._idle = False
                self._head_begun = True
                self._due = trio.current_time() + limits.head_s
            self._unparsed_bytes += len(data)
            http.receive_data(data)

    def _rest(self) -> bytes:
        """What the peer has sent beyond what has been read from it as HTTP."""
        return self._http.trailing_data[0]

    def _quiet(self) -> None:
        """A head has ended, well or not: no limit of this connection's scope runs while it is answered."""
        self._idle = self._head_begun = False
        self._due = math.inf

    async def _refuse(self, status: int, *, head_only: bool = False) -> None:
        self._peer.queue((refusal(status, head_only=head_only),))
        try:
            await self._peer.flush()
        except PeerGone:
            return
        await self._peer.linger(self._site.limits.linger_s)


def _reader(limits: Limits) -> h11.Connection:
    """h11 for one request. It only reads: a new one costs less than telling the old one what we have answered."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
