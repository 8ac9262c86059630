"""Durations as people write them: `90`, `250ms`, `1.5h`. Seconds, where no unit is given."""

from __future__ import annotations

import re
from typing import Final

from perdure.events.errors import InvalidRequest

_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"\s*(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(?P<unit>ms|s|m|h|d|)\s*", re.ASCII)

LONGEST_S: Final = 366 * 86_400.0
"""A year: what is longer is a mistake of units."""


def parse_duration(value: str | float, *, field: str = "duration") -> float:
    """`value` in seconds: a number, or text of a number with the unit `ms`, `s`, `m`, `h` or `d`.

    Raises `InvalidRequest` that names `field`: for junk, for what is negative or not finite, and beyond a year.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else -1.0
    else:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    if not 0 <= seconds <= LONGEST_S:
        raise InvalidRequest(
            f"{field} is not a duration: write seconds, or a number with ms, s, m, h or d, such as 90, 250ms or 1.5h, "
            "up to 366d",
            field=field,
            limit="0 to 366d",
            value=value,
        )
    return seconds
