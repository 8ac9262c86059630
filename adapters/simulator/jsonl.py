"""Files of lines, written in large pieces and read in order or shuffled. For threads: they block on the disk."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from perdure.adapters.simulator.multipart import ReceivedPart

_WRITE_BYTES: Final = 1 << 20


class LineFile:
    """A file that is written line by line; removed again if nothing was added to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("wb")
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._lines = 0

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        """Adds a line, given without its newline."""
        self._buffer += line
        self._buffer += b"\n"
        self._lines += 1
        if len(self._buffer) >= _WRITE_BYTES:
            self._flush()

    def finish(self) -> ReceivedPart | None:
        """Closes the file and says what it holds; None when it holds nothing and is gone."""
        self._flush()
        self._file.close()
        if not self._lines:
            self._path.unlink()
            return None
        return ReceivedPart("", self._size_bytes, self._lines, self._hash.hexdigest())

    def _flush(self) -> None:
        self._file.write(self._buffer)
        self._hash.update(self._buffer)
        self._size_bytes += len(self._buffer)
        self._buffer.clear()


def numbered_lines(source: Path, shuffled_by: random.Random | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 0, in order, or shuffled; then where each begins is remembered."""
    with source.open("rb") as file:
        if shuffled_by is None:
            yield from enumerate(file)
            return
        begins = array("Q", _offsets(file))
        order = array("L", range(len(begins)))
        shuffled_by.shuffle(order)
        for n in order:
            file.seek(begins[n])
            yield n, file.readline()


def _offsets(lines: Iterable[bytes]) -> Iterator[int]:
    at = 0
    for line in lines:
        yield at
        at += len(line)
