"""Splitting a stream of bytes into lines: sans-IO, for every source that speaks JSONL.

What a line says is not looked at. The invariant: however the bytes are cut into chunks, the same lines come out, and a
line's place in the stream follows from the lines before it (each takes its own bytes plus one newline).
"""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 64 << 20
"""The longest line that is taken, in bytes. Ours: some ten generated images as base64 in one line stay below it, and a
stream without newlines cannot fill the memory."""


class LineTooLong(Exception):
    """A line is longer than `limit` bytes. `line` counts from 1 within the stream."""

    def __init__(self, *, line: int, limit: int) -> None:
        super().__init__(f"line {line} is longer than {limit} bytes")
        self.line = line
        self.limit = limit


class LineSplitter:
    """Takes chunks, gives lines without their newlines. Empty lines are lines.

    Only a line feed ends a line; a carriage return before it stays in the line, where JSON takes it for white space.

    Holds one unfinished line, at most `max_line_bytes` and a chunk.
    """

    __slots__ = ("_lines", "_max_line_bytes", "_parts", "_pending_bytes")

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._pending_bytes = 0
        self._lines = 0

    @property
    def pending_bytes(self) -> int:
        """How many bytes of a line are held whose end has not come."""
        return self._pending_bytes

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` ends, in order. Raises `LineTooLong`; the splitter is of no more use then."""
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            self._hold(tail)
            return []
        if self._parts:
            head = b"".join([*self._parts, head])
            self._parts.clear()
            self._pending_bytes = 0
        lines = head.split(b"\n")
        if len(head) > self._max_line_bytes:
            self._check(lines)
        self._lines += len(lines)
        self._hold(tail)
        return lines

    def finish(self) -> bytes | None:
        """What stood behind the last newline, None for nothing. The splitter is empty then."""
        last = b"".join(self._parts)
        self._parts.clear()
        self._pending_bytes = 0
        return last or None

    def _hold(self, tail: bytes) -> None:
        if not tail:
            return
        self._parts.append(tail)
        self._pending_bytes += len(tail)
        if self._pending_bytes > self._max_line_bytes:
            raise LineTooLong(line=self._lines + 1, limit=self._max_line_bytes)

    def _check(self, lines: list[bytes]) -> None:
        for line_number, line in enumerate(lines, self._lines + 1):
            if len(line) > self._max_line_bytes:
                raise LineTooLong(line=line_number, limit=self._max_line_bytes)
