"""Looking signatures up finds what walking the library's tables finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import puremagic
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.sources.signatures import find_signatures
from tests.actors.sources.samples import SAMPLES


class Row(Protocol):
    """A signature of the library."""

    byte_match: bytes
    offset: int
    mime_type: str


HEADS = cast("Sequence[Row]", puremagic.magic_header_array)
FEET = cast("Sequence[Row]", puremagic.magic_footer_array)
PAIRS = [
    (first, second)
    for first, options in cast("dict[bytes, Sequence[Row]]", puremagic.multi_part_dict).items()
    for second in options
]


def by_the_library(head: bytes) -> list[tuple[str, int]]:
    try:
        found = cast("Sequence[Row]", puremagic.magic_string(head))  # pyright: ignore[reportUnknownMemberType]
    except (puremagic.PureError, ValueError):
        return []
    return [(match.mime_type, len(match.byte_match)) for match in found if match.mime_type]


def put(head: bytearray, offset: int, what: bytes) -> None:
    """Writes `what` at `offset`, from the end where that is negative."""
    if offset < 0:
        head.extend(bytes(max(0, -offset - len(head))))
        offset += len(head)
    head.extend(bytes(max(0, offset + len(what) - len(head))))
    head[offset : offset + len(what)] = what


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Any bytes, with signatures in them where they belong."""
    head = bytearray(draw(st.binary(max_size=600)))
    for row in draw(st.lists(st.sampled_from([*HEADS, *FEET]), max_size=3)):
        if row.offset < 4_096:
            put(head, row.offset, row.byte_match)
    if draw(st.booleans()):
        first, second = draw(st.sampled_from(PAIRS))
        put(head, 0, first)
        put(head, second.offset, second.byte_match)
    return bytes(head)


def same(head: bytes) -> bool:
    ours, theirs = find_signatures(head), by_the_library(head)
    # The library drops some of what it finds twice, in an order of its own among those of one length.
    return set(ours) == set(theirs) and [size for _, size in ours[:1]] == [size for _, size in theirs[:1]]


@given(heads())
def test_what_is_looked_up_is_what_the_library_finds(head: bytes) -> None:
    assert same(head)


def test_every_row_of_the_library_is_found() -> None:
    for row in HEADS:
        if row.offset < 4_096:
            head = bytearray()
            put(head, row.offset, row.byte_match)
            assert not row.mime_type or (row.mime_type, len(row.byte_match)) in find_signatures(bytes(head))


def test_samples_are_found_alike() -> None:
    assert all(same(head) for head in SAMPLES.values())
