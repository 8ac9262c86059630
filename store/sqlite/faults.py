"""What SQLite's errors mean to us: which are a full disk, a damaged file, a foreign lock.

SQLite's result codes are documented at https://www.sqlite.org/rescode.html; the low byte is the primary code.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Final

from perdure.events.errors import Corrupt, DiskFull, PerdureError, Unavailable

_REFUSES_WRITES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

RETRY_AFTER_S: Final = 1.0
"""What a caller is told to wait after a fault that may pass: long enough for a lock or a log rotation to end."""


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error that the driver made itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_full(error: sqlite3.Error) -> bool:
    """Whether a write was refused because there is no room for it."""
    return primary_code(error) == sqlite3.SQLITE_FULL


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite found the file itself to be inconsistent."""
    return primary_code(error) in _DAMAGED


def translate(error: sqlite3.Error, path: Path, doing: str) -> PerdureError:
    """The error of ours for one of SQLite's. Whether anything was written is for the caller to say."""
    code = primary_code(error)
    text = f"{path}: {doing} failed: {error}"
    if code in _REFUSES_WRITES:
        remedy = "make room on the disk" if code == sqlite3.SQLITE_FULL else "make the file writable"
        return DiskFull(f"{text}; {remedy}", retry_after_s=RETRY_AFTER_S)
    if code in _DAMAGED:
        return Corrupt(f"{text}; restore the log from a copy", reason=str(error))
    if code in _BUSY:
        return Unavailable(
            f"{text}; another program holds SQLite's own lock, end its transaction", retry_after_s=RETRY_AFTER_S
        )
    return Unavailable(f"{text}; look at the disk", retry_after_s=RETRY_AFTER_S)


def translate_os(error: OSError, path: Path, doing: str) -> PerdureError:
    """The error of ours for one of the operating system's."""
    text = f"{path}: {doing} failed: {error.strerror or error}"
    if error.errno in _NO_SPACE:
        return DiskFull(f"{text}; make room on the disk", retry_after_s=RETRY_AFTER_S)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return DiskFull(f"{text}; make it writable")
    return Unavailable(f"{text}; look at the disk", retry_after_s=RETRY_AFTER_S)
