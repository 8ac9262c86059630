"""From a request of the port to the library's request: URL, headers, body. No decision is taken here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import urlencode

from perdure.actors.fetch import BodySource, HttpRequest
from perdure.adapters.network import http
from perdure.adapters.network.endpoint import Endpoint
from perdure.adapters.network.progress import PROGRESS_EXTENSION, Progress
from perdure.adapters.network.redact import redact_url
from perdure.adapters.network.transport import BytesBody
from perdure.events.errors import InvalidRequest

_USER_AGENT: Final = "perdure"

IDEMPOTENCY_HEADER: Final = "idempotency-key"


class SourceBody(http.AsyncByteStream):
    """A streamed request body. Its length is checked against what was promised: a mismatch would otherwise surface as
    a protocol error far from its cause. `opened`: its source was asked. `error`: what the source raised."""

    def __init__(self, source: BodySource, expected_bytes: int | None) -> None:
        self._source = source
        self._expected_bytes = expected_bytes
        self.opened = False
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.opened = True
        sent = 0
        try:
            chunks = self._source()
            try:
                async for chunk in chunks:
                    sent += len(chunk)
                    self._check(sent, sent if self._expected_bytes is None else min(sent, self._expected_bytes))
                    yield chunk
            finally:
                aclose = getattr(chunks, "aclose", None)
                if aclose is not None:
                    await aclose()
            self._check(sent, sent if self._expected_bytes is None else self._expected_bytes)
        except Exception as error:
            self.error = error
            raise

    def _check(self, sent: int, allowed: int) -> None:
        if sent != allowed:
            raise InvalidRequest(
                f"the request body's source gave {sent} bytes so far, but body_bytes promises {self._expected_bytes};"
                " open the source anew and state its exact length",
                field="body_bytes",
                limit=self._expected_bytes,
                value=sent,
            )


def is_absolute(path: str) -> bool:
    """Whether `path` is a URL of its own rather than a path below the base URL."""
    return path.startswith(("https://", "http://"))


def parse_url(text: str) -> http.URL:
    """`text` as a URL. Raises `InvalidRequest`."""
    try:
        url = http.URL(text)
    except http.InvalidURL as error:
        raise InvalidRequest(
            f"{redact_url(text)!r} is not a URL: {error}", field="path", value=redact_url(text)
        ) from None
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
        raise InvalidRequest(
            f"{redact_url(text)!r} is not an http or https URL with a host and a possible port",
            field="path",
            value=redact_url(text),
        )
    return url


def build_request(
    request: HttpRequest,
    endpoint: Endpoint,
    *,
    idempotency_key: str | None,
    progress: Progress,
    parse: Callable[[str], http.URL] = parse_url,
) -> tuple[http.Request, SourceBody | None]:
    """The library's request for `request`, and its body where that is streamed.

    The endpoint's headers, the credential among them, go to the scheme, host and port of its own base URL only.
    `parse` is `parse_url`, or a cache in front of it. Raises `InvalidRequest`: the URL or a header cannot be used.
    """
    absolute = is_absolute(request.path)
    text = request.path if absolute else endpoint.base_url.rstrip("/") + request.path
    if request.query:
        text += ("&" if "?" in text else "?") + urlencode(request.query)
    url = parse(text)
    headers = {"host": url.netloc.decode("ascii"), "user-agent": _USER_AGENT, "accept-encoding": "identity"}
    if not absolute or _origin(url) == _origin(parse(endpoint.base_url)):
        for name, value in endpoint.headers.items():
            headers[name.lower()] = value
    for name, value in request.headers.items():
        headers[name.lower()] = value
    if idempotency_key is not None:
        headers.setdefault(IDEMPOTENCY_HEADER, idempotency_key)
    body = request.body
    source: SourceBody | None = None
    stream: BytesBody | SourceBody
    if body is None or isinstance(body, bytes):
        stream = BytesBody(body or b"")
        if body is not None or request.method not in ("GET", "HEAD", "DELETE"):
            headers["content-length"] = str(len(body or b""))
    else:
        stream = source = SourceBody(body, request.body_bytes)
        if request.body_bytes is None:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(request.body_bytes)
    raw = [_encoded(name, value) for name, value in headers.items()]
    built = http.Request(request.method, url, headers=raw, stream=stream, extensions={PROGRESS_EXTENSION: progress})
    return built, source


def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    try:
        return name.encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        # Not chained and without the value: it may be a credential.
        raise InvalidRequest(
            f"the value of header {name!r} has characters that HTTP cannot carry (RFC 9110, 5.5); encode it first",
            field=f"headers.{name}",
        ) from None


def _origin(url: http.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
