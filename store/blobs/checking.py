"""Reading a stored blob: its header, parts of its content, and whether the content still has its digest.

Everything here blocks and runs inside a hop.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final, Protocol

from perdure.store.blobs.layout import HEADER_BYTES, BadHeader, Blob, decode_header

_BLOCK_BYTES: Final = 1 << 20


class Damaged(Exception):
    """What is stored is not what its name says. The text is the reason, fit for an error message."""


class Stored(Protocol):
    """Header and content of a blob, wherever they are."""

    def size(self) -> int:
        """The bytes of both. Raises OSError."""
        ...

    def part(self, length: int, offset: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end. Raises OSError."""
        ...


class StoredFile:
    """A blob's own file, open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def size(self) -> int:
        """See `Stored`."""
        return os.fstat(self._descriptor).st_size

    def part(self, length: int, offset: int) -> bytes:
        """See `Stored`."""
        return os.pread(self._descriptor, length, offset)


class StoredRow:
    """What a row holds."""

    def __init__(self, file: bytes) -> None:
        self._file = file

    def size(self) -> int:
        """See `Stored`."""
        return len(self._file)

    def part(self, length: int, offset: int) -> bytes:
        """See `Stored`."""
        return self._file[offset : offset + length]


def describe(stored: Stored, digest: str) -> Blob:
    """What its header and its size say about a blob. Raises `Damaged`, OSError."""
    try:
        key_id = decode_header(stored.part(HEADER_BYTES, 0))
    except BadHeader as error:
        raise Damaged(f"it is damaged: {error}") from error
    return Blob(digest, stored.size() - HEADER_BYTES, key_id)


def check(stored: Stored, digest: str) -> Blob:
    """Reads the whole content, in bounded memory, and compares it with its digest. Raises `Damaged`, OSError."""
    blob = describe(stored, digest)
    content = hashlib.sha256()
    offset = HEADER_BYTES
    while block := stored.part(_BLOCK_BYTES, offset):
        content.update(block)
        offset += len(block)
    if content.hexdigest() != digest:
        raise Damaged(f"it is damaged: its {offset - HEADER_BYTES} bytes have the digest {content.hexdigest()}")
    return blob


def read_part(stored: Stored, offset: int, length: int | None) -> bytes:
    """`length` content bytes from `offset` (None: all that follow). Raises `Damaged` if they are not there; OSError."""
    size = stored.size() - HEADER_BYTES
    wanted = max(size - offset, 0) if length is None else length
    if offset > size or offset + wanted > size:
        raise Damaged(f"it holds {size} bytes and {wanted} from offset {offset} were asked for")
    part = stored.part(wanted, HEADER_BYTES + offset)
    if len(part) < wanted:
        # One call gives 2 GiB at most.
        parts = [part]
        got = len(part)
        while got < wanted and parts[-1]:
            parts.append(stored.part(wanted - got, HEADER_BYTES + offset + got))
            got += len(parts[-1])
        part = b"".join(parts)
        if got < wanted:
            raise Damaged(f"it became shorter while it was read, at byte {offset + got}")
    return part
