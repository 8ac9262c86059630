"""A failed commit is not a no: what callers are told, and what the log holds afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.events.errors import Corrupt, DiskFull, OutcomeUnknown, PerdureError, Unavailable, VersionConflict
from perdure.store.records import Append, Appended, KeyTaken
from perdure.store.sqlite import SqliteLog, open_log
from tests.store.sqlite.disks import HeldDisk
from tests.store.sqlite.faulty import SYNC_FAILED, Faults, faults, sqlite_error
from tests.store.sqlite.toys import CODEC, TOY, Hand, append

__all__ = ["faults"]  # a fixture that pytest finds by its name in this module

FENCE = "UPDATE fence"


async def answers(
    log: SqliteLog, *appends: Append, then: Callable[[], None] = lambda: None
) -> list[Appended | Exception]:
    """What becomes of appends that are handed over behind another one, in order; `then` is called after that."""
    found: dict[int, Appended | Exception] = {}

    async def one(number: int, each: Append) -> None:
        try:
            found[number] = await log.append(each)
        except (PerdureError, KeyTaken) as error:
            found[number] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.append, append("blocker", 0))
        await trio.testing.wait_all_tasks_blocked()
        for number, each in enumerate(appends):
            nursery.start_soon(one, number, each)
            await trio.testing.wait_all_tasks_blocked()
        then()
    return [found[number] for number in range(len(appends))]


@pytest.mark.trio
async def test_failed_is_said_only_after_the_fence(tmp_path: Path, faults: Faults) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1)
        faults.seen.clear()
        faults.fail_next("COMMIT", sqlite_error(SYNC_FAILED, "disk I/O error"))
        with pytest.raises(Unavailable) as failed:
            await log.append(append("toy_2", 0))
        assert type(failed.value) is Unavailable
        begun, fenced = faults.seen[-3:-1]
        assert begun == "BEGIN IMMEDIATE"
        assert fenced.startswith("UPDATE fence SET number = number + 1, ")
        assert log.healthy
        assert await hand.add(log, 2) == Appended(2, 2)
        assert await log.append(append("toy_2", 0)) == Appended(3, 1)
        assert (await log.verify([TOY])).fault_count == 1  # toy_2 is no sum: its row says so, the chain is whole


@pytest.mark.trio
async def test_if_the_fence_fails_too_the_outcome_is_unknown_and_writing_stops(tmp_path: Path, faults: Faults) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(append("toy_1", 0))
        faults.fail_next("COMMIT", sqlite_error(SYNC_FAILED, "disk I/O error"))
        faults.fail_next(FENCE, sqlite_error(SYNC_FAILED, "disk I/O error"))
        with pytest.raises(OutcomeUnknown):
            await log.append(append("toy_2", 0))
        assert not log.healthy
        with pytest.raises(Unavailable) as refused:
            await log.append(append("toy_3", 0))
        assert not isinstance(refused.value, OutcomeUnknown)
        assert await log.head() == 1
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert log.healthy
        assert await log.append(append("toy_2", 0)) == Appended(2, 1)


@pytest.mark.trio
async def test_a_full_disk_is_said_for_certain_and_passes(tmp_path: Path, faults: Faults) -> None:
    full = sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        faults.fail_next("COMMIT", full)
        with pytest.raises(DiskFull):
            await log.append(append("toy_1", 0))
        assert await log.append(append("toy_1", 0)) == Appended(1, 1)


@pytest.mark.trio
async def test_a_disk_that_stays_full_stops_nothing_for_good(tmp_path: Path, faults: Faults) -> None:
    full = sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        faults.fail_next("COMMIT", full)
        faults.fail_next(FENCE, full)
        with pytest.raises(DiskFull):
            await log.append(append("toy_1", 0))
        faults.fail_next(FENCE, full)  # the fence is made up for first; while it fails nothing else is tried
        faults.seen.clear()
        with pytest.raises(DiskFull):
            await log.append(append("toy_1", 0))
        assert not any(text.startswith("INSERT INTO events") for text in faults.seen)
        assert log.healthy
        assert await log.append(append("toy_1", 0)) == Appended(1, 1)


@pytest.mark.trio
async def test_a_real_refusal_for_want_of_room_loses_only_that_group(tmp_path: Path, faults: Faults) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1)
        (pages,) = (await log.read(lambda c: c.execute("PRAGMA page_count").fetchone())) or (0,)
        await _limit_pages(log, pages)
        with pytest.raises(DiskFull):
            await log.append(append("toy_2", 0, size=100_000))
        await _limit_pages(log, 1 << 30)
        assert await hand.add(log, 2) == Appended(2, 2)
        assert (await log.verify([TOY])).ok


async def _limit_pages(log: SqliteLog, pages: int) -> None:
    await log.maintain(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())


@pytest.mark.trio
async def test_an_error_before_commit_is_certain_without_a_fence(tmp_path: Path, faults: Faults) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        faults.seen.clear()
        faults.fail_next("INSERT INTO events", sqlite_error(sqlite3.SQLITE_IOERR, "disk I/O error"))
        with pytest.raises(Unavailable, match="writing failed"):
            await log.append(append("toy_1", 0))
        assert not any(text.startswith(FENCE) for text in faults.seen)
        assert await log.append(append("toy_1", 0)) == Appended(1, 1)


@pytest.mark.trio
async def test_damage_found_while_writing_stops_the_writer(tmp_path: Path, faults: Faults) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        faults.fail_next("INSERT INTO events", sqlite_error(sqlite3.SQLITE_CORRUPT, "database disk image is malformed"))
        with pytest.raises(Corrupt):
            await log.append(append("toy_1", 0))
        assert not log.healthy


@pytest.mark.trio
async def test_a_foreign_lock_refuses_and_passes(tmp_path: Path, faults: Faults) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        faults.fail_next("BEGIN IMMEDIATE", sqlite_error(sqlite3.SQLITE_BUSY, "database is locked"))
        with pytest.raises(Unavailable, match="another program") as refused:
            await log.append(append("toy_1", 0))
        assert refused.value.retry_after_s
        assert await log.append(append("toy_1", 0)) == Appended(1, 1)


@pytest.mark.trio
async def test_every_member_of_a_failed_group_gets_its_own_error(tmp_path: Path, faults: Faults) -> None:
    disk = HeldDisk()
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        await log.append(append("toy_0", 0))
        disk.held = True

        def fail_the_second(_: object) -> None:
            faults.fail_next("COMMIT", sqlite_error(SYNC_FAILED, "disk I/O error"))

        with log.on_commit(fail_the_second):
            found = await answers(log, append("toy_1", 0), append("toy_2", 0), append("toy_0", 9), then=disk.release)
        assert [type(each) for each in found] == [Unavailable] * 3
        assert len(set(map(id, found))) == 3


@pytest.mark.trio
async def test_a_second_writer_in_the_file_refuses_only_the_actor_it_touched(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with open_log(path, codecs=[CODEC]) as log:
        await log.append(append("toy_1", 0))
        other = sqlite3.connect(path)
        with other:
            other.execute(
                "INSERT INTO events SELECT 2, stream, 2, type, schema, at, '', '', '', NULL, payload FROM events"
            )
        other.close()
        found = await answers(log, append("toy_1", 1), append("toy_2", 0))
        assert isinstance(found[0], VersionConflict)
        assert isinstance(found[1], Appended)


@pytest.mark.trio
async def test_in_normal_mode_the_fence_is_synced_all_the_same(tmp_path: Path, faults: Faults) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC], synchronous="NORMAL") as log:
        faults.seen.clear()
        faults.fail_next("COMMIT", sqlite_error(SYNC_FAILED, "disk I/O error"))
        with pytest.raises(Unavailable):
            await log.append(append("toy_1", 0))
        assert [text for text in faults.seen if text.startswith("PRAGMA synchronous")] == [
            "PRAGMA synchronous = FULL",
            "PRAGMA synchronous = NORMAL",
        ]
