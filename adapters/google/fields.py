"""Fields as Google writes them: 64-bit numbers and times are text. Pure, and never raises."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


def number(said: str | int | None) -> int:
    """A 64-bit number, which comes as text; absent means zero."""
    if isinstance(said, str):
        return int(said) if said.isdecimal() else 0
    return said or 0


def time_us(said: str | None) -> int | None:
    """An RFC 3339 time in µs since 1970 UTC; None for none, and for what is no time."""
    try:
        at = None if said is None else msgspec.convert(said, datetime, strict=False)
    except msgspec.ValidationError:
        return None
    return None if at is None else round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1_000_000)
