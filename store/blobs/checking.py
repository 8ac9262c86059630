"""Reading a blob's file: its header, parts of its content, and whether the content still has its digest.

Everything here blocks and runs inside a hop.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from perdure.store.blobs.layout import HEADER_BYTES, BadHeader, Blob, decode_header

_BLOCK_BYTES: Final = 1 << 20


class Damaged(Exception):
    """A blob's file is not what its name says. The text is the reason, fit for an error message."""


def describe(descriptor: int, digest: str) -> Blob:
    """What the header and the file's size say about a blob. Raises `Damaged`, OSError."""
    try:
        key_id = decode_header(os.pread(descriptor, HEADER_BYTES, 0))
    except BadHeader as error:
        raise Damaged(f"it is damaged: {error}") from error
    return Blob(digest, os.fstat(descriptor).st_size - HEADER_BYTES, key_id)


def check(descriptor: int, digest: str) -> Blob:
    """Reads the whole content, in bounded memory, and compares it with its digest. Raises `Damaged`, OSError."""
    blob = describe(descriptor, digest)
    content = hashlib.sha256()
    offset = HEADER_BYTES
    while block := os.pread(descriptor, _BLOCK_BYTES, offset):
        content.update(block)
        offset += len(block)
    if content.hexdigest() != digest:
        raise Damaged(f"it is damaged: its {offset - HEADER_BYTES} bytes have the digest {content.hexdigest()}")
    return blob


def read_part(descriptor: int, offset: int, length: int | None) -> bytes:
    """`length` content bytes from `offset` (None: all that follow). Raises `Damaged` if they are not there; OSError."""
    size = os.fstat(descriptor).st_size - HEADER_BYTES
    wanted = max(size - offset, 0) if length is None else length
    if offset > size or offset + wanted > size:
        raise Damaged(f"it holds {size} bytes and {wanted} from offset {offset} were asked for")
    part = os.pread(descriptor, wanted, HEADER_BYTES + offset)
    if len(part) < wanted:
        # One call gives 2 GiB at most.
        parts = [part]
        got = len(part)
        while got < wanted and parts[-1]:
            parts.append(os.pread(descriptor, wanted - got, HEADER_BYTES + offset + got))
            got += len(parts[-1])
        part = b"".join(parts)
        if got < wanted:
            raise Damaged(f"it became shorter while it was read, at byte {offset + got}")
    return part
