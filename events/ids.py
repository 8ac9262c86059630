"""Ids: a prefix that names the kind, an underscore, and a full-width UUIDv7 in 32 hexadecimal digits.

An id sorts by the time it was made and carries 74 random bits, so it is never checked against those that exist (W-33).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

ID_PREFIXES: Final = (
    "batch",
    "req",
    "pfile",
    "file",
    "img",
    "aud",
    "vid",
    "ses",
    "str",
    "gen",
    "log",
    "orphan",
    "budget",
)
"""Every prefix that an id of ours may have; a caller's key may not begin with one of them and an underscore."""

_ID = re.compile(r"(?P<prefix>[a-z]+)_(?P<hex>[0-9a-f]{32})")

IdSource = Callable[[str], str]
"""Makes a new id for a prefix. Simulations pass a seeded one."""


def now_us() -> int:
    """The wall clock, in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000


def make_id(prefix: str, at_us: int, random_bits: int) -> str:
    """The id of `prefix` for a time (µs since 1970, UTC) and 74 random bits, laid out as in RFC 9562 section 5.7."""
    high, low = random_bits >> 62 & 0xFFF, random_bits & (1 << 62) - 1
    value = (at_us // 1_000 & (1 << 48) - 1) << 80 | 7 << 76 | high << 64 | 2 << 62 | low
    return f"{prefix}_{value:032x}"


def new_id(prefix: str) -> str:
    """A new id from the wall clock and the system's randomness."""
    return make_id(prefix, now_us(), secrets.randbits(74))


def derived_id(prefix: str, parent: str, ordinal: int) -> str:
    """The id of the `ordinal`-th thing that `parent` owns: the same for ever, so that asking twice makes one thing.

    It keeps the parent's time; the random bits are a hash of parent, prefix and ordinal.
    """
    digest = hashlib.sha256(f"{parent}\0{prefix}\0{ordinal}".encode()).digest()
    milliseconds = int(parent.rpartition("_")[2][:12], 16)
    return make_id(prefix, milliseconds * 1_000, int.from_bytes(digest[:10], "big"))


def prefix_of(identifier: str) -> str | None:
    """The prefix of one of our ids, or None when `identifier` is not one."""
    match = _ID.fullmatch(identifier)
    return match["prefix"] if match and match["prefix"] in ID_PREFIXES else None
