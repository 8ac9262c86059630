"""What an error of the operating system means to whoever stores or reads a blob."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Final

from perdure.events.errors import BlobLost, DiskFull, PerdureError, Unavailable
from perdure.store.sqlite.faults import primary_code

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_FULL_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_DAMAGED: Final = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EISDIR, errno.ELOOP})


def not_stored(error: OSError | sqlite3.Error, root: Path) -> PerdureError:
    """The error for a write that failed: `DiskFull` where there is no room, else `Unavailable`. Nothing was stored."""
    refusal: PerdureError
    if isinstance(error, OSError):
        reason, full = error.strerror or str(error), error.errno in _FULL
    else:
        reason, full = str(error), primary_code(error) in _FULL_CODES
    if full:
        refusal = DiskFull(f"a blob was not stored: {root}: {reason}; free space or make it writable, then try again")
    else:
        refusal = Unavailable(f"a blob was not stored: {root}: {reason}; look at the disk and its log, then try again")
    refusal.__cause__ = error
    return refusal


def not_read(error: OSError, digest: str, root: Path) -> PerdureError:
    """The error for a read that failed: `BlobLost` where the file is gone or unreadable, else `Unavailable`."""
    if error.errno == errno.ENOENT:
        return lost(digest, root, "it is missing")
    reason = error.strerror or str(error)
    if error.errno in _DAMAGED:
        return lost(digest, root, f"it cannot be read ({reason})")
    return Unavailable(f"blob {digest} in {root} could not be read: {reason}; nothing was changed, try again")


def lost(digest: str, root: Path, reason: str) -> BlobLost:
    """The error for a blob that is missing or damaged, naming it and what to do."""
    return BlobLost(
        f"blob {digest} in {root}: {reason}; restore the folder from a backup, "
        "or store the same content again, which puts it back",
        id=digest,
    )
