"""Databases that cannot be opened: each gets its own error, and nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from perdure.events.codec import Codec
from perdure.events.errors import Corrupt, DiskFull, LogForeign, LogLocked, LogNewer, NotFound
from perdure.events.event import Event
from perdure.store.disk import ThreadDisk
from perdure.store.sqlite import open_log, open_reader
from tests.store.sqlite.faulty import Faults, faults, sqlite_error
from tests.store.sqlite.toys import CODEC, TOY, Hand, Opened, tamper

__all__ = ["faults"]

T = TypeVar("T")


def contents(directory: Path) -> dict[str, str]:
    """Name to digest of every file below a directory."""
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file()
    }


@contextmanager
def unchanged(directory: Path) -> Generator[None]:
    """Asserts that no file below `directory` was made, removed or changed by the block."""
    before = contents(directory)
    yield
    assert contents(directory) == before


async def make(path: Path, *numbers: int) -> None:
    """A log with one toy."""
    async with open_log(path, codecs=[CODEC]) as log:
        await Hand("toy_1").add(log, *numbers)


async def refused(path: Path) -> None:
    """Opens for writing and for reading, which must not get as far as the block."""
    async with open_log(path, codecs=[CODEC]):
        raise AssertionError("it opened")


class CountingDisk:
    """Tells when it has run so many pieces of work."""

    def __init__(self, runs: int) -> None:
        self.reached = trio.Event()
        self._runs = runs
        self._disk = ThreadDisk()

    async def run(self, work: Callable[[], T]) -> T:
        """See `Disk.run`."""
        self._runs -= 1
        if self._runs == 0:
            self.reached.set()
        return await self._disk.run(work)


HOLDER = """
import sys, trio
from perdure.store.sqlite import open_log
async def main():
    async with open_log(sys.argv[1], codecs=None, address="http://here"):
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


