"""Lines do not depend on how their bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.jsonl import LineSplitter, LineTooLong

_BYTES = st.lists(st.sampled_from([b"\n", b"\r", b"{", b"\xc3\xa9", b"ab"]), max_size=40).map(b"".join)


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if place <= len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def _split(chunks: list[bytes]) -> tuple[list[bytes], bytes | None]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines, splitter.finish()


@given(_BYTES, st.lists(st.integers(0, 80), max_size=12))
def test_any_chunks_give_the_same_lines(data: bytes, places: list[int]) -> None:
    *lines, last = data.split(b"\n")
    assert _split(_cut(data, places)) == (lines, last or None)


@given(_BYTES, st.lists(st.integers(0, 80), max_size=12))
def test_lines_account_for_every_byte(data: bytes, places: list[int]) -> None:
    lines, last = _split(_cut(data, places))
    assert sum(len(line) + 1 for line in lines) + len(last or b"") == len(data)


@given(_BYTES, st.integers(0, 80))
def test_resuming_behind_a_line_gives_the_rest(data: bytes, taken: int) -> None:
    lines, last = _split([data])
    taken = min(taken, len(lines))
    offset = sum(len(line) + 1 for line in lines[:taken])
    assert _split([data[offset:]]) == (lines[taken:], last)


def test_a_splitter_that_finished_is_empty() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a\nbc") == [b"a"]
    assert splitter.pending_bytes == 2
    assert splitter.finish() == b"bc"
    assert (splitter.pending_bytes, splitter.finish()) == (0, None)


@pytest.mark.parametrize(
    "chunks",
    [[b"a\n12345"], [b"a\n", b"123", b"45"], [b"a\n12345\nb\n"], [b"a\n12", b"345\n"]],
    ids=["at once", "in pieces", "with its end", "whole in the second piece"],
)
def test_a_line_over_the_limit_is_named(chunks: list[bytes]) -> None:
    splitter = LineSplitter(max_line_bytes=4)
    with pytest.raises(LineTooLong) as caught:
        list(map(splitter.feed, chunks))
    assert (caught.value.line, caught.value.limit) == (2, 4)


def test_many_short_lines_in_one_chunk_are_not_too_long() -> None:
    assert LineSplitter(max_line_bytes=4).feed(b"1234\n1234\n") == [b"1234", b"1234"]
