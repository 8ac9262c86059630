"""Where output goes: a file that appears when it is whole, or a stream that shows each line as it comes.

A file is written beside its place under another name, synced and renamed, so that whoever looks finds the old file, or
none, or the whole new one. It is opened before anything is submitted: what cannot be written is found out in time.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import IO, Final, Protocol

import trio

from perdure.events.errors import InvalidRequest

BUFFER_BYTES: Final = 1 << 20
LINGER_S: Final = 0.05
"""How long a line may wait for others before it is written to a stream."""


class Destination(Protocol):
    """Takes lines."""

    name: str
    in_order: bool
    """Whether lines must come in the order of the input."""

    async def write(self, line: bytes) -> None:
        """Takes a line; it is out at the latest after `commit`."""
        ...

    async def commit(self) -> None:
        """Everything was written: make it so."""
        ...

    def abandon(self) -> None:
        """Not everything was written: leave no half of it. Does nothing after `commit`."""
        ...

    async def run(self) -> None:
        """Works alongside until cancelled."""
        ...


class WholeFile:
    """A file that appears whole. `token` tells this job's unfinished file from others beside it."""

    in_order = True

    def __init__(self, path: Path, token: str) -> None:
        self.name = str(path)
        self._place = Path(os.path.realpath(path))
        self._partial = self._place.with_name(f".{self._place.name[:200]}.{token}.partial")
        try:
            self._file: IO[bytes] = self._partial.open("wb")
        except OSError as error:
            raise unwritable(path, error) from error
        self._buffer: list[bytes] = []
        self._buffered = 0

    async def write(self, line: bytes) -> None:
        """See `Destination`."""
        self._buffer.append(line)
        self._buffered += len(line)
        if self._buffered >= BUFFER_BYTES:
            await self._flush()

    async def commit(self) -> None:
        """The file stands at its place, durable with its name, with the permissions of the one that it replaces."""
        await self._flush()
        await trio.to_thread.run_sync(self._put_in_place)

    def abandon(self) -> None:
        """See `Destination`."""
        if not self._file.closed:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    async def run(self) -> None:
        """There is nothing to do alongside."""

    async def _flush(self) -> None:
        text = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        await trio.to_thread.run_sync(self._file.write, text)

    def _put_in_place(self) -> None:
        self._file.flush()
        if self._place.exists():
            os.fchmod(self._file.fileno(), stat.S_IMODE(self._place.stat().st_mode))
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._place)
        directory = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class OpenStream:
    """Standard output, a pipe or a device: lines go out as they come. `in_order` only where somebody asked for it."""

    def __init__(self, file: IO[bytes], name: str, *, in_order: bool) -> None:
        self.name = name
        self.in_order = in_order
        self._file = file
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._wanted = trio.Event()
        self._turn = trio.Lock()

    async def write(self, line: bytes) -> None:
        """See `Destination`."""
        self._buffer.append(line)
        self._buffered += len(line)
        self._wanted.set()
        if self._buffered >= BUFFER_BYTES:
            await self._flush()

    async def commit(self) -> None:
        """All lines are with whoever reads."""
        await self._flush()

    def abandon(self) -> None:
        """What is out is out: every line of it is whole."""

    async def run(self) -> None:
        """Writes what came, at the latest after `LINGER_S`."""
        while True:
            await self._wanted.wait()
            await trio.sleep(LINGER_S)
            await self._flush()

    async def _flush(self) -> None:
        async with self._turn:
            text = b"".join(self._buffer)
            self._buffer.clear()
            self._buffered = 0
            self._wanted = trio.Event()
            # A reader may stop reading for hours: what is left of the write is abandoned when the command ends.
            await trio.to_thread.run_sync(self._out, text, abandon_on_cancel=True)

    def _out(self, text: bytes) -> None:
        self._file.write(text)
        self._file.flush()


def open_destination(path: Path, token: str) -> Destination:
    """The destination for `-o PATH`. Raises `InvalidRequest` when it cannot be written."""
    if str(path) == "-":
        return OpenStream(sys.stdout.buffer, "standard output", in_order=False)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return WholeFile(path, token)
    except OSError as error:
        raise unwritable(path, error) from error
    if stat.S_ISDIR(mode):
        raise InvalidRequest(f"{path} is a directory: name a file for the output", field="--output")
    if stat.S_ISREG(mode):
        if not os.access(path, os.W_OK):
            raise InvalidRequest(f"{path} is read-only: name another file for the output", field="--output")
        return WholeFile(path, token)
    try:
        return OpenStream(path.open("wb"), str(path), in_order=True)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InvalidRequest:
    """The error for a place that cannot be written."""
    return InvalidRequest(
        f"{path} cannot be written: {error.strerror}; name another file for the output, or - for standard output",
        field="--output",
    )