@contextmanager
def held_by_another_process(path: Path) -> Generator[subprocess.Popen[str]]:
    """The log is open in a process of its own; closing its standard input ends it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        try:
            yield holder
        finally:
            holder.kill()


@pytest.mark.trio
async def test_locked_names_the_process_that_writes(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await make(path, 1)
    with held_by_another_process(path) as holder:
        with unchanged(tmp_path), pytest.raises(LogLocked) as locked:
            await refused(path)
        assert (locked.value.pid, locked.value.host) == (holder.pid, socket.gethostname())
        assert locked.value.since is not None
        assert str(holder.pid) in str(locked.value)
        said = json.loads(await trio.Path(tmp_path / "log.db-lock").read_bytes())
        assert said["address"] == "http://here"


@pytest.mark.trio
async def test_a_lock_file_of_a_dead_process_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with held_by_another_process(path) as holder:
        holder.kill()
        holder.wait()
    assert (tmp_path / "log.db-lock").exists()
    await make(path, 1)


@pytest.mark.trio
async def test_waiting_for_the_lock_bridges_a_hand_over(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with held_by_another_process(path) as holder, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            disk = CountingDisk(5)

            async def wait() -> None:
                async with open_log(path, codecs=[CODEC], wait_for_lock_s=15, disk=disk):
                    pass

            nursery.start_soon(wait)
            await disk.reached.wait()  # the file was looked at, and the lock refused at least once
            assert holder.stdin is not None
            holder.stdin.close()


@pytest.mark.trio
async def test_a_link_to_a_log_has_the_lock_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]):
        with pytest.raises(LogLocked) as locked:
            await refused(tmp_path / "link.db")
        assert locked.value.pid == os.getpid()


@pytest.mark.trio
async def test_a_directory_is_no_log(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(LogForeign, match="is a directory"):
        await refused(tmp_path)


@pytest.mark.trio
async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(NotFound, match="create it"):
        await refused(tmp_path / "nowhere" / "log.db")


@pytest.mark.trio
async def test_a_missing_log_is_not_made_by_reading(tmp_path: Path) -> None:
    with unchanged(tmp_path), pytest.raises(NotFound):
        async with open_reader(tmp_path / "log.db"):
            raise AssertionError("it opened")


@pytest.mark.trio
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_another_programs_database_is_foreign(tmp_path: Path, mode: str) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with unchanged(tmp_path), pytest.raises(LogForeign, match="another program"):
        await refused(tmp_path / "other.db")
    with unchanged(tmp_path), pytest.raises(LogForeign):
        async with open_reader(tmp_path / "other.db"):
            raise AssertionError("it opened")


@pytest.mark.trio
@pytest.mark.parametrize(
    "content", [b"x", b"{}\n" * 2_000, b"SQLite format 4\0" + b"\0" * 200], ids=["byte", "text", "4"]
)
async def test_a_file_that_is_no_database_is_foreign(tmp_path: Path, content: bytes) -> None:
    await trio.Path(tmp_path / "notes.txt").write_bytes(content)
    with unchanged(tmp_path), pytest.raises(LogForeign):
        await refused(tmp_path / "notes.txt")


@pytest.mark.trio
async def test_an_empty_file_becomes_a_log(tmp_path: Path) -> None:
    await trio.Path(tmp_path / "log.db").write_bytes(b"")
    await make(tmp_path / "log.db", 1)


@pytest.mark.trio
async def test_a_newer_file_format_is_refused(tmp_path: Path) -> None:
    await make(tmp_path / "log.db", 1)
    tamper(tmp_path / "log.db", "PRAGMA user_version = 99")
    with unchanged(tmp_path), pytest.raises(LogNewer, match="file format 99"):
        await refused(tmp_path / "log.db")


class Known(Event, tag="opened", frozen=True):
    """As an older build has it."""


class Newer(Event, tag="opened", frozen=True):
    """As a newer build has it."""

    schema = 2


class Unheard(Event, tag="unheard", frozen=True):
    """An event type that older builds do not have."""


@pytest.mark.trio
@pytest.mark.parametrize("written", [Newer(), Unheard()], ids=["a newer version", "a new type"])
async def test_newer_events_are_refused_before_anything_is_folded(tmp_path: Path, written: Event) -> None:
    newer: Codec[Event] = Codec("toy", [Newer, Unheard])
    older: Codec[Event] = Codec("toy", [Known])
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[newer]) as log:
        each = hand.events(Opened())
        each.events = [newer.encode(written, 1)]
        await log.append(each)
    with unchanged(tmp_path), pytest.raises(LogNewer, match="first written by perdure"):
        async with open_log(tmp_path / "log.db", codecs=[older]):
            raise AssertionError("it opened")
    with unchanged(tmp_path), pytest.raises(LogNewer):
        async with open_reader(tmp_path / "log.db", codecs=[older]):
            raise AssertionError("it opened")
    async with open_log(tmp_path / "log.db", codecs=[newer]):
        pass


@pytest.mark.trio
async def test_w76_a_log_with_a_torn_header_is_damaged(tmp_path: Path) -> None:
    await make(tmp_path / "log.db", 1)
    path = trio.Path(tmp_path / "log.db")
    whole = await path.read_bytes()
    for damaged in (whole[:50], b"\0" * 16 + whole[16:]):
        await path.write_bytes(damaged)
        with unchanged(tmp_path), pytest.raises(Corrupt, match="torn header") as corrupt:
            await refused(tmp_path / "log.db")
        assert type(corrupt.value) is Corrupt


@pytest.mark.trio
async def test_w76_a_truncated_log_is_damaged(tmp_path: Path) -> None:
    await make(tmp_path / "log.db", *range(500))
    path = trio.Path(tmp_path / "log.db")
    whole = await path.read_bytes()
    for size in (len(whole) - 4_096, len(whole) - 1, 4_096):
        await path.write_bytes(whole[:size])
        with unchanged(tmp_path), pytest.raises(Corrupt, match="its header promises"):
            await refused(tmp_path / "log.db")


@pytest.mark.trio
async def test_a_log_that_lost_a_table_is_damaged(tmp_path: Path) -> None:
    await make(tmp_path / "log.db", 1)
    tamper(tmp_path / "log.db", "DROP TABLE meta")
    with unchanged(tmp_path), pytest.raises(Corrupt, match="damaged"):
        await refused(tmp_path / "log.db")


@pytest.mark.trio
async def test_flipped_bytes_are_found_by_verification(tmp_path: Path) -> None:
    await make(tmp_path / "log.db", *range(500))
    path = trio.Path(tmp_path / "log.db")
    whole = bytearray(await path.read_bytes())
    place = whole.index(b'"by":')
    whole[place + 5 : place + 6] = b"9"
    await path.write_bytes(bytes(whole))
    async with open_reader(tmp_path / "log.db", codecs=[CODEC]) as reader:
        found = await reader.verify([TOY])
    assert not found.ok
    with pytest.raises(Corrupt, match="position"):
        found.raise_if_bad()


@pytest.mark.trio
@pytest.mark.parametrize("which", ["file", "directory"])
async def test_what_is_read_only_is_not_written(tmp_path: Path, which: str) -> None:
    home = trio.Path(tmp_path / "home")
    await home.mkdir()
    await make(tmp_path / "home" / "log.db", 1)
    marked = home / "log.db" if which == "file" else home
    mode = (await marked.stat()).st_mode
    await marked.chmod(mode & ~0o222)
    try:
        with unchanged(tmp_path), pytest.raises(DiskFull, match="read-only"):
            await refused(tmp_path / "home" / "log.db")
        async with open_reader(tmp_path / "home" / "log.db", codecs=[CODEC]) as reader:
            assert await reader.head() == 1
    finally:
        await marked.chmod(mode)


@pytest.mark.trio
async def test_a_full_disk_is_told_at_the_start_and_leaves_no_half_made_log(tmp_path: Path, faults: Faults) -> None:
    full = sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")
    faults.fail_next("CREATE TABLE streams", full)
    with unchanged(tmp_path), pytest.raises(DiskFull, match="make room"):
        await refused(tmp_path / "log.db")
    await make(tmp_path / "log.db", 1)
    faults.fail_next("UPDATE fence", full)
    with pytest.raises(DiskFull, match="make room"):
        await refused(tmp_path / "log.db")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.head() == 1
