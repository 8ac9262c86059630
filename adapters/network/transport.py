"""Keep-alive connections for each origin, behind the library's public transport seam.

The library's own pool walks all its connections and polls each socket on every request and every close, so its cost
grows with their number (measured: `benchmarks/network_engine.py`). Here an origin has a stack of idle connections: the
one that was used last is taken first, is asked once whether its peer has closed it, and goes back when its answer was
read to the end. There is no bound on connections: the engine's queues decide how many requests are under way.

HTTP/1.1 and TLS; for HTTP/2 or a proxy hand the engine another transport of the same seam.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import trio

from perdure.adapters.network import http
from perdure.adapters.network.connection import Connection, Stale
from perdure.adapters.network.progress import PROGRESS_EXTENSION, Progress

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a stream to (host, port); raises OSError."""

Origin = tuple[str, str, int]
"""Scheme, host, port."""

_PORTS: Final = {"http": 80, "https": 443}

IDLE_EXPIRY_S: Final = 30.0
"""How long a connection may idle: half of the 60 s after which common load balancers close it themselves."""

CONNECT_S: Final = 10.0
"""How long connecting and the TLS handshake may take; the providers' own SDKs allow 5 s."""


class BytesBody(http.AsyncByteStream):
    """A request body that is in memory whole; our transport sends it in one write with the headers."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data


class PooledTransport(http.AsyncBaseTransport):
    """Idle connections by origin, last in, first out. `connect` opens streams (tests hand in memory streams).

    Raises the library's `TransportError` tree without the request attached, since that would carry the credential.
    """

    def __init__(
        self,
        *,
        connect: Connect = trio.open_tcp_stream,
        ssl_context: ssl.SSLContext | None = None,
        idle_expiry_s: float = IDLE_EXPIRY_S,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._connect = connect
        self._ssl_context = ssl_context
        self._idle_expiry_s = idle_expiry_s
        self._connect_s = connect_s
        self._idle: dict[Origin, deque[Connection]] = {}
        self._became_idle = trio.Event()
        self._closed = False

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._idle.values()))

    async def handle_async_request(self, request: http.Request) -> http.Response:
        """Sends `request` and returns as soon as the answer's headers are there. Its body must be closed."""
        url = request.url
        scheme = url.scheme
        if scheme not in _PORTS:
            raise http.UnsupportedProtocol(f"scheme {scheme!r} is not http or https")
        origin: Origin = (scheme, url.raw_host.decode("ascii"), url.port or _PORTS[scheme])
        given: object = request.extensions.get(PROGRESS_EXTENSION)
        progress = given if isinstance(given, Progress) else Progress()
        method, target, headers, stream = request.method.encode(), url.raw_path, request.headers.raw, request.stream
        while True:
            connection = await self._take(origin)
            keep = False
            try:
                if isinstance(stream, BytesBody):
                    await connection.send(method, target, headers, stream.data, progress)
                elif isinstance(stream, http.AsyncByteStream):
                    await connection.send(method, target, headers, aiter(stream), progress)
                else:
                    raise http.UnsupportedProtocol("the request's body is not an asynchronous byte stream")
                head = await connection.receive_head(progress)
                keep = True
            except Stale:
                continue
            finally:
                if not keep:
                    await connection.close()
            return http.Response(
                head.status_code, headers=list(head.headers), stream=_AnswerBody(self, origin, connection, progress)
            )

    async def expire_idle(self) -> None:
        """Closes connections that idled too long, until it is cancelled: the one timer."""
        while True:
            oldest = min((stack[0].idle_since for stack in self._idle.values() if stack), default=None)
            if oldest is None:
                self._became_idle = trio.Event()
                await self._became_idle.wait()
                continue
            await trio.sleep_until(oldest + self._idle_expiry_s)
            await self._close_idle(at=trio.current_time())

    async def aclose(self) -> None:
        """Closes all idle connections; those in use are closed when their answers end."""
        self._closed = True
        await self._close_idle(at=float("inf"))

    async def put_back(self, origin: Origin, connection: Connection) -> None:
        """Takes a connection whose exchange is over: it idles, or is closed where it cannot be used again."""
        if self._closed or not connection.recycle():
            await connection.close()
            return
        connection.idle_since = trio.current_time()
        stack = self._idle.get(origin)
        if stack is None:
            stack = self._idle[origin] = deque()
        stack.append(connection)
        self._became_idle.set()

    async def _take(self, origin: Origin) -> Connection:
        stack = self._idle.get(origin)
        while stack:
            connection = stack.pop()
            if not connection.peer_has_spoken():
                return connection
            await connection.close()
        return Connection(await self._open(origin))

    async def _open(self, origin: Origin) -> trio.abc.Stream:
        scheme, host, port = origin
        opened: trio.abc.Stream | None = None
        done = False
        try:
            with trio.fail_after(self._connect_s):
                opened = await self._connect(host, port)
                if scheme == "https":
                    opened = trio.SSLStream(opened, self._tls(), server_hostname=host, https_compatible=True)
                    await opened.do_handshake()
            done = True
            return opened
        except trio.TooSlowError as error:
            raise http.ConnectTimeout(f"no connection to {host}:{port} within {self._connect_s:g} s") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise http.ConnectError(f"no connection to {host}:{port}: {_root(error)}") from error
        finally:
            if opened is not None and not done:
                await trio.aclose_forcefully(opened)

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = http.create_ssl_context()
        return self._ssl_context

    async def _close_idle(self, at: float) -> None:
        # The sum is the one that the timer waited for: rounded in another way it may be later than now, for ever so
        # little, and a timer that has come finds nothing to do and comes again at once.
        for origin, stack in list(self._idle.items()):
            while stack and stack[0].idle_since + self._idle_expiry_s <= at:
                await stack.popleft().close()
            if not stack and self._idle.get(origin) is stack:
                del self._idle[origin]


class _AnswerBody(http.AsyncByteStream):
    """An answer's body as it comes. Reading it to the end, or `aclose`, gives the connection back; once."""

    def __init__(self, pool: PooledTransport, origin: Origin, connection: Connection, progress: Progress) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: Connection | None = connection
        self._progress = progress

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        connection = self._connection
        if connection is None:
            raise StopAsyncIteration
        chunk = await connection.next_chunk(self._progress)
        if chunk:
            return chunk
        self._connection = None
        await self._pool.put_back(self._origin, connection)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
