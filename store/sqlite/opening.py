"""Judging a file before it is opened as a log, and creating one: each refusal is its own error and changes nothing.

What can be told from the first hundred bytes is told from them, without SQLite: SQLite itself would replay a journal
or create files beside a database that is not ours. The file format is documented at
https://www.sqlite.org/fileformat2.html (section 1.3, the database header).
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from perdure.events.codec import Codec
from perdure.events.errors import Corrupt, DiskFull, LogForeign, LogNewer, NotFound
from perdure.store.sqlite import schema
from perdure.store.sqlite.faults import primary_code, translate, translate_os

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_ONE_PAGE_BYTES: Final = 4_096
_DRAFT: Final = "-new"
_NO_WRITE_BITS: Final = 0o222


def real_path(path: str | Path) -> Path:
    """The file behind `path`: a log that is reached through a link has the lock file of the log itself."""
    return Path(os.path.realpath(path))


def judge_file(path: Path) -> bool:
    """Whether `path` may be opened as a log: True for one that exists, False for one that is still to be made.

    Raises `LogForeign` (a directory, another program's file), `LogNewer` (a later file format of ours) and `Corrupt`
    (a file of ours with a torn header, or shorter than its header says). Reads the file and touches nothing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            size_bytes = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise NotFound(f"there is no directory {path.parent} for the log; create it", id=str(path)) from None
        return False
    except IsADirectoryError:
        raise LogForeign(f"{path} is a directory; name a file in it") from None
    except OSError as error:
        raise translate_os(error, path, "reading the file") from error
    if size_bytes == 0:
        return False
    wal_bytes = _size_of(path.with_name(path.name + "-wal"))
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        if _is_torn(head):
            raise Corrupt(f"{path} is a log with a torn header; restore it from a copy", reason="torn header")
        raise LogForeign(f"{path} is not an SQLite database, so it is not a perdure log; name another file")
    page_bytes, pages = _geometry(head)
    application_id, user_version = _identity(head)
    if application_id != schema.APPLICATION_ID:
        raise LogForeign(f"{path} is an SQLite database of another program, not a perdure log; name another file")
    if user_version > schema.SCHEMA_VERSION:
        raise _newer_format(path, user_version)
    # With a WAL the file may rightly be shorter: a checkpoint writes the first page, which has the new size, first.
    if not wal_bytes and ((pages and size_bytes < pages * page_bytes) or size_bytes % page_bytes):
        raise Corrupt(
            f"{path} has {size_bytes} bytes where its header promises {pages * page_bytes}; restore it from a copy",
            reason="truncated file",
        )
    return True


def judge_writable(path: Path) -> None:
    """Raises `DiskFull` when the file or its directory is read-only.

    A file whose write bits are all off is taken as read-only even where the user could write it all the same: somebody
    has said that it shall not change.
    """
    if path.exists() and (not path.stat().st_mode & _NO_WRITE_BITS or not os.access(path, os.W_OK)):
        raise DiskFull(f"{path} is read-only; make it writable, or read it with perdure.read")
    if not path.parent.stat().st_mode & _NO_WRITE_BITS or not os.access(path.parent, os.W_OK):
        raise DiskFull(
            f"the directory {path.parent} is read-only and SQLite writes files beside the log; make it writable"
        )


def create(path: Path, log_id: str, created_at: int) -> None:
    """Makes an empty log that only its owner may read, whatever the umask, durable with its directory entry.

    It is made under another name and renamed when it is whole: under its own name a kill or a power cut in the middle
    would leave a file without our id, or with a hot journal, that nothing tells from another program's. What an earlier
    attempt left under the other name is removed. Raises `DiskFull` and removes what it made. Needs the lock.
    """
    draft = path.with_name(path.name + _DRAFT)
    try:
        _remove(draft)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        with closing(schema.open_writer(draft, "FULL")) as connection:
            schema.create_tables(connection, log_id, created_at)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # A WAL without its log, left where somebody removed only the log, must not be taken for the new one's.
        _remove_companions(path)
        sync_directory(path.parent)
        os.rename(draft, path)
        sync_directory(path.parent)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):  # the next attempt removes it
            _remove(draft)
        if isinstance(error, OSError):
            raise translate_os(error, path, "creating the log") from error
        raise translate(error, path, "creating the log") from error


