"""Group commit: who shares a transaction, who is refused alone, who waits, who can be cancelled."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from perdure.events.errors import Closed, OutcomeUnknown, PerdureError, VersionConflict
from perdure.store.crash_points import armed
from perdure.store.disk import InlineDisk
from perdure.store.records import Append, Appended, KeyTaken
from perdure.store.sqlite import SqliteLog, open_log
from tests.store.sqlite.disks import HeldDisk
from tests.store.sqlite.toys import CODEC, TOY, Hand, append


async def hand_over(nursery: trio.Nursery, log: SqliteLog, each: Append) -> list[Appended | Exception]:
    """Begins an append and returns once it waits; what becomes of it will be in the list."""
    found: list[Appended | Exception] = []

    async def one() -> None:
        try:
            found.append(await log.append(each))
        except (PerdureError, KeyTaken) as error:
            found.append(error)

    nursery.start_soon(one)
    await trio.testing.wait_all_tasks_blocked()
    return found


@pytest.mark.trio
async def test_what_queues_during_a_commit_is_the_next_group(tmp_path: Path) -> None:
    disk = HeldDisk()
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        commits: list[int] = []
        with log.on_commit(lambda written: commits.append(len(written))):
            async with trio.open_nursery() as nursery:
                disk.held = True
                for number in range(50):
                    await hand_over(nursery, log, append(f"toy_{number}", 0))
                disk.release()
        assert commits == [1, 49]


@pytest.mark.trio
async def test_one_member_is_refused_alone(tmp_path: Path) -> None:
    disk = HeldDisk()
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        await log.append(append("toy_1", 0, key="taken"))
        async with trio.open_nursery() as nursery:
            disk.held = True
            blocker = await hand_over(nursery, log, append("toy_2", 0))
            stale = await hand_over(nursery, log, append("toy_1", 0))
            loser = await hand_over(nursery, log, append("toy_3", 0, key="taken"))
            good = await hand_over(nursery, log, append("toy_4", 0, key="new"))
            late = await hand_over(nursery, log, append("toy_5", 0, key="new"))
            again = await hand_over(nursery, log, append("toy_4", 1, count=2))
            disk.release()
        assert blocker == [Appended(2, 1)]
        assert good == [Appended(3, 1)]
        assert again == [Appended(5, 3)]
        (conflict,), (taken,), (second,) = stale, loser, late
        assert isinstance(conflict, VersionConflict)
        assert (conflict.actor, conflict.expected, conflict.found) == ("toy_1", 0, 1)
        assert isinstance(taken, KeyTaken)
        assert taken.holder.actor == "toy_1"
        assert isinstance(second, KeyTaken)
        assert second.holder.actor == "toy_4"
        assert await log.row("toy_3") is None
        assert await log.row("toy_5") is None


@pytest.mark.trio
async def test_a_group_ends_at_its_bounds_and_one_larger_append_goes_alone(tmp_path: Path) -> None:
    disk = HeldDisk()
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        sizes: list[list[int]] = []

        def note(written: Sequence[tuple[Append, Appended]]) -> None:
            sizes.append([len(append.events) for append, _ in written])

        with log.on_commit(note):
            async with trio.open_nursery() as nursery:
                disk.held = True
                await hand_over(nursery, log, append("toy_0", 0))
                await hand_over(nursery, log, append("toy_1", 0, count=600))
                await hand_over(nursery, log, append("toy_2", 0, count=600))
                await hand_over(nursery, log, append("toy_3", 0, count=3, size=400_000))
                await hand_over(nursery, log, append("toy_4", 0))
                disk.release()
        assert sizes == [[1], [600], [600], [3], [1]]


@pytest.mark.trio
async def test_a_full_queue_holds_callers_up_in_order_and_they_can_leave(tmp_path: Path) -> None:
    disk = HeldDisk()
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk, queue_bytes=3_000) as log:
        async with trio.open_nursery() as nursery:
            disk.held = True
            await hand_over(nursery, log, append("toy_0", 0))
            await hand_over(nursery, log, append("toy_1", 0, size=2_000))
            waiting = await hand_over(nursery, log, append("toy_2", 0, size=2_000))
            left = trio.CancelScope()

            async def leave() -> None:
                with left:
                    await log.append(append("toy_3", 0, size=10))

            nursery.start_soon(leave)
            await trio.testing.wait_all_tasks_blocked()
            behind = await hand_over(nursery, log, append("toy_4", 0))
            left.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert left.cancelled_caught
            disk.release()
        assert waiting == [Appended(3, 1)]
        assert behind == [Appended(4, 1)]
        assert await log.row("toy_3") is None


@pytest.mark.trio
async def test_who_is_cancelled_after_handing_over_still_gets_it_written(tmp_path: Path) -> None:
    disk = HeldDisk()
    answered: list[Appended] = []
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        disk.held = True
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def one() -> None:
                with scope:
                    answered.append(await log.append(append("toy_1", 0)))

            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert not answered
            disk.release()
        assert answered == [Appended(1, 1)]


@pytest.mark.trio
async def test_who_is_cancelled_before_hands_nothing_over(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.append(append("toy_1", 0))
        assert scope.cancelled_caught
        assert await log.row("toy_1") is None


@pytest.mark.trio
async def test_closing_decides_what_was_handed_over_and_refuses_the_rest(tmp_path: Path) -> None:
    disk = HeldDisk()
    async with trio.open_nursery() as nursery:
        async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk, queue_bytes=1) as log:
            disk.held = True
            first = await hand_over(nursery, log, append("toy_1", 0))
            queued = await hand_over(nursery, log, append("toy_2", 0))
            outside = await hand_over(nursery, log, append("toy_3", 0))
            log.close()
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(outside[0], Closed)
            disk.release()
        assert first == [Appended(1, 1)]
        assert queued == [Appended(2, 1)]
        with pytest.raises(Closed):
            await log.append(append("toy_4", 0))


@pytest.mark.trio
async def test_cancelling_everything_keeps_what_was_handed_over(tmp_path: Path) -> None:
    disk = HeldDisk()
    with trio.CancelScope() as scope:
        async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log, trio.open_nursery() as nursery:
            disk.held = True
            for number in range(3):
                nursery.start_soon(log.append, append(f"toy_{number}", 0))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            trio.lowlevel.spawn_system_task(_release_later, disk)
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.head() == 3


async def _release_later(disk: HeldDisk) -> None:
    await trio.testing.wait_all_tasks_blocked()
    disk.release()


@pytest.mark.trio
async def test_work_in_the_writer_waits_its_turn_and_its_error_is_its_callers(tmp_path: Path) -> None:
    disk = HeldDisk()

    def break_off(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE fence SET at = 7")
        raise LookupError("not today")

    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk, queue_bytes=600) as log:
        refused: list[Exception] = []

        async def one() -> None:
            try:
                await log.maintain(break_off)
            except LookupError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            disk.held = True
            await hand_over(nursery, log, append("toy_0", 0))
            before = await hand_over(nursery, log, append("toy_1", 0))
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            behind = await hand_over(nursery, log, append("toy_2", 0, size=2_000))  # waits outside
            disk.release()
        assert (before, behind) == ([Appended(2, 1)], [Appended(3, 1)])
        assert len(refused) == 1
        assert await log.read(lambda connection: connection.execute("SELECT at FROM fence").fetchone()) != (7,)


@pytest.mark.trio
async def test_moved_due_times_ride_with_the_next_commit(tmp_path: Path) -> None:
    disk = HeldDisk()
    first, second = Hand("toy_1"), Hand("toy_2")
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        await first.add(log, 1)
        await second.add(log, 1)
        runs = disk.runs
        log.move_due("toy_1", 77)
        await second.add(log, 2)
        assert disk.runs == runs + 1
        row = await log.row("toy_1")
        assert row is not None
        assert (row.standing.next_due, row.version) == (77, 1)
        assert [row.actor for row in await log.due()] == ["toy_1", "toy_2"]
        log.move_due("toy_2", 5)  # older than the events that follow, which say better
        await second.add(log, 3)
        assert [row.actor for row in await log.due()] == ["toy_1", "toy_2"]
        assert (await log.verify([TOY])).ok


@pytest.mark.trio
async def test_moved_due_times_are_written_soon_without_a_commit(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=InlineDisk()) as log:
        await Hand("toy_1").add(log, 1)
        log.move_due("toy_1", 99)
        await trio.sleep(1.1)
        assert [row.standing.next_due for row in await log.due()] == [99]
        await trio.sleep(60)


@pytest.mark.trio
async def test_w77_moved_due_times_are_written_at_close(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await Hand("toy_1").add(log, 1)
        await log.append(append("toy_2", 0))  # asks for nothing: a hint wakes nobody
        log.move_due("toy_1", 88)
        log.move_due("toy_2", 88)
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert [(row.actor, row.standing.next_due) for row in await log.due()] == [("toy_1", 88)]


@pytest.mark.trio
async def test_the_wal_is_emptied_when_nobody_writes(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    def wal_bytes() -> int:  # not in a thread: the clock would jump while it runs
        return (tmp_path / "log.db-wal").stat().st_size

    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=InlineDisk()) as log:
        await Hand("toy_1").add(log, 1)
        assert wal_bytes()
        await trio.sleep(5)
        assert not wal_bytes()


class Died(Exception):
    """What a crash sweep raises at a crash point."""


@pytest.mark.trio
@pytest.mark.parametrize("point", ["commit.before", "commit.written", "commit.after"])
async def test_dying_at_a_crash_point_leaves_nobody_waiting_and_a_log_that_opens(tmp_path: Path, point: str) -> None:
    hits: list[str] = []

    def probe(name: str, kind: str) -> None:
        hits.append(f"{name}/{kind}")
        if name == point and hits.count(f"{name}/{kind}") == 2:
            raise Died

    told: list[Exception] = []

    async def one(log: SqliteLog) -> None:
        try:
            await log.append(append("toy_2", 0))
        except PerdureError as error:
            told.append(error)

    with pytest.RaisesGroup(Died, flatten_subgroups=True), armed(probe):
        async with (
            open_log(tmp_path / "log.db", codecs=[CODEC], disk=InlineDisk()) as log,
            trio.open_nursery() as nursery,
        ):
            await log.append(append("toy_1", 0))
            nursery.start_soon(one, log)
            await trio.sleep_forever()
    assert [type(error) for error in told] == [OutcomeUnknown]
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.head() == (2 if point == "commit.after" else 1)
        assert (await log.verify()).ok
