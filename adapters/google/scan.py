"""Operations as they come over the wire, taken apart in bounded memory. Sans-IO.

The responses to requests that came in the call stand in the operation itself, as long as they are, and in an answer of
one batch twice (`metadata.output` and `response`). So they are taken out of the stream one by one, and what is around
them is kept: the *outline*, an operation or a page of them in which each array of responses holds their number instead.

Sources: `contracts/providers.md` section 3.2.
"""

from __future__ import annotations

import re
from typing import Final

from perdure.adapters.jsonl import MAX_LINE_BYTES, LineTooLong

# In JSON a quote within a string stands behind a backslash, so what this finds is a name and the array behind it.
_ARRAY: Final = re.compile(rb'"inlinedResponses"\s*:\s*\[')
_LONGEST_NAME: Final = 256  # bytes that the above may take, white space and all

# A string as a whole, a bracket, or, last, the quote of a string whose end has not come.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|"', re.DOTALL)
_SEPARATOR: Final = re.compile(rb"[\s,]*")
_PLAIN: Final = re.compile(rb'[^\s,\[\]{}"]+(?=[\s,\]])')  # a number or a word, with what shows that it is whole


class EndsEarly(Exception):
    """The stream ended within an array of responses."""


class ResponseScanner:
    """Takes chunks, gives the responses of the first array that has any, and the outline.

    Holds the outline and one unfinished response, at most `max_bytes` of it and a chunk.
    """

    def __init__(self, *, max_bytes: int = MAX_LINE_BYTES) -> None:
        self.outline = bytearray()
        self.has_ended = False
        """Whether an array that had responses has come to its end: there is nothing more to be had."""
        self._max_bytes = max_bytes
        self._pending = b""
        self._look_again_at = 0
        self._is_within = False
        self._count = 0
        self._given = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The responses that `chunk` ends, in order, as they stand. Raises `LineTooLong`."""
        data = self._pending + chunk
        if len(data) < self._look_again_at:
            self._pending = data
            return []
        found: list[bytes] = []
        place = 0
        while True:
            was_within = self._is_within
            place = self._read_array(data, place, found) if was_within else self._read_outline(data, place)
            if self._is_within == was_within:
                break
        self._pending = data[place:]
        # A long response is looked at anew when it has grown by half, not with each chunk.
        self._look_again_at = len(self._pending) * 3 // 2 if self._is_within else 0
        if len(self._pending) > self._max_bytes:
            raise LineTooLong(line=self._given + len(found) + 1, limit=self._max_bytes)
        self._given += len(found)
        return found

    def finish(self) -> list[bytes]:
        """The responses that were still held; the outline is whole then. Raises `EndsEarly`."""
        self._look_again_at = 0
        found = self.feed(b"")
        if self._is_within:
            raise EndsEarly
        self.outline += self._pending
        self._pending = b""
        return found

    def _read_outline(self, data: bytes, place: int) -> int:
        array = _ARRAY.search(data, place)
        if array is not None:
            self.outline += data[place : array.end()]
            self._is_within, self._count = True, 0
            return array.end()
        safe = max(place, len(data) - _LONGEST_NAME)
        self.outline += data[place:safe]
        return safe

    def _read_array(self, data: bytes, place: int, found: list[bytes]) -> int:
        while True:
            separator = _SEPARATOR.match(data, place)
            place = place if separator is None else separator.end()
            if data[place : place + 1] == b"]":
                self.outline += str(self._count).encode()
                self.has_ended = self.has_ended or self._count > 0
                self._is_within = False
                return place
            end = _end_of_value(data, place)
            if end is None:
                return place
            self._count += 1
            if not self.has_ended:
                found.append(data[place:end])
            place = end


def _end_of_value(data: bytes, place: int) -> int | None:
    """Where the value that begins at `place` ends; None when that has not come."""
    if data[place : place + 1] not in (b"{", b"[", b'"'):
        plain = _PLAIN.match(data, place)
        return None if plain is None else plain.end()
    depth = 0
    for token in _TOKEN.finditer(data, place):
        first = data[token.start()]
        if first == 0x22:  # a quote
            if token.end() - token.start() == 1:
                return None
        elif first in b"[{":
            depth += 1
        else:
            depth -= 1
        if not depth:
            return token.end()
    return None
