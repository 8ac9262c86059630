"""Waiting for a turn, and being cancelled before, in and after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing

from perdure.events.errors import DiskFull, Unavailable
from perdure.store.blobs import BlobStore
from perdure.store.blobs.turns import Job, Turns
from perdure.store.crash_points import armed
from perdure.store.disk import InlineDisk, ThreadDisk

T = TypeVar("T")


class GatedDisk:
    """Lets no work begin before its gate is open."""

    def __init__(self) -> None:
        self.gate = trio.Event()

    async def run(self, work: Callable[[], T]) -> T:
        await self.gate.wait()
        return work()


@pytest.mark.trio
async def test_whoever_is_there_when_the_hop_begins_is_in_the_turn() -> None:
    turns_done: list[int] = []

    def work(jobs: Sequence[Job]) -> None:
        turns_done.append(len(jobs))
        for job in jobs:
            job.settle(None)

    turns = Turns(InlineDisk(), work)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(turns.take, Job())
    assert sum(turns_done) == 100
    assert len(turns_done) <= 2


@pytest.mark.trio
async def test_each_gets_its_own_answer() -> None:
    class Refused(Job):
        pass

    def work(jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.settle(DiskFull("no room") if isinstance(job, Refused) else None)

    turns = Turns(InlineDisk(), work)

    async def refused() -> None:
        with pytest.raises(DiskFull, match="no room"):
            await turns.take(Refused())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(refused)
            nursery.start_soon(turns.take, Job())


@pytest.mark.trio
async def test_the_leader_cancelled_before_its_hop_leaves_the_turn_to_the_others() -> None:
    done: list[Job] = []

    def work(jobs: Sequence[Job]) -> None:
        done.extend(jobs)
        for job in jobs:
            job.settle(None)

    disk = GatedDisk()
    turns = Turns(disk, work)
    leader, other = Job(), Job()
    scope = trio.CancelScope()

    async def lead() -> None:
        with scope:
            await turns.take(leader)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lead)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.take, other)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        disk.gate.set()
    assert scope.cancelled_caught
    assert done == [other]
    assert not leader.settled


@pytest.mark.trio
async def test_cancelled_in_the_middle_of_a_turn_it_is_done_and_holds_no_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        entered.set()
        go_on.wait()
        real(descriptor)

    async with BlobStore(tmp_path, ThreadDisk()) as store:
        scopes: list[trio.CancelScope] = []

        async def put(content: bytes) -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                blob = await store.put(content)
                store.release(blob.digest)

        monkeypatch.setattr(os, "fsync", fsync)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, b"one")
            nursery.start_soon(put, b"two")
            await trio.to_thread.run_sync(entered.wait)
            for scope in scopes:
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert not any(scope.cancelled_caught for scope in scopes)
            go_on.set()
        # The one that led its turn got its blob, the one that waited was cancelled after it was stored.
        assert sorted(scope.cancelled_caught for scope in scopes) == [False, True]
        assert store.pinned == 0
        assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]


@pytest.mark.trio
async def test_a_turn_that_breaks_off_tells_everybody_in_it(tmp_path: Path) -> None:
    caught: list[Exception] = []

    def probe(name: str, kind: str) -> None:
        raise ZeroDivisionError(name)

    async with BlobStore(tmp_path, InlineDisk()) as store:

        async def put(content: bytes) -> None:
            try:
                await store.put(content)
            except (ZeroDivisionError, Unavailable) as error:
                caught.append(error)

        with armed(probe):
            async with trio.open_nursery() as nursery:
                for n in range(3):
                    nursery.start_soon(put, b"%d" % n)
        assert sorted(type(error).__name__ for error in caught) == ["Unavailable", "Unavailable", "ZeroDivisionError"]
        await store.put(b"0")
