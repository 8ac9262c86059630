"""From HTTP answers to objects, and what it means when that fails: the same at every provider.

A 2xx answer that is no JSON of the expected shape comes from something between us and the provider, or from a fault of
theirs. After a *create* it proves that something took the request, so it is `Unknown` and leads to reconcile; after a
*read* nothing was at stake, so it is `Refused(kind="server_error", retryable=True)`: ask again later.

A content type that names a page, an event stream or a medium makes a body unreadable whatever it says; JSON, text,
plain bytes and no content type at all are let through to the decoder, which has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn, TypeVar

import msgspec

from perdure.actors.fetch import HttpAnswer, Refused, Unknown
from perdure.adapters.network.answers import request_id
from perdure.events.errors import shorten

Decoded = TypeVar("Decoded")

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON of the wanted shape; the last for nesting without end."""

_DATA_TYPES: Final = ("", "text/plain", "application/octet-stream", "binary/octet-stream")


def read_answer(answer: HttpAnswer, decoder: msgspec.json.Decoder[Decoded]) -> Decoded:
    """What a read says. Raises `Refused`, worth a repeat, when it cannot be read."""
    try:
        return _decode(answer, decoder)
    except _Unreadable as error:
        refuse_answer(answer.status, answer.headers, str(error))


def created_answer(answer: HttpAnswer, decoder: msgspec.json.Decoder[Decoded]) -> Decoded:
    """What a create says. Raises `Unknown` when it cannot be read: it may have been done all the same."""
    try:
        return _decode(answer, decoder)
    except _Unreadable as error:
        raise Unknown(
            f"the provider took the request, but its answer cannot be read: {error}",
            status=answer.status,
            provider_request_id=request_id(answer.headers),
        ) from error


def refuse_answer(status: int, headers: Mapping[str, str], reason: str, *, retryable: bool = True) -> NoReturn:
    """Raises `Refused` for an answer to a read that is of no use."""
    raise Refused(
        f"the provider's answer cannot be used: {reason}",
        kind="server_error",
        status=status,
        provider_request_id=request_id(headers),
        retryable=retryable,
    )


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without its parameters, in lower case, "" where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class _Unreadable(Exception):
    """Why an answer's body cannot be used."""


def _decode(answer: HttpAnswer, decoder: msgspec.json.Decoder[Decoded]) -> Decoded:
    kind = media_type(answer.headers)
    if kind not in _DATA_TYPES and "json" not in kind:
        raise _Unreadable(f"its content type is {shorten(kind)}, not JSON; it begins {shorten(answer.body[:40])}")
    try:
        return decoder.decode(answer.body)
    except DECODE_ERRORS as error:
        raise _Unreadable(f"{error}; it begins {shorten(answer.body[:40])}") from error
