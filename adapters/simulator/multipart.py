"""Multipart bodies, streamed: small fields into memory, one named part into a file.

The parser is python-multipart's callback parser, fed with the chunks of the request as they come. What is in memory at
any time is one chunk of the request, at most `_SPOOL_BYTES` of the file part, and the fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import IO

from msgspec import Struct
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from perdure.adapters.simulator.storage import Storage

_SPOOL_BYTES = 1 << 20
_FIELD_BYTES = 64 << 10


class MultipartError(Exception):
    """The body is not what its content type says, or a field is too long."""


class PartTooLarge(Exception):
    """The file part is longer than allowed. `limit` is in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the part is longer than {limit} bytes")
        self.limit = limit


class ReceivedPart(Struct, frozen=True):
    """The file part. `lines` counts its newlines, and a last line without one. `sha256` is in hex. `mime_type` is what
    the part says of itself, without parameters, "" if it says nothing."""

    filename: str
    size_bytes: int
    lines: int
    sha256: str
    mime_type: str = ""


class Form(Struct, frozen=True):
    """A received form: its fields by name, and its file part, or None if there was none. `late` names the fields that
    came behind that part."""

    fields: dict[str, str]
    part: ReceivedPart | None
    late: Set[str] = frozenset()


class _Receiver:
    """Collects what the parser calls back with. `spool` holds bytes of the file part that are not yet written."""

    def __init__(self, part_name: str) -> None:
        self.part_name = part_name
        self.fields: dict[str, str] = {}
        self.late: set[str] = set()
        self.filename: str | None = None
        self.mime_type = ""
        self.spool = bytearray()
        self.ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._content_type = b""
        self._field = ""
        self._field_value = bytearray()
        self._in_part = False

    def part_begin(self) -> None:
        self._disposition = b""
        self._content_type = b""
        self._in_part = False
        self._field_value.clear()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._check_length(self._header)

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_length(self._value)

    def header_end(self) -> None:
        match bytes(self._header).lower():
            case b"content-disposition":
                self._disposition = bytes(self._value)
            case b"content-type":
                self._content_type = bytes(self._value)
            case _:
                pass
        self._header.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise MultipartError("a part has no name")
        self._field = name.decode("utf-8", "replace")
        if self._field == self.part_name:
            self._in_part = True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self.mime_type = parse_options_header(self._content_type)[0].decode("latin-1")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_part:
            self.spool += memoryview(data)[start:end]
        else:
            self._field_value += data[start:end]
            self._check_length(self._field_value)

    def part_end(self) -> None:
        if not self._in_part:
            self.fields[self._field] = self._field_value.decode("utf-8", "replace")
            if self.filename is not None:
                self.late.add(self._field)

    def end(self) -> None:
        self.ended = True

    def _check_length(self, value: bytearray) -> None:
        if len(value) > _FIELD_BYTES:
            raise MultipartError(f"a field or header is longer than {_FIELD_BYTES} bytes")


class _Sink:
    """Writes the part to disk and measures it. Its methods block; they run in a thread."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._hash = hashlib.sha256()
        self._newlines = 0
        self._last = b"\n"
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._newlines += data.count(b"\n")
        self._last = data[-1:]
        self.size_bytes += len(data)

    def finish(self, filename: str, mime_type: str) -> ReceivedPart:
        self._file.close()
        lines = self._newlines + (self._last != b"\n")
        return ReceivedPart(filename, self.size_bytes, lines, self._hash.hexdigest(), mime_type)

    def close(self) -> None:
        self._file.close()


async def receive_form(request: Request, *, part_name: str, path: Path, max_bytes: int, storage: Storage) -> Form:
    """Reads the multipart body of a request and writes the part called `part_name` to `path`.

    Raises `MultipartError` and `PartTooLarge` (part longer than `max_bytes`); then, as after a cancellation, `path` is
    left to the caller to remove.
    """
    content_type = request.headers.get("content-type", "")
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise MultipartError(f"the content type must be multipart/form-data with a boundary, not '{content_type}'")
    receiver = _Receiver(part_name)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": receiver.part_begin,
            "on_part_data": receiver.part_data,
            "on_part_end": receiver.part_end,
            "on_header_field": receiver.header_field,
            "on_header_value": receiver.header_value,
            "on_header_end": receiver.header_end,
            "on_headers_finished": receiver.headers_finished,
            "on_end": receiver.end,
        },
    )
    sink = await storage.bulk(lambda: _Sink(path))
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                parser.write(chunk)
                if sink.size_bytes + len(receiver.spool) > max_bytes:
                    raise PartTooLarge(max_bytes)
                if len(receiver.spool) >= _SPOOL_BYTES:
                    full, receiver.spool = receiver.spool, bytearray()
                    await storage.bulk(partial(sink.write, bytes(full)))
        if not receiver.ended:
            raise MultipartError("the body ends before its last boundary")
        rest = bytes(receiver.spool)
        if receiver.filename is None:
            return Form(receiver.fields, None, receiver.late)

        def finish(filename: str) -> ReceivedPart:
            if rest:
                sink.write(rest)
            return sink.finish(filename, receiver.mime_type)

        return Form(receiver.fields, await storage.bulk(lambda: finish(receiver.filename or "")), receiver.late)
    except MultipartParseError as error:
        raise MultipartError(f"the body is not multipart/form-data: {error}") from error
    finally:
        sink.close()
