"""A multipart form with one streamed file: small fields in memory, the file's bytes as their source gives them.

Wire form: RFC 7578, with quotes and line ends in names escaped as browsers do (WHATWG HTML, "multipart form data").
Fields go before the file, as OpenAI's SDK sends them and xAI wants them (`contracts/providers.md` sections 1.1 and 4).
The length is exact before the first byte is read, and each opening of the body gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Final

from msgspec import Struct

from perdure.actors.fetch import BodySource

_ESCAPES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class Form(Struct, frozen=True):
    """A form ready to send: its content type, the source of its body, and the body's exact length in bytes."""

    content_type: str
    body: BodySource
    size_bytes: int


def boundary_of(filename: str) -> str:
    """The boundary for a file of this name: the same in every attempt and every process.

    128 bits of a hash, so that no content holds it by chance. A delimiter needs a CR LF before it, too, which the lines
    that we write never have.
    """
    return "perdure-" + hashlib.sha256(filename.encode()).hexdigest()[:32]


def file_form(
    fields: Sequence[tuple[str, str]],
    *,
    filename: str,
    file: BodySource,
    file_bytes: int,
    part: str = "file",
    mime_type: str = "application/octet-stream",
) -> Form:
    """The form with `fields` and then the file part called `part`, whose `file_bytes` bytes come from `file`."""
    boundary = boundary_of(filename)
    head = bytearray()
    for name, value in fields:
        head += f"--{boundary}\r\n{_disposition(name)}\r\n\r\n{value}\r\n".encode()
    disposition = f'{_disposition(part)}; filename="{filename.translate(_ESCAPES)}"'
    head += f"--{boundary}\r\n{disposition}\r\nContent-Type: {mime_type.translate(_ESCAPES)}\r\n\r\n".encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    return Form(
        f"multipart/form-data; boundary={boundary}",
        lambda: _stream(bytes(head), file, tail),
        len(head) + file_bytes + len(tail),
    )


def _disposition(name: str) -> str:
    return f'Content-Disposition: form-data; name="{name.translate(_ESCAPES)}"'


async def _stream(head: bytes, file: BodySource, tail: bytes) -> AsyncIterator[bytes]:
    yield head
    chunks = file()
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    yield tail
