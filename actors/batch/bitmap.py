"""A set of line numbers in an eighth of a byte for each: what a batch of any size can keep in its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, field

Ranges = Sequence[tuple[int, int]]
"""Ascending numbers as ranges with both ends included."""


class Bitmap(Struct):
    """Numbers from 0 on. It grows to the highest that was added."""

    bits: bytearray = field(default_factory=bytearray)

    def __contains__(self, number: int) -> bool:
        byte = number >> 3
        return 0 <= byte < len(self.bits) and bool(self.bits[byte] >> (number & 7) & 1)

    def add(self, number: int) -> bool:
        """Adds `number`; False if it was there."""
        if number in self:
            return False
        byte = number >> 3
        if byte >= len(self.bits):
            self.bits.extend(bytes(byte + 1 - len(self.bits)))
        self.bits[byte] |= 1 << (number & 7)
        return True

    def discard(self, number: int) -> bool:
        """Takes `number` out; False if it was not there."""
        if number not in self:
            return False
        self.bits[number >> 3] &= ~(1 << (number & 7))
        return True

    def count(self, first: int, last: int) -> int:
        """How many of the numbers `first` to `last`, both included, are in it."""
        window = int.from_bytes(self.bits[first >> 3 : (last >> 3) + 1], "little") >> (first & 7)
        return (window & (1 << max(0, last - first + 1)) - 1).bit_count()

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """The numbers `first` to `last` that are not in it, as ranges with both ends included."""
        return runs(number for number in range(first, last + 1) if number not in self)

    def runs(self, first: int, last: int) -> list[tuple[int, int]]:
        """Those of the numbers `first` to `last` that are in it, as ranges with both ends included."""
        return runs(number for number in range(first, last + 1) if number in self)


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges with both ends included."""
    ranges: list[tuple[int, int]] = []
    start = last = -1
    for number in numbers:
        if number != last + 1 or start < 0:
            if start >= 0:
                ranges.append((start, last))
            start = number
        last = number
    if start >= 0:
        ranges.append((start, last))
    return ranges


def size_of(ranges: Ranges) -> int:
    """How many numbers lie in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)


def within(ranges: Ranges, first: int, last: int) -> Ranges:
    """What of `ranges` lies between `first` and `last`, both included."""
    return [(max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first]
