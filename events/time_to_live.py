"""How long a file lives: a number of seconds, or for good."""

from __future__ import annotations

from typing import Final, Literal

from perdure.events.errors import InvalidRequest

TimeToLive = int | Literal["persistent"]
"""Seconds from the upload on, or `"persistent"`: until it is deleted."""

SHORTEST_S: Final = 60
LONGEST_S: Final = 30 * 86_400
DEFAULT_S: Final = 86_400


def check_ttl(value: object, *, field: str = "ttl_s") -> TimeToLive:
    """`value`, if it is a whole number of seconds from 60 to 2,592,000 (30 days) or `"persistent"`.

    Raises `InvalidRequest` that names `field` for everything else: numbers in text, fractions and bool among it.
    """
    if value == "persistent" and isinstance(value, str):
        return "persistent"
    if isinstance(value, int) and not isinstance(value, bool) and SHORTEST_S <= value <= LONGEST_S:
        return value
    raise InvalidRequest(
        f'{field} is not a time to live: give whole seconds from {SHORTEST_S} to {LONGEST_S}, or "persistent"',
        field=field,
        limit=f'{SHORTEST_S} to {LONGEST_S}, or "persistent"',
        value=value,
    )
