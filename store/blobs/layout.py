"""How a blob lies on disk: its name, its folder, its header.

    <root>/<first two hex digits>/<digest>      0600, in folders 0700
    <root>/small.db                             what is too small for a file of its own; see `small.py`
    <root>/tmp/<writer>/<number>                files being written; see `scratch.py`

A blob file is a header of `HEADER_BYTES` bytes and the content, nothing after it:

    offset  bytes  meaning
    0       6      magic, 0x89 "PBLB" 0x0A
    6       2      format version, big endian; 1
    8       4      `key_id`, big endian; 0: the content is plain
    12      4      CRC-32 of the twelve bytes before, big endian

The digest is the SHA-256 of the content as stored (sealed content: of the sealed bytes), in 64 lower-case hex digits;
the header is not part of it. The invariant: a file under its digest is whole, because it was synced under another name
first. Everything here blocks and runs inside a hop.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from pathlib import Path
from typing import Final

from msgspec import Struct

HEADER_BYTES: Final = 16
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
MAX_KEY_ID: Final = 0xFFFF_FFFF

_MAGIC: Final = b"\x89PBLB\n"
_VERSION: Final = 1
_FIELDS: Final = struct.Struct(">6sHI")
_CHECK: Final = struct.Struct(">I")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Blob(Struct, frozen=True):
    """A stored blob: its digest (64 hex digits), the bytes of its content, and the key that seals it (0: plain)."""

    digest: str
    size_bytes: int
    key_id: int = 0


class BadHeader(ValueError):
    """The first bytes of a file are not the header of a blob."""


def is_digest(text: str) -> bool:
    """Whether `text` can name a blob. Nothing else may ever become part of a path."""
    return _DIGEST.fullmatch(text) is not None


def folder_of(root: Path, digest: str) -> Path:
    """The folder that holds the blob."""
    return root / digest[:2]


def path_of(root: Path, digest: str) -> Path:
    """The file that holds the blob."""
    return root / digest[:2] / digest


def is_folder_name(name: str) -> bool:
    """Whether a name in the root is a folder of blobs."""
    return len(name) == 2 and all(character in "0123456789abcdef" for character in name)


def encode_header(key_id: int) -> bytes:
    """The header of a blob sealed with `key_id` (0: plain). Raises ValueError for a number that does not fit."""
    if not 0 <= key_id <= MAX_KEY_ID:
        raise ValueError(f"key_id {key_id} is not in 0 to {MAX_KEY_ID}")
    fields = _FIELDS.pack(_MAGIC, _VERSION, key_id)
    return fields + _CHECK.pack(zlib.crc32(fields))


def decode_header(header: bytes) -> int:
    """The `key_id` in a header. Raises `BadHeader` with the reason."""
    if len(header) < HEADER_BYTES:
        raise BadHeader(f"it has {len(header)} of {HEADER_BYTES} header bytes")
    fields = header[: _FIELDS.size]
    magic, version, key_id = _FIELDS.unpack(fields)
    if magic != _MAGIC:
        raise BadHeader("it does not begin as a blob does")
    if _CHECK.unpack(header[_FIELDS.size : HEADER_BYTES])[0] != zlib.crc32(fields):
        raise BadHeader("its header does not match its checksum")
    if version != _VERSION:
        raise BadHeader(f"it has format version {version}, this build knows {_VERSION}")
    assert isinstance(key_id, int)
    return key_id


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all of `data`, however often the system takes only a part of it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_file(path: Path) -> None:
    """Makes a file that is there durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes the entries of a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
