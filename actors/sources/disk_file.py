"""Files on disk and open file objects: blocking reads, one hop for each chunk, and none besides for a small file.

A path is opened once and everything is asked of what was opened, so that nothing can be put in its place between a
check and a read. At the end it must still be what it was at the beginning.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from perdure.actors.sources.content import CHUNK_BYTES, Opened
from perdure.events.errors import InvalidSource, shorten
from perdure.store.disk import Disk

_REASONS: Final = {errno.ENOENT: "missing", errno.ENOTDIR: "missing"}


@asynccontextmanager
async def open_path(path: Path, disk: Disk) -> AsyncGenerator[Opened]:
    """The file at `path`, through links. Raises `InvalidSource`: missing, unreadable, a directory, a device.

    Its chunks raise it when the file is not whole and unchanged at the end: it grew, shrank, was written to or removed.
    """
    descriptor, before, first = await disk.run(partial(_begin, path))
    try:
        yield Opened(_chunks(path, descriptor, before, first, disk), path.name, None, before.st_size)
    finally:
        # Closing what was only read waits for nothing, and a hop could not be made while cancelled.
        os.close(descriptor)


class _Piece(NamedTuple):
    """What one read gave. `after` is how the file is after the last one, None where more is to come."""

    chunk: bytes
    after: os.stat_result | None


def _begin(path: Path) -> tuple[int, os.stat_result, _Piece]:
    """Opens a file and reads its first piece, which of a small one is all of it, in one hop."""
    descriptor, before = _open(path)
    first: _Piece | None = None
    try:
        first = _read(path, descriptor, before.st_size)
        return descriptor, before, first
    finally:
        if first is None:
            os.close(descriptor)


def _open(path: Path) -> tuple[int, os.stat_result]:
    try:
        # Without O_NONBLOCK opening a FIFO waits for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return descriptor, found
    os.close(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise InvalidSource(f"{shorten(str(path))} is a directory: give the files in it one by one", reason="directory")
    raise InvalidSource(
        f"{shorten(str(path))} is a device, a pipe or a socket, not a regular file: open it yourself and hand over the"
        " file object",
        reason="device",
    )


async def _chunks(
    path: Path, descriptor: int, before: os.stat_result, piece: _Piece, disk: Disk
) -> AsyncGenerator[bytes]:
    read = 0
    while True:
        read += len(piece.chunk)
        if read > before.st_size:
            break  # it grows: its end may never come
        if piece.chunk:
            yield piece.chunk
        if piece.after is not None:
            break
        piece = await disk.run(partial(_read, path, descriptor, before.st_size - read))
    after = piece.after
    assert after is not None
    if after.st_nlink == 0:
        what = "was removed or replaced"
    elif read != before.st_size or after.st_size != before.st_size:
        what = f"had {before.st_size} bytes at first and {max(read, after.st_size)} later"
    elif after.st_mtime_ns != before.st_mtime_ns:
        what = "was written to"
    else:
        return
    raise InvalidSource(
        f"{shorten(str(path))} {what} while it was read: try again when nobody writes to it", reason="changed"
    )


def _read(path: Path, descriptor: int, left: int) -> _Piece:
    """Reads on; `left` bytes should still come."""
    try:
        chunk = os.read(descriptor, CHUNK_BYTES)
        return _Piece(chunk, os.fstat(descriptor) if not chunk or len(chunk) >= left else None)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> InvalidSource:
    if isinstance(error, OSError) and error.errno in _REASONS:
        return InvalidSource(f"there is no file {shorten(str(path))}", reason="missing")
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return InvalidSource(f"{shorten(str(path))} cannot be read: {text}", reason="unreadable")


@asynccontextmanager
async def open_file_object(file: BinaryIO, disk: Disk) -> AsyncGenerator[Opened]:
    """An open binary file object, from where it stands to its end. It stays open, and stands at the end afterwards.

    A read that blocks occupies one of `disk`'s threads and cannot be cancelled. Raises `InvalidSource`, its chunks too:
    unreadable, or not as many bytes as it promised by its size.
    """
    size = await disk.run(partial(_remaining, file))
    given: object = getattr(file, "name", None)
    filename = os.path.basename(given) if isinstance(given, str) else None
    yield Opened(_file_chunks(file, size, disk), filename, None, size)


def _remaining(file: BinaryIO) -> int | None:
    try:
        if not file.seekable():
            return None
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (OSError, ValueError, AttributeError):
        # What only reads is enough; what is closed says so when it is read.
        return None
    return max(end - here, 0)


async def _file_chunks(file: BinaryIO, size: int | None, disk: Disk) -> AsyncGenerator[bytes]:
    read = 0
    while chunk := await disk.run(partial(_read_from, file)):
        read += len(chunk)
        if size is not None and read > size:
            break
        yield chunk
    if size is not None and read != size:
        raise InvalidSource(
            f"the file object had {size} bytes left at first and gave {read}: it was changed while it was read",
            reason="changed",
        )


def _read_from(file: BinaryIO) -> bytes:
    try:
        chunk = cast("object", file.read(CHUNK_BYTES))
    except (OSError, ValueError) as error:
        raise InvalidSource(f"the file object cannot be read: {error}", reason="unreadable") from error
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, str):
        raise InvalidSource("the file object gives text: open it in binary mode, with 'rb'", reason="kind")
    raise InvalidSource(
        f"the file object gave {type(chunk).__name__} instead of bytes: it must be blocking", reason="unreadable"
    )
