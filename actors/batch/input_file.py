"""A part's input: the lines that were collected, without those that were abandoned before the window closed.

What is left out is known from the log, so the input is the same however often it is put together.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from perdure.actors.batch.bitmap import Ranges, within
from perdure.actors.batch.ports import Blobs
from perdure.actors.batch.state import Chunk


class Input:
    """The lines of a part: all of `chunks` without those `left_out`. Holds one chunk at a time."""

    def __init__(self, blobs: Blobs, chunks: Sequence[Chunk], left_out: Ranges) -> None:
        self._blobs = blobs
        self._chunks = chunks
        self._left_out = left_out

    async def pieces(self) -> AsyncGenerator[tuple[Chunk, bytes | None]]:
        """Each chunk that has lines of the part, with what is left of it, None for all of it. Raises `BlobLost`."""
        for chunk in self._chunks:
            left_out = within(self._left_out, chunk.first, chunk.first + chunk.count - 1)
            if not left_out:
                yield chunk, None
            elif rest := without(await self._blobs.read(chunk.blob), chunk.first, left_out):
                yield chunk, rest

    async def size_bytes(self) -> int:
        """The bytes of all lines. Raises `BlobLost`."""
        async with aclosing(self.pieces()) as pieces:
            return sum([chunk.size_bytes if rest is None else len(rest) async for chunk, rest in pieces])

    async def runs(self) -> AsyncGenerator[bytes]:
        """The lines in runs of whole ones. Raises `BlobLost`."""
        async with aclosing(self.pieces()) as pieces:
            async for chunk, rest in pieces:
                yield await self._blobs.read(chunk.blob) if rest is None else rest


def without(data: bytes, first: int, left_out: Ranges) -> bytes:
    """A run of lines, the first of which has the number `first`, without some of them; b"" when none is left."""
    return b"".join(
        line
        for number, line in enumerate(split_lines(data), first)
        if not any(low <= number <= high for low, high in left_out)
    )


def split_lines(data: bytes) -> Sequence[bytes]:
    """The lines of a run, each with the newline at its end."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def number_of(line: int, first: int, left_out: Ranges) -> int:
    """The number of the `line`-th line (from 1) of a file that begins with the lines from `first` on."""
    number = first + line - 1
    for low, high in left_out:
        if low <= number:
            number += high - low + 1
    return number