def judge_log(connection: sqlite3.Connection, path: Path, codecs: Iterable[Codec[Any]] | None) -> str:
    """Whether this build may open the log behind `connection`; gives the log's id.

    Raises `LogForeign`, `LogNewer` (also for an event type, or a version of one, that no codec knows; `codecs` None
    asks no such question) and `Corrupt`.
    """
    try:
        application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if application_id != schema.APPLICATION_ID:
            raise LogForeign(f"{path} is an SQLite database of another program, not a perdure log; name another file")
        if version > schema.SCHEMA_VERSION:
            raise _newer_format(path, version)
        found = connection.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()
        types = connection.execute("SELECT kind, name, schema, build FROM event_types").fetchall()
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_ERROR:  # a table or column that every log has is not there
            raise Corrupt(f"{path} is damaged: {error}; restore it from a copy", reason=str(error)) from error
        raise translate(error, path, "opening the log") from error
    if found is None:
        raise Corrupt(f"{path} has lost its id; restore it from a copy", reason="no log id")
    if codecs is not None:
        known = _known_schemas(codecs)
        for kind, name, newest, build in types:
            if newest > known(kind, name):
                raise LogNewer(
                    f"{path} holds {name!r} of kind {kind!r} in version {newest}, first written by perdure {build}; "
                    "this build would lose what it does not know: use that one or a newer one",
                    reason=f"{kind}/{name} version {newest}",
                )
    return str(found[0])


def sync_directory(directory: Path) -> None:
    """Makes the names in `directory` durable. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _newer_format(path: Path, version: int) -> LogNewer:
    return LogNewer(
        f"{path} has file format {version}, this build knows up to {schema.SCHEMA_VERSION}; use a newer perdure",
        reason=f"file format {version}",
    )


def _known_schemas(codecs: Iterable[Codec[Any]]) -> Callable[[str, str], int]:
    """The newest version known of (kind, tag). A tag that no codec of the kind has may be one of the runtime's own
    events, which fold beside every kind's: then any codec may know it."""
    of_kind: dict[tuple[str, str], int] = {}
    of_any: dict[str, int] = {}
    for codec in codecs:
        for tag, newest in codec.schemas.items():
            of_kind[codec.kind, tag] = newest
            of_any[tag] = max(newest, of_any.get(tag, 0))
    return lambda kind, tag: of_kind.get((kind, tag)) or of_any.get(tag, 0)


def _is_torn(head: bytes) -> bool:
    """Whether a header that SQLite would refuse was ours once: cut within, or with our id still in its place."""
    if len(head) < _HEADER_BYTES:
        return len(head) >= len(_MAGIC) and head.startswith(_MAGIC)
    return _identity(head)[0] == schema.APPLICATION_ID


def _identity(head: bytes) -> tuple[int, int]:
    (user_version,) = struct.unpack_from(">I", head, 60)
    (application_id,) = struct.unpack_from(">I", head, 68)
    return application_id, user_version


def _geometry(head: bytes) -> tuple[int, int]:
    """Page size in bytes, and the number of pages, 0 where the header does not say."""
    (page_bytes,) = struct.unpack_from(">H", head, 16)
    changes, pages = struct.unpack_from(">II", head, 24)
    (valid_for,) = struct.unpack_from(">I", head, 92)
    return 65_536 if page_bytes == 1 else page_bytes or _ONE_PAGE_BYTES, pages if valid_for == changes else 0


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_companions(path)


def _remove_companions(path: Path) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
