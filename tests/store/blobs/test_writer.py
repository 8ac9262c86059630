"""Writing a blob piece by piece."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from perdure.events.errors import DiskFull
from perdure.store.blobs import BlobStore
from perdure.store.disk import InlineDisk

T = TypeVar("T")


class CountingDisk(InlineDisk):
    """Counts hops."""

    def __init__(self) -> None:
        self.hops = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.hops += 1
        return await super().run(work)


def file_count(root: Path) -> int:
    return sum(path.is_file() for path in root.rglob("*"))


@pytest.mark.trio
async def test_every_record_is_found_at_the_offset_it_was_given(tmp_path: Path) -> None:
    records = [b"%d " % n * (n % 40) for n in range(1_000)]
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=4_096, small_bytes=0) as store:
        async with store.open_writer() as writer:
            slices: list[tuple[int, int]] = []
            for record in records:
                assert writer.offset == sum(length for _, length in slices)
                slices.append((await writer.write(record), len(record)))
            blob = await writer.commit()
        assert blob.size_bytes == sum(map(len, records))
        assert await store.read_slices(blob.digest, slices) == records
        assert store.pinned == 1


@pytest.mark.trio
async def test_fifty_thousand_records_take_a_hundred_hops(tmp_path: Path) -> None:
    disk = CountingDisk()
    async with BlobStore(tmp_path, disk, small_bytes=0) as store:
        record = b"x" * 1024
        async with store.open_writer() as writer:
            for _ in range(50_000):
                await writer.write(record)
            await writer.commit()
    assert disk.hops < 110


@pytest.mark.trio
async def test_a_small_blob_takes_one_hop(tmp_path: Path) -> None:
    disk = CountingDisk()
    async with BlobStore(tmp_path, disk, small_bytes=0) as store, store.open_writer() as writer:
        await writer.write(b"small")
        await writer.commit()
    assert disk.hops == 1


@pytest.mark.trio
@pytest.mark.parametrize("size", [0, 10, 10_000])
async def test_left_without_commit_nothing_stays(tmp_path: Path, size: int) -> None:
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=1_000, small_bytes=0) as store:
        async with store.open_writer() as writer:
            await writer.write(b"x" * size)
        with pytest.raises(RuntimeError, match="ended"):
            await writer.write(b"more")
        assert file_count(tmp_path) == 0


@pytest.mark.trio
async def test_left_by_cancellation_nothing_stays(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=1_000, small_bytes=0) as store:
        with trio.CancelScope() as scope:
            async with store.open_writer() as writer:
                await writer.write(b"x" * 10_000)
                assert file_count(tmp_path) == 1
                scope.cancel()
                await writer.write(b"x" * 10_000)
        assert scope.cancelled_caught
        assert file_count(tmp_path) == 0


@pytest.mark.trio
async def test_a_committed_writer_has_ended(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store, store.open_writer() as writer:
        await writer.commit()
        with pytest.raises(RuntimeError, match="ended"):
            await writer.commit()


@pytest.mark.trio
async def test_on_a_full_disk_the_space_is_free_at_once_and_the_writer_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        BlobStore(tmp_path, InlineDisk(), buffer_bytes=1_000, small_bytes=0) as store,
        store.open_writer() as writer,
    ):
        await writer.write(b"x" * 10_000)

        def refuse(_descriptor: int, _data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            with pytest.raises(DiskFull):
                await writer.write(b"x" * 10_000)
        assert file_count(tmp_path) == 0
        with pytest.raises(RuntimeError, match="ended"):
            await writer.write(b"more")


@pytest.mark.trio
async def test_content_that_is_there_is_not_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=1_000, small_bytes=0) as store:
        first = await store.put(b"x" * 10_000)

        def refuse(_descriptor: int) -> None:
            raise AssertionError("nothing needs a sync here")

        monkeypatch.setattr(os, "fsync", refuse)
        async with store.open_writer() as writer:
            await writer.write(b"x" * 10_000)
            assert await writer.commit() == first
        assert file_count(tmp_path) == 1
