"""kill -9 of a process in which 64 tasks append: no acknowledged event is lost, and the log verifies."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from perdure.store.sqlite import open_log
from tests.store.sqlite.toys import CODEC, TOY

ROOT = Path(__file__).resolve().parents[2]

Acknowledged = dict[tuple[str, int], int]
"""(actor, version) to position, as the killed processes said."""


def one_round(path: Path, turn: int, after_lines: int) -> Acknowledged:
    """Lets the appender acknowledge so many appends, kills it there, and gives all that it said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.workers.appender", str(path), str(turn)], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(after_lines)]
        process.kill()
        said += process.stdout.readlines()
    acknowledged: Acknowledged = {}
    for line in said:
        if line.endswith(b"\n"):
            actor, version, position = line.decode().split()
            acknowledged[actor, int(version)] = int(position)
    assert len(acknowledged) >= after_lines, "the appender died by itself: see its error output"
    return acknowledged


async def all_is_there(path: Path, acknowledged: Acknowledged) -> None:
    """Opens the log as the next process would and looks for every acknowledged event."""
    async with open_log(path, codecs=[CODEC]) as log:
        stored: Acknowledged = {}
        after = 0
        while page := await log.records(after=after, limit=5_000):
            stored |= {(record.actor, record.version): record.position for record in page}
            after = page[-1].position
        assert {key: stored.get(key) for key in acknowledged} == acknowledged
        (await log.verify([TOY])).raise_if_bad()


async def rounds(path: Path, count: int, seed: int) -> None:
    """Kills the appender so often on one log, at random places."""
    chance = random.Random(seed)
    acknowledged: Acknowledged = {}
    for turn in range(count):
        after = chance.randrange(1, 3_000)
        acknowledged |= await trio.to_thread.run_sync(one_round, path, turn, after)
        await all_is_there(path, acknowledged)


@pytest.mark.trio
async def test_no_acknowledged_event_is_lost_by_a_kill(tmp_path: Path) -> None:
    await rounds(tmp_path / "log.db", 3, seed=1)


@pytest.mark.sweep
@pytest.mark.trio
async def test_no_acknowledged_event_is_lost_by_twenty_kills(tmp_path: Path) -> None:
    await rounds(tmp_path / "log.db", 20, seed=2)
