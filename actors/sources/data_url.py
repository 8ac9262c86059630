"""`data:` URLs (RFC 2397): what stands in them, its exact size, and where one is wrong. Pure."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from perdure.events.errors import InvalidSource, shorten

_DEFAULT_TYPE: Final = "text/plain;charset=US-ASCII"
"""What a URL without a type has (RFC 2397, 2)."""

_PIECE_CHARACTERS: Final = 1 << 20
"""What is decoded at a time: a multiple of four, so that no group of base64 is cut."""

_BAD_BASE64: Final = re.compile(r"[^A-Za-z0-9+/]")
_PERCENT: Final = re.compile(r"%(?:[0-9A-Fa-f]{2})?")


class Decoded(Struct, frozen=True):
    """A data URL taken apart. `body` begins at `offset` of the URL; `size_bytes` is the exact size of its content."""

    mime_type: str
    base64: bool
    body: str
    offset: int
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """The content, base64 about 1 MiB at a time. Raises `InvalidSource` that names the offset of what is wrong."""
        if not self.base64:
            yield unquote_to_bytes(self.body.encode("utf-8", "replace"))
            return
        for start in range(0, len(self.body), _PIECE_CHARACTERS):
            piece = self.body[start : start + _PIECE_CHARACTERS]
            yield _decode(piece, self.offset + start, last=start + _PIECE_CHARACTERS >= len(self.body))

    def data(self) -> bytes:
        """The whole content. Raises as `pieces` does."""
        return b"".join(self.pieces())


def parse_data_url(url: str) -> Decoded:
    """Takes a data URL apart without decoding its content. Raises `InvalidSource` that names the offset."""
    head, comma, body = url.partition(",")
    if head[:5].lower() != "data:" or not comma:
        raise InvalidSource(
            f"this is not a data URL: {shorten(url[:60])}; it begins with data: and has a comma before its content",
            reason="data_url",
        )
    declared, marker, last = head[5:].rpartition(";")
    base64 = last.strip().lower() == "base64" and bool(marker)
    mime_type = declared if base64 else head[5:]
    if mime_type.startswith(";"):
        mime_type = "text/plain" + mime_type
    offset = len(head) + 1
    if not base64:
        return Decoded(mime_type or _DEFAULT_TYPE, False, body, offset, _percent_size(body, offset))
    if "%" in body:
        # The alphabet's + / = may stand percent-encoded in a URL. Offsets then count in the plain form.
        _percent_size(body, offset)
        body = unquote_to_bytes(body).decode("latin-1")
    padding = len(body) - len(body.rstrip("="))
    if len(body) % 4 or padding > 2:
        raise _bad(
            offset + len(body), f"{len(body)} characters of base64 with {padding} of padding are no whole groups"
        )
    return Decoded(mime_type or _DEFAULT_TYPE, True, body, offset, len(body) // 4 * 3 - padding)


def _decode(piece: str, offset: int, *, last: bool) -> bytes:
    end = len(piece.rstrip("=")) if last else len(piece)
    wrong = _BAD_BASE64.search(piece, 0, end)
    if wrong is not None:
        raise _bad(offset + wrong.start(), f"{wrong[0]!r} is not a character of base64")
    return binascii.a2b_base64(piece)


def _percent_size(body: str, offset: int) -> int:
    """The size of percent-encoded content in bytes; characters outside ASCII count as the UTF-8 they stand for."""
    escapes = 0
    for escape in _PERCENT.finditer(body):
        if len(escape[0]) == 1:
            raise _bad(
                offset + escape.start(), f"{body[escape.start() : escape.start() + 3]!r} is not a percent escape"
            )
        escapes += 1
    return len(body.encode("utf-8", "replace")) - 2 * escapes


def _bad(offset: int, what: str) -> InvalidSource:
    return InvalidSource(f"the data URL is wrong at offset {offset}: {what}", reason="data_url", value=offset)
