"""Which line stands where in a batch whose requests went into the call: told by the batch's own name. Pure.

Google gives responses in the order of the requests, and the key of each in its `metadata`; users have met responses
without (the forum of Google's developers, "Gemini Batch API doesn't return the user metadata back", 2025). Whoever has
paid for them must still know which is which. So the numbers of the lines are planted in the batch's display name behind
its identity: `<identity> <prefix>0+500,501+3` is the lines 0 to 499 and 501 to 503, whose ids are the prefix and a
number. They are believed only for as many responses as there were requests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

MAX_CHARACTERS: Final = 100
"""How long the numbers may be in a name; with more gaps than fit they are left out, and keys alone tell. Ours."""

_TEXT: Final = re.compile(r"(?P<prefix>\S*-)(?P<runs>\d{1,12}\+\d{1,12}(?:,\d{1,12}\+\d{1,12})*)")
_ID: Final = re.compile(r"(\S*-)(0|[1-9]\d{0,11})")


class Places(Struct, frozen=True):
    """Lines in their order: the first of each run of lines and how many they are. `prefix` begins all ids."""

    prefix: str
    runs: Sequence[tuple[int, int]]

    def text(self) -> str:
        """As it stands in a name."""
        return self.prefix + ",".join(f"{first}+{count}" for first, count in self.runs)

    def count(self) -> int:
        """How many lines there are."""
        return sum(count for _, count in self.runs)

    def line_id(self, place: int) -> str:
        """The id of the line at a place, from 0; "" behind the last."""
        for first, count in self.runs:
            if place < count:
                return f"{self.prefix}{first + place}"
            place -= count
        return ""


class Placing:
    """Makes `Places` of line ids in their order."""

    def __init__(self) -> None:
        self._prefix: str | None = None
        self._runs: list[tuple[int, int]] = []
        self._is_odd = False

    def add(self, line_id: str) -> None:
        """Takes the next line."""
        found = _ID.fullmatch(line_id)
        if found is None or self._prefix not in (None, found[1]):
            self._is_odd = True
            return
        self._prefix, number = found[1], int(found[2])
        first, count = self._runs[-1] if self._runs else (-1, 0)
        if self._runs and number == first + count:
            self._runs[-1] = (first, count + 1)
        else:
            self._runs.append((number, 1))

    def places(self) -> Places | None:
        """The places; None where they cannot be told in a few words."""
        if self._is_odd or not self._prefix:
            return None
        places = Places(self._prefix, tuple(self._runs))
        return places if len(places.text()) <= MAX_CHARACTERS else None


def parse_places(text: str) -> Places | None:
    """What `Places.text` wrote; None for anything else."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    runs = [run.partition("+") for run in found["runs"].split(",")]
    return Places(found["prefix"], tuple((int(first), int(count)) for first, _, count in runs))
