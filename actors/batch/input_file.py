"""A part's input file: the lines that were collected, without those that were abandoned before the window closed.

What is left out is known from the log, so the file is the same however often it is put together.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.bitmap import Ranges


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
