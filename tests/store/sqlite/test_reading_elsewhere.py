"""Reading from other processes: while the writer works, after it died, and where nothing may be written."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from perdure.store.sqlite import open_log, open_reader
from tests.store.sqlite.toys import CODEC, TOY, Hand, listing

WRITER = """
import sys, trio
from perdure.store.sqlite import open_log
from tests.store.sqlite.toys import CODEC, Hand
async def main():
    hand = Hand("toy_1")
    async with open_log(sys.argv[1], codecs=[CODEC]) as log:
        while True:
            print((await hand.add(log, 1)).position, flush=True)
            if not await trio.to_thread.run_sync(sys.stdin.readline):
                break
trio.run(main)
"""


@contextmanager
def writer(path: Path) -> Generator[subprocess.Popen[str]]:
    """A process that appends once, and once more for each line that it is sent."""
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert step(process, send=False) == 1
        try:
            yield process
        finally:
            process.kill()


def step(process: subprocess.Popen[str], *, send: bool = True) -> int:
    """Has the writer append; gives the position."""
    assert process.stdin is not None
    assert process.stdout is not None
    if send:
        process.stdin.write("\n")
        process.stdin.flush()
    return int(process.stdout.readline())


@pytest.mark.trio
async def test_a_reader_sees_each_commit_of_the_writer_and_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with writer(path) as process, trio.fail_after(30):
        async with open_reader(path, codecs=[CODEC]) as reader:
            assert await reader.head() == 1
            assert step(process) == 2
            assert await reader.head() == 2
            seen: list[int] = []
            async for record in reader.follow(actor="toy_1"):
                seen.append(record.position)
                if len(seen) == 5:
                    break
                if len(seen) >= 2:
                    step(process)
        assert seen == [1, 2, 3, 4, 5]


@pytest.mark.trio
async def test_a_reader_reads_what_a_killed_writer_left(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with writer(path) as process:
        step(process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = listing(tmp_path)
    assert left["log.db-wal"][1] > 0
    async with open_reader(path, codecs=[CODEC]) as reader:
        assert await reader.head() == 2
        assert (await reader.verify([TOY])).ok
    assert listing(tmp_path) == left
    async with open_log(path, codecs=[CODEC]) as log:
        assert await log.head() == 2


@pytest.mark.trio
async def test_a_reader_creates_no_file_beside_a_closed_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with open_log(path, codecs=[CODEC]) as log:
        await Hand("toy_1").add(log, 1)
    before = listing(tmp_path)
    assert list(before) == ["log.db"]
    async with open_reader(path) as reader:
        assert await reader.head() == 1
        assert listing(tmp_path) == before
    assert listing(tmp_path) == before


@pytest.mark.trio
async def test_a_reader_of_a_closed_log_sees_a_writer_that_begins_later(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    hand = Hand("toy_1")
    async with open_log(path, codecs=[CODEC]) as log:
        await hand.add(log, 1)
    async with open_reader(path) as reader:
        assert await reader.head() == 1
        for expected in (2, 3):
            async with open_log(path, codecs=[CODEC]) as log:
                await hand.add(log, expected)
                assert await reader.head() == expected
            assert await reader.head() == expected


@pytest.mark.trio
async def test_what_was_read_while_a_writer_began_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    hand = Hand("toy_1")
    async with open_log(path, codecs=[CODEC]) as log:
        await hand.add(log, 1)
    calls = 0
    async with open_reader(path) as reader:

        def query(connection: sqlite3.Connection) -> int:
            nonlocal calls
            calls += 1
            if calls == 1:
                subprocess.run(
                    [
                        sys.executable,
                        "-c",
                        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
                        "c.execute('UPDATE fence SET number = 9'); c.commit(); c.close()",
                        str(path),
                    ],
                    check=True,
                )
            found = connection.execute("SELECT number FROM fence").fetchone()
            return int(found[0])

        assert await reader.read(query) == 9
        assert calls == 2
