"""Sets of line numbers, and input files without some lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.batch.bitmap import Bitmap, runs, size_of, within
from perdure.actors.batch.input_file import number_of, without

numbers = st.sets(st.integers(0, 70))


@given(numbers, numbers, st.integers(0, 70), st.integers(0, 70))
def test_a_bitmap_is_a_set(added: set[int], taken: set[int], one: int, other: int) -> None:
    bitmap = Bitmap()
    assert all(bitmap.add(number) for number in added)
    assert not any(bitmap.add(number) for number in added)
    assert {number for number in taken if bitmap.discard(number)} == taken & added
    left = added - taken
    assert {number for number in range(-3, 200) if number in bitmap} == left
    first, last = sorted((one, other))
    inside = {number for number in left if first <= number <= last}
    assert bitmap.count(first, last) == len(inside)
    assert bitmap.runs(first, last) == runs(sorted(inside))
    assert size_of(bitmap.gaps(first, last)) == last - first + 1 - len(inside)


def test_runs_have_both_ends() -> None:
    assert runs([]) == []
    assert runs([0, 1, 2, 5, 7, 8]) == [(0, 2), (5, 5), (7, 8)]


@given(st.integers(0, 20), st.integers(1, 12), numbers)
def test_lines_left_out_of_a_file_are_skipped_when_it_is_counted(first: int, count: int, gone: set[int]) -> None:
    lines = [b"%d\n" % number for number in range(first, first + count)]
    left_out = within(runs(sorted(gone)), first, first + count - 1)
    kept = without(b"".join(lines), first, left_out).splitlines()
    assert [int(line) for line in kept] == [number for number in range(first, first + count) if number not in gone]
    assert [number_of(place, first, left_out) for place in range(1, len(kept) + 1)] == [int(line) for line in kept]
