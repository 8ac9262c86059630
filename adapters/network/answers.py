"""Reading answers: headers, whole bodies, error bodies, and JSON for whoever wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from perdure.actors.fetch import HttpAnswer
from perdure.adapters.network import http
from perdure.adapters.network.retry import FailureKind
from perdure.events.errors import ProviderError, shorten

_ERROR_BODY_BYTES: Final = 64 * 1024
"""How much of an error body is read: providers' are below 2 kB; a gateway's page needs no more to be recognised."""

_REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "x-trace-id")
"""OpenAI, Anthropic, xAI (contracts/providers.md)."""


class BodyFailed(Exception):
    """A body could not be read to its end. `kind` is why; `repeatable` says whether another attempt may help."""

    def __init__(self, message: str, kind: FailureKind, *, repeatable: bool) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.repeatable = repeatable


def header_map(response: http.Response) -> dict[str, str]:
    """Lower-case names to values; repeated headers are joined with ", " (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request, for its support."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)


async def read_whole(stream: http.AsyncByteStream, idle_s: float, most_bytes: int) -> bytes:
    """The whole body. Raises `BodyFailed`: silent for `idle_s`, or larger than `most_bytes`; `http.TransportError`:
    cut."""
    chunks: list[bytes] = []
    size = 0
    with trio.CancelScope(deadline=trio.current_time() + idle_s) as idle:
        async for chunk in stream:
            size += len(chunk)
            if size > most_bytes:
                raise BodyFailed(
                    f"the answer is larger than {most_bytes} bytes; stream it instead", "network", repeatable=False
                )
            chunks.append(chunk)
            idle.deadline = trio.current_time() + idle_s
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    raise BodyFailed(f"the answer's body was silent for {idle_s:g} s", "timeout", repeatable=True)


async def read_error_body(stream: http.AsyncByteStream, idle_s: float) -> bytes:
    """The beginning of an error body; b"" where it cannot be read whole, so that a cut body proves nothing."""
    try:
        return await read_whole(stream, idle_s, _ERROR_BODY_BYTES)
    except (BodyFailed, http.TransportError):
        return b""


def json_body(answer: HttpAnswer) -> Any:
    """The answer's body as decoded JSON. Raises `ProviderError`, final, when it is not JSON.

    A caller that knows the shape decodes `answer.body` into a type instead."""
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = answer.headers.get("content-type", "no content type")
        encoding = answer.headers.get("content-encoding")
        encoded = f", content-encoding {encoding}" if encoding else ""
        raise ProviderError(
            f"the answer ({answer.status}, {kind}{encoded}) is not JSON: {error};"
            f" it begins {shorten(answer.body[:40])}",
            status=answer.status,
            provider_request_id=request_id(answer.headers),
        ) from error
