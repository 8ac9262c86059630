"""Signatures: which types the first bytes of a file may belong to, by the tables of a library.

The library compares each of its 1,400 rows with every file, which took longer than storing a small one. Here the rows
are looked up: those that begin at one place, with one byte, and have one length lie in one mapping. What comes out is
the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, cast

import puremagic


class _Row(Protocol):
    """A signature of the library: `byte_match` stands at `offset`, from the end where that is negative. Its MIME type
    may be ""."""

    @property
    def mime_type(self) -> str: ...

    @property
    def byte_match(self) -> bytes: ...

    @property
    def offset(self) -> int: ...


def find_signatures(head: bytes) -> list[tuple[str, int]]:
    """MIME types whose signature `head` has, with the signature's length; the longest first."""
    # In the library's own order, which decides between those of one length.
    rows = sorted(_matching(head), key=lambda row: (row.offset < 0, row.byte_match))
    found = [(row, len(row.byte_match)) for row in rows]
    for row in rows:
        for more in _continued().get(row.byte_match, ()):
            if _stands(more, head):
                length = len(more.byte_match)
                # At the end it adds its own length; before that, it is all from the first one to the end of this one.
                found.append(
                    (more, len(row.byte_match) + length if more.offset < 0 else more.offset + length - row.offset)
                )
    found.sort(key=lambda match: match[1], reverse=True)
    return [(row.mime_type, length) for row, length in found if row.mime_type]


def _matching(head: bytes) -> Iterator[_Row]:
    size = len(head)
    for offset, by_first in _tables():
        if -size <= offset < size:
            for length, rows in by_first.get(head[offset], {}).items():
                yield from rows.get(_part(head, offset, length), ())


def _stands(row: _Row, head: bytes) -> bool:
    return _part(head, row.offset, len(row.byte_match)) == row.byte_match


def _part(head: bytes, offset: int, length: int) -> bytes:
    """The bytes at `offset`; counted from the end, the last of them has offset -1."""
    return head[offset : (offset + length) or None]


@functools.cache
def _tables() -> Sequence[tuple[int, Mapping[int, Mapping[int, Mapping[bytes, Sequence[_Row]]]]]]:
    """The rows by offset, first byte, length, and all their bytes."""
    # The library's own annotations leave out what the rows hold.
    rows = cast("Iterable[_Row]", (*puremagic.magic_header_array, *puremagic.magic_footer_array))
    tables: dict[int, dict[int, dict[int, dict[bytes, list[_Row]]]]] = {}
    for row in rows:
        by_length = tables.setdefault(row.offset, {}).setdefault(row.byte_match[0], {})
        by_length.setdefault(len(row.byte_match), {}).setdefault(row.byte_match, []).append(row)
    return list(tables.items())


def _continued() -> Mapping[bytes, Sequence[_Row]]:
    """What may stand further on in files that have a signature: then they are of a more exact type."""
    return cast("Mapping[bytes, Sequence[_Row]]", puremagic.multi_part_dict)
