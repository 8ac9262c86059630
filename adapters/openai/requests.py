"""What OpenAI batches, and the lines of a batch's input file. Pure.

Sources: `contracts/providers.md` section 1.2 (20 November 2026) for endpoints, limits and the line's form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from perdure.adapters.openai_compatible import bodies

ENDPOINTS: Final[Sequence[str]] = (
    *bodies.ENDPOINTS,
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
)
"""The endpoints whose requests may be batched. `/v1/videos` is left out: its line answers with a job that somebody
would have to follow, which a batch's results do not do."""

MAX_LINES: Final = 50_000
"""The most lines of one batch (section 1.2). Embeddings count inputs, not lines; OpenAI checks that one."""

MAX_INPUT_BYTES: Final = 200_000_000
"""The largest input file of one batch, 200 MB (section 1.2), read as decimal: the smaller of the two readings."""

MAX_LINE_ID: Final = 64
"""The longest line id that is written, in characters. OpenAI states no limit for `custom_id`; ours are
`<operation>-<n>`, and 64 is what the strictest of the other providers takes."""


def encode_line(line_id: str, url: str, body: bytes) -> bytes:
    """One line of the input file, newline included.

    `body` is put in as it stands, but for the line ends that pretty-printed JSON has between its values: they become
    spaces (inside of strings JSON has none). Raises `ValueError` for a line id that is not 1 to `MAX_LINE_ID` printable
    ASCII characters: ids of lines are ours, so that is a fault of ours.
    """
    if not 1 <= len(line_id) <= MAX_LINE_ID or not line_id.isascii() or not line_id.isprintable():
        raise ValueError(f"a line id must have 1 to {MAX_LINE_ID} printable ASCII characters, not {line_id!r}")
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        msgspec.json.encode(line_id),
        msgspec.json.encode(url),
        body,
    )


class _Line(msgspec.Struct):
    body: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode


def body_of(line: bytes) -> bytes:
    """The body in a line that `encode_line` made."""
    return bytes(_decode_line(line).body)
