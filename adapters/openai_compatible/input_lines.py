"""Lines of a batch's input file, as OpenAI made them and xAI takes them too. Pure.

Sources: `contracts/providers.md` sections 1.2 and 4 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_LINE_ID: Final = 64
"""The longest line id that is written, in characters. Neither states a limit for `custom_id`; ours are
`<operation>-<n>`, and 64 is what the strictest of the other providers takes."""


def encode_line(line_id: str, url: str, body: bytes) -> bytes:
    """One line of the input file, newline included.

    `body` is put in as it stands, but for the line ends that pretty-printed JSON has between its values: they become
    spaces (inside of strings JSON has none). Raises `ValueError` for a line id that is not 1 to `MAX_LINE_ID` printable
    ASCII characters: ids of lines are ours, so that is a fault of ours.
    """
    if not 1 <= len(line_id) <= MAX_LINE_ID or not line_id.isascii() or not line_id.isprintable():
        raise ValueError(f"a line id must have 1 to {MAX_LINE_ID} printable ASCII characters, not {line_id!r}")
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        msgspec.json.encode(line_id),
        msgspec.json.encode(url),
        on_one_line(body),
    )


def on_one_line(value: bytes) -> bytes:
    """A JSON value without line ends: pretty-printed JSON has them between its values, in strings there are none."""
    if b"\n" in value or b"\r" in value:
        return value.replace(b"\r", b" ").replace(b"\n", b" ")
    return value


class _Line(msgspec.Struct):
    body: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode


def body_of(line: bytes) -> bytes:
    """The body in a line that `encode_line` made."""
    return bytes(_decode_line(line).body)
