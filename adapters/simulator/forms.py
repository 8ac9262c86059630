"""Multipart bodies that are held whole: for images and films, of which a request has several, each small.

What a single large file comes in is streamed to disk instead: see `multipart.py`.
"""

from __future__ import annotations

from msgspec import Struct
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from perdure.adapters.simulator.multipart import MultipartError


class FormPart(Struct, frozen=True):
    """A part of a form. `filename` is None for a plain field; `mime_type` is what the part says of itself, or ""."""

    name: str
    filename: str | None
    mime_type: str
    data: bytes


class _Collector:
    """Collects what the parser calls back with."""

    def __init__(self) -> None:
        self.parts: list[FormPart] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._data = bytearray()

    def part_begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise MultipartError("a part has no name")
        mime_type = parse_options_header(self._headers.get(b"content-type", b""))[0]
        self.parts.append(
            FormPart(
                name.decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
                mime_type.decode("latin-1"),
                bytes(self._data),
            )
        )

    def end(self) -> None:
        self.ended = True


def parse_form(content_type: str, body: bytes) -> list[FormPart]:
    """The parts of a whole multipart body, in order. Raises `MultipartError`."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise MultipartError(f"the content type must be multipart/form-data with a boundary, not '{content_type}'")
    collector = _Collector()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": collector.part_begin,
            "on_part_data": collector.part_data,
            "on_part_end": collector.part_end,
            "on_header_field": collector.header_field,
            "on_header_value": collector.header_value,
            "on_header_end": collector.header_end,
            "on_end": collector.end,
        },
    )
    try:
        parser.write(body)
    except MultipartParseError as error:
        raise MultipartError(f"the body is not multipart/form-data: {error}") from error
    if not collector.ended:
        raise MultipartError("the body ends before its last boundary")
    return collector.parts
