"""The chain over commits: what makes an edited, dropped or reordered record show.

The hash of a commit is SHA-256 over, in this order: the hash of the commit before it (32 bytes, zeros for the first),
the MessagePack array [first position, last position, time], and for each record in order of position the MessagePack
array of the thirteen fields of `perdure.events.event.Recorded`, in their order, with the payload as stored. MessagePack
writes the length before every string, so no two different commits have the same bytes under the hash.

The chain is not keyed: whoever can write the file can compute it anew. Its head, kept elsewhere, is what proves that
nothing was cut off or rewritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

GENESIS: Final = bytes(32)
"""What stands in for the hash before the first commit."""

ChainRecord: TypeAlias = tuple[int, str, str, str, int, str, int, int, str, str, str, str | None, bytes]
"""The fields of `Recorded`, in their order."""

_encode = msgspec.msgpack.Encoder().encode


def link(
    previous: bytes,
    first: int,
    last: int,
    at: int,
    records: Iterable[ChainRecord | tuple[str | int | bytes | None, ...]],
) -> bytes:
    """The hash of a commit: `previous` is the hash before it, `at` its time in µs since 1970 UTC.

    What was read back from a damaged file may have other types in its fields than a `ChainRecord`.
    """
    return hashlib.sha256(b"".join((previous, _encode((first, last, at)), *map(_encode, records)))).digest()
