"""The lock file beside the log: one process writes, and whoever comes second learns who that is.

The lock is the kernel's (`flock`), so it ends with its process however that dies, and a file left behind by a dead
process is no obstacle. What stands in the file is for people and error messages only; nothing is decided by it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from perdure.events.errors import DiskFull, LogLocked

RETRY_S: Final = 0.05
"""Interval at which a waiter asks for the lock again: well below the hand-over time of a rolling deploy."""

_LONGEST_BYTES: Final = 4_096


class Holder(msgspec.Struct, frozen=True):
    """Who writes the log. `since` is µs since 1970 UTC; `address` is where the process serves, or empty."""

    pid: int
    host: str
    since: int
    address: str = ""


def lock_path(database: Path) -> Path:
    """Where the lock file of `database` lies."""
    return database.with_name(database.name + "-lock")


class LockFile:
    """The lock, held from `acquire` until `release`."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def acquire(cls, database: Path, *, since: int, address: str = "") -> LockFile:
        """Takes the lock or raises `LogLocked` at once; `DiskFull` where the lock file cannot be written."""
        path = lock_path(database)
        try:
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    raise _locked(database, read_holder(database)) from None
                if _is_still_at(path, descriptor):
                    break
                os.close(descriptor)  # its last owner has just removed it: what we locked is nobody's lock any more
        except OSError as error:
            raise DiskFull(f"the lock file {path} cannot be taken: {error.strerror}; make it writable") from error
        lock = cls(descriptor, path)
        try:
            os.fchmod(descriptor, 0o600)
            lock._say(Holder(os.getpid(), socket.gethostname(), since, address))
        except OSError as error:
            lock.release()
            raise DiskFull(f"the lock file {path} cannot be written: {error.strerror}; make room") from error
        return lock

    def release(self) -> None:
        """Gives the lock back and removes the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):  # a file that stays behind is no obstacle
                self._path.unlink()
            os.close(descriptor)

    def _say(self, holder: Holder) -> None:
        text = msgspec.json.encode(holder)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)


def read_holder(database: Path) -> Holder | None:
    """Who says in the lock file that it writes `database`; None when nobody does or it cannot be read."""
    try:
        with lock_path(database).open("rb") as file:
            return msgspec.json.decode(file.read(_LONGEST_BYTES), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def _locked(database: Path, holder: Holder | None) -> LogLocked:
    if holder is None:
        return LogLocked(
            f"{database} is being written by another process; stop it, or wait for it with wait_for_lock_s",
            pid=None,
            host=None,
            since=None,
        )
    since = datetime.fromtimestamp(holder.since / 1_000_000, UTC)
    return LogLocked(
        f"{database} is being written by process {holder.pid} on {holder.host} since {since:%Y-%m-%d %H:%M:%S} UTC; "
        "stop it, or wait for it with wait_for_lock_s",
        pid=holder.pid,
        host=holder.host,
        since=since,
    )
