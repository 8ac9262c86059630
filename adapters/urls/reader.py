"""Fetching what an http or https URL leads to, from public addresses only.

The invariant: a connection is made to an address that was checked, never to a name. A name is resolved once for each
hop, every address that it has is checked, and one of those is connected to; TLS and the Host header still carry the
name. What answers is not a provider: no credential, no cookie and no proxy is ever involved.
"""

from __future__ import annotations

import posixpath
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

import trio

from perdure.actors.sources.content import Opened
from perdure.adapters.network import http
from perdure.adapters.network.connection import Connection
from perdure.adapters.network.progress import Progress
from perdure.adapters.network.redact import redact_url
from perdure.adapters.network.retry import parse_retry_after_s
from perdure.adapters.network.transport import CONNECT_S, Connect
from perdure.adapters.urls.addresses import Network, may_be_fetched_from
from perdure.events.errors import InvalidSource, TooLarge, Unavailable, shorten

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of (host, port), in the order in which they should be tried; raises OSError."""

MAX_BYTES: Final = 2 << 30
"""What providers take at most of what we would fetch for them (Google's file limit)."""

MAX_REDIRECTS: Final = 5

IDLE_S: Final = 60.0
"""How long the server may be silent."""

_PORTS: Final = {"http": 80, "https": 443}

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_TRY_LATER: Final = frozenset({408, 425, 429})

_MOST_ADDRESSES: Final = 4
"""How many addresses of a name are tried."""

_CLOSE_S: Final = 5.0


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses of a host by the system's resolver, each once."""
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class PublicUrls:
    """Fetches from public addresses, and from those in `networks`. See `perdure.actors.sources.UrlReader`.

    `resolve` and `connect` are the ways out; `connect` is given addresses, never names. `max_bytes` bounds one file.
    """

    def __init__(
        self,
        *,
        networks: Sequence[Network] = (),
        max_bytes: int = MAX_BYTES,
        resolve: Resolve = resolve_name,
        connect: Connect = trio.open_tcp_stream,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._networks = tuple(networks)
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._connect = connect
        self._ssl_context = ssl_context

    def open(self, url: str) -> AbstractAsyncContextManager[Opened]:
        """What `url` leads to, over at most five redirects, in bounded memory.

        Raises `InvalidSource`: `url` (not one that can be fetched), `not_allowed` (an address that is not public),
        `missing` and `refused` (the server's answer). Raises `TooLarge`, and `Unavailable` where a later try may help:
        no connection, an answer that is cut or silent, a server in trouble. The chunks raise the last two as well.
        """
        return self._opened(url)

    @asynccontextmanager
    async def _opened(self, text: str) -> AsyncGenerator[Opened]:
        url = _parsed(text, None)
        for _ in range(MAX_REDIRECTS + 1):
            connection = await self._connected(url)
            try:
                status, headers = await self._asked(connection, url)
                if status not in _REDIRECTS or "location" not in headers:
                    yield self._answer(connection, url, status, headers)
                    return
            finally:
                await connection.close()
            url = _parsed(headers["location"], url)
        raise InvalidSource(
            f"{redact_url(text)} leads on and on: more than {MAX_REDIRECTS} redirects",
            reason="url",
            field="source.url",
            limit=MAX_REDIRECTS,
        )

    # ------------------------------------------------------------ the way there

    async def _connected(self, url: http.URL) -> Connection:
        """A connection to one of the addresses that the URL's host has, all of which were checked."""
        host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
        trouble: Exception = TimeoutError(f"no connection within {CONNECT_S:g} s")
        with trio.move_on_after(CONNECT_S):
            try:
                addresses = await self._resolve(host, port)
            except (OSError, UnicodeError) as error:
                raise Unavailable(f"the name of {_shown(url)} cannot be resolved: {error}") from error
            self._check(url, addresses)
            for address in addresses[:_MOST_ADDRESSES]:
                try:
                    return Connection(await self._stream(url, host, address, port))
                except (OSError, trio.BrokenResourceError) as error:
                    trouble = error
        raise Unavailable(f"there is no connection to {_shown(url)}: {trouble.__cause__ or trouble}") from trouble

    def _check(self, url: http.URL, addresses: Sequence[str]) -> None:
        """Raises `InvalidSource` unless every address may be fetched from: a mixed answer is an attempt."""
        refused = [address for address in addresses if not may_be_fetched_from(address, self._networks)]
        if refused or not addresses:
            raise InvalidSource(
                f"{_shown(url)} is at {', '.join(refused) or 'no address'}, which is not a public address: name its"
                " network in fetch_networks if it is meant to be fetched from",
                reason="not_allowed",
                field="source.url",
                value=refused[:_MOST_ADDRESSES],
            )

    async def _stream(self, url: http.URL, host: str, address: str, port: int) -> trio.abc.Stream:
        stream = await self._connect(address, port)
        if url.scheme == "http":
            return stream
        if self._ssl_context is None:
            self._ssl_context = http.create_ssl_context()
        secured = trio.SSLStream(stream, self._ssl_context, server_hostname=host, https_compatible=True)
        done = False
        try:
            await secured.do_handshake()
            done = True
        finally:
            if not done:
                await trio.aclose_forcefully(secured)
        return secured

    async def _asked(self, connection: Connection, url: http.URL) -> tuple[int, Mapping[str, str]]:
        """Sends the request; status and headers of the answer, with lower-case names."""
        headers = [
            (b"host", url.netloc),
            (b"user-agent", b"perdure"),
            (b"accept", b"*/*"),
            (b"accept-encoding", b"identity"),
            (b"connection", b"close"),
        ]
        try:
            with trio.fail_after(IDLE_S):
                await connection.send(b"GET", url.raw_path, headers, b"", Progress())
                head = await connection.receive_head(Progress())
        except (http.TransportError, trio.TooSlowError) as error:
            raise Unavailable(f"{_shown(url)} gave no answer: {str(error) or 'it is silent'}") from error
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
        return head.status_code, found

    # ------------------------------------------------------------ the answer

    def _answer(self, connection: Connection, url: http.URL, status: int, headers: Mapping[str, str]) -> Opened:
        if status != 200:
            raise _refusal(url, status, headers)
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise InvalidSource(
                f"{_shown(url)} is sent in the encoding {shorten(encoding)}, which was not asked for",
                reason="refused",
                field="source.url",
            )
        length = headers.get("content-length", "")
        # A length beside chunked framing means nothing (RFC 9112, 6.3).
        size = int(length) if length.isdecimal() and "transfer-encoding" not in headers else None
        if size is not None and size > self._max_bytes:
            raise self._too_large(url, size)
        filename = unquote(posixpath.basename(url.path)) or None
        return Opened(self._chunks(connection, url), filename, headers.get("content-type"), size)

    async def _chunks(self, connection: Connection, url: http.URL) -> AsyncGenerator[bytes]:
        progress = Progress()
        progress.whole = True
        read = 0
        while True:
            try:
                with trio.fail_after(IDLE_S):
                    chunk = await connection.next_chunk(progress)
            except (http.TransportError, trio.TooSlowError) as error:
                raise Unavailable(
                    f"{_shown(url)} stopped after {read} bytes: {str(error) or 'it is silent'}"
                ) from error
            if not chunk:
                return
            read += len(chunk)
            if read > self._max_bytes:
                raise self._too_large(url, read)
            yield chunk

    def _too_large(self, url: http.URL, size: int) -> TooLarge:
        return TooLarge(
            f"{_shown(url)} has {size} bytes or more, and at most {self._max_bytes} are fetched",
            limit=self._max_bytes,
            size=size,
            field="source.url",
        )


def _parsed(text: str, before: http.URL | None) -> http.URL:
    """A URL that may be fetched; `before` is the one whose answer led here. Raises `InvalidSource`."""
    shown = shorten(redact_url(text))
    try:
        url = http.URL(text) if before is None else before.join(text)
    except (http.InvalidURL, ValueError) as error:
        raise InvalidSource(f"{shown} is not a URL: {error}", reason="url", field="source.url") from None
    if url.scheme not in _PORTS or not url.host or not 0 < (url.port or 80) < 65_536:
        raise InvalidSource(f"{shown} is not an http or https URL with a host", reason="url", field="source.url")
    if url.userinfo:
        raise InvalidSource(
            f"{shown} carries a user or a password, and credentials are not sent: fetch it yourself and hand over the"
            " bytes",
            reason="url",
            field="source.url",
        )
    if before is not None and before.scheme == "https" and url.scheme == "http":
        raise InvalidSource(f"{_shown(before)} leads from https to http", reason="url", field="source.url")
    return url.copy_with(fragment=None)


def _refusal(url: http.URL, status: int, headers: Mapping[str, str]) -> InvalidSource | Unavailable:
    if status >= 500 or status in _TRY_LATER:
        return Unavailable(
            f"{_shown(url)} is not to be had now: its server answered {status}",
            retry_after_s=parse_retry_after_s(headers, datetime.now(UTC)),
        )
    return InvalidSource(
        f"{_shown(url)} is not to be had: its server answered {status}",
        reason="missing" if status in (404, 410) else "refused",
        field="source.url",
        value=status,
    )


def _shown(url: http.URL) -> str:
    return shorten(redact_url(str(url)))
