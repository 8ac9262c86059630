"""Storing blobs: what is on disk afterwards, what a hit costs, what a failure leaves."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from perdure.events.errors import DiskFull, PerdureError, Unavailable
from perdure.store.blobs import Blob, BlobReader, BlobStore
from perdure.store.crash_points import armed
from perdure.store.disk import InlineDisk, ThreadDisk

T = TypeVar("T")


class CountingDisk:
    """Counts hops. Runs them inline."""

    def __init__(self) -> None:
        self.hops = 0

    async def run(self, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.hops += 1
        return work()


def files(root: Path) -> list[Path]:
    """All files under a root, of blobs and drafts."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await trio.lowlevel.checkpoint()
        yield part


@pytest.mark.trio
@pytest.mark.parametrize(
    "content", [b"", b"x", b"line\n" * 999, os.urandom(700_000)], ids=["empty", "one byte", "lines", "over a buffer"]
)
async def test_content_comes_back_under_its_digest(tmp_path: Path, content: bytes) -> None:
    async with BlobStore(tmp_path / "blobs", ThreadDisk(), small_bytes=0) as store:
        blob = await store.put(content)
        assert blob == Blob(digest_of(content), len(content))
        assert await store.read(blob.digest) == content
    async with BlobReader(tmp_path / "blobs", ThreadDisk()) as reader:
        assert await reader.read(blob.digest) == content
        assert await reader.stat(blob.digest) == blob


@pytest.mark.trio
async def test_pieces_become_one_blob_and_memory_holds_a_buffer_of_them(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, ThreadDisk(), buffer_bytes=1024, small_bytes=0) as store:
        parts = [bytes([n]) * 700 for n in range(50)]
        blob = await store.put(pieces(*parts))
        assert blob == await store.put(b"".join(parts))
        assert await store.read(blob.digest) == b"".join(parts)


@pytest.mark.trio
async def test_the_file_is_a_documented_header_and_the_content(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"sealed bytes", key_id=7)
        assert blob.key_id == 7
        assert await store.stat(blob.digest) == blob
    raw = (tmp_path / blob.digest[:2] / blob.digest).read_bytes()
    assert raw[:6] == b"\x89PBLB\n"
    assert int.from_bytes(raw[6:8], "big") == 1
    assert int.from_bytes(raw[8:12], "big") == 7
    assert raw[16:] == b"sealed bytes"


@pytest.mark.trio
async def test_nobody_else_may_read_files_or_enter_folders(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with (
            BlobStore(tmp_path / "deep" / "blobs", InlineDisk(), small_bytes=0) as store,
            store.open_writer() as writer,
        ):
            await writer.write(b"y" * 600_000)
            await store.put(b"content")
            paths = list((tmp_path / "deep").rglob("*"))
            assert len([path for path in paths if path.is_file()]) == 2
            for path in paths:
                wanted = 0o600 if path.is_file() else 0o700
                assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    finally:
        os.umask(before)


@pytest.mark.trio
async def test_many_contents_take_one_hop_and_equal_ones_one_file(tmp_path: Path) -> None:
    disk = CountingDisk()
    async with BlobStore(tmp_path, disk, small_bytes=0) as store:
        contents = [b"a", b"b", b"a", *(b"%d" % n for n in range(300))]
        blobs = await store.put_many(contents)
        assert disk.hops == 1
        assert [blob.digest for blob in blobs] == [digest_of(content) for content in contents]
        assert len(files(tmp_path)) == 302
        assert store.pinned == 302


@pytest.mark.trio
async def test_no_content_is_no_blob(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        assert await store.put_many([]) == []


@pytest.mark.trio
async def test_many_tasks_with_the_same_content_get_one_durable_file(tmp_path: Path) -> None:
    found: list[Blob] = []
    async with BlobStore(tmp_path, ThreadDisk(threads=4), small_bytes=0) as store:

        async def put(n: int) -> None:
            content = b"shared" if n % 3 else b"other"
            found.append(await store.put(content if n % 2 else pieces(content[:2], content[2:])))

        async with trio.open_nursery() as nursery:
            for n in range(60):
                nursery.start_soon(put, n)
        assert len(found) == 60
        assert store.pinned == 2
        assert len(files(tmp_path)) == 2
        for blob in found:
            store.release(blob.digest)
        assert store.pinned == 0


@pytest.mark.trio
async def test_many_writers_begin_at_the_same_moment(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, ThreadDisk(threads=8), buffer_bytes=10, small_bytes=0) as store:
        found: list[Blob] = []

        async def put(n: int) -> None:
            found.append(await store.put(pieces(b"%020d" % n, b"%020d" % n)))

        async with trio.open_nursery() as nursery:
            for n in range(40):
                nursery.start_soon(put, n)
        assert await store.verify(blob.digest for blob in found) == []
        assert len(files(tmp_path)) == 40


@pytest.mark.trio
async def test_all_puts_that_wait_share_one_sync_of_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append("folder" if os.path.isdir(path) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    async with BlobStore(tmp_path, CountingDisk(), small_bytes=0) as store, trio.open_nursery() as nursery:
        for n in range(600):
            nursery.start_soon(store.put, b"%d" % n)
    # Two turns at most: whoever came before the first hop began, and the rest.
    assert synced.count("folder") <= 2 * 256 + 3
    assert synced.count("file") == 600


@pytest.mark.trio
async def test_the_order_is_file_then_name_then_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        done.append("sync folder" if os.path.isdir(path) else "sync file")
        real_fsync(descriptor)

    def rename(source: Path, target: Path) -> None:
        done.append("rename")
        real_rename(source, target)

    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        await store.put(b"first")  # syncs the root's own entry too
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "rename", rename)
        with armed(lambda name, kind: done.append(name)):
            await store.put(b"content")
    assert done == [
        "blob.written",
        "sync file",
        "rename",
        "blob.renamed",
        "sync folder",
        "sync folder",
        "blob.durable",
    ]


@pytest.mark.trio
async def test_a_hit_is_synced_again_unless_this_process_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"content")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        real(descriptor)

    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        monkeypatch.setattr(os, "fsync", fsync)
        await store.put(b"content")
        assert f"{blob.digest[:2]}/{blob.digest}" in synced
        assert blob.digest[:2] in synced
        assert "." in synced
        synced.clear()
        await store.put(b"content")
        assert synced == []


@pytest.mark.trio
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "in pieces"])
async def test_a_hit_on_a_damaged_file_puts_the_content_back(tmp_path: Path, streamed: bool) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"content")
    path = tmp_path / blob.digest[:2] / blob.digest
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=2, small_bytes=0) as store:
        await store.put(pieces(b"con", b"tent") if streamed else b"content")
        assert await store.read(blob.digest) == b"content"
        assert files(tmp_path) == [path]


async def fill_up(store: BlobStore, how: str) -> object:
    """Tries to store something in one of the ways there are."""
    match how:
        case "put":
            return await store.put(b"content")
        case "put_many":
            return await store.put_many([b"a", b"b", b"c"])
        case "stream":
            return await store.put(pieces(b"x" * 1000, b"y" * 1000))
        case _:
            async with store.open_writer() as writer:
                await writer.write(b"x" * 1000)
                return await writer.commit()


@pytest.mark.trio
@pytest.mark.parametrize("how", ["put", "put_many", "stream", "writer"])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, DiskFull),
        (errno.EIO, Unavailable),
    ],
    ids=["disk full", "over quota", "read-only", "input/output error"],
)
async def test_a_refusal_of_the_disk_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    call: str,
    number: int,
    expected: type[PerdureError],
) -> None:
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=500, small_bytes=0) as store:
        kept = await store.put(b"kept")

        def refuse(*_args: object, **_keywords: object) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            with pytest.raises(expected) as caught:
                await fill_up(store, how)
        assert type(caught.value) is expected
        assert str(tmp_path) in str(caught.value)
        assert [path.name for path in files(tmp_path)] == [kept.digest]
        assert store.pinned == 1
        await fill_up(store, how)


@pytest.mark.trio
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("nth", range(1, 6))
async def test_the_first_put_of_all_can_be_tried_again_wherever_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    calls = 0

    def refuse(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **keywords)

    synced: list[str] = []
    real_sync = os.fsync

    def fsync(descriptor: int) -> None:
        real_sync(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", fsync)
    real: Callable[..., object] = getattr(os, call)
    root = tmp_path / "deep" / "deeper" / "blobs"
    async with BlobStore(root, InlineDisk(), small_bytes=0) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            with contextlib.suppress(DiskFull):
                await store.put(b"content")
        blob = await store.put(b"content")
        assert await store.read(blob.digest) == b"content"
    folders = [root / blob.digest[:2], *(folder for folder in root.parents if folder.is_relative_to(tmp_path)), root]
    assert {str(folder) for folder in folders} <= set(synced)


@pytest.mark.trio
async def test_the_second_of_many_failing_leaves_none_but_what_others_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if bytes(data) == b"too much":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    stored: list[Blob] = []
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:

        async def fail() -> None:
            with pytest.raises(DiskFull):
                await store.put_many([b"alone", b"shared", b"too much"])

        async def succeed() -> None:
            stored.append(await store.put(b"shared"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(succeed)
        assert [path.name for path in files(tmp_path)] == [digest_of(b"shared")]
        assert store.pinned == 1
        assert await store.read(stored[0].digest) == b"shared"


@pytest.mark.trio
async def test_a_write_that_takes_a_part_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def write_half(descriptor: int, data: memoryview) -> int:
        return real(descriptor, data[: max(1, len(data) // 2)])

    monkeypatch.setattr(os, "write", write_half)
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"0123456789" * 100)
        assert await store.read(blob.digest) == b"0123456789" * 100


@pytest.mark.trio
async def test_a_sync_that_failed_once_is_not_believed_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed folder sync the new name goes, so that trying again makes it, and syncs it, anew."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        old = await store.put(b"kept")
        async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as again:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", fsync)
                with pytest.raises(Unavailable):
                    await again.put(b"new")
                with pytest.raises(Unavailable):
                    await again.put(b"kept")
            assert [path.name for path in files(tmp_path)] == [old.digest]
            await again.put(b"new")


@pytest.mark.trio
async def test_a_name_that_was_there_stays_when_mending_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records may point at it: the mended file must not go because its folder's sync failed."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"content")
    path = tmp_path / blob.digest[:2] / blob.digest
    path.write_bytes(b"damaged")
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        await store.put(b"other")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(Unavailable):
                await store.put(b"content")
        assert path.exists()
        assert await store.read(blob.digest) == b"content"


@pytest.mark.trio
@pytest.mark.parametrize("moment", range(8))
async def test_a_put_cancelled_at_any_of_its_checkpoints_leaves_nothing(tmp_path: Path, moment: int) -> None:
    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=4, small_bytes=0) as store:
        await store.put(b"kept")
        with trio.CancelScope() as scope:
            counted = 0

            async def interrupted() -> AsyncIterator[bytes]:
                nonlocal counted
                for part in (b"abcdef", b"ghijkl", b"mnopqr", b"stuvwx"):
                    for _ in range(2):
                        if counted == moment:
                            scope.cancel()
                        counted += 1
                        await trio.lowlevel.checkpoint()
                    yield part

            await store.put(interrupted())
        assert scope.cancelled_caught
        assert len(files(tmp_path)) == 1
        assert store.pinned == 1


@pytest.mark.trio
async def test_a_put_cancelled_while_it_waits_for_its_turn_is_not_done(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.put(b"content")
        assert scope.cancelled_caught
        assert files(tmp_path) == []
        assert store.pinned == 0
        other = await store.put(b"other")
        assert [path.name for path in files(tmp_path)] == [other.digest]


@pytest.mark.trio
async def test_an_iterable_that_fails_ends_the_put_with_its_error(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100
        raise ConnectionError("the other side left")

    async with BlobStore(tmp_path, InlineDisk(), buffer_bytes=10, small_bytes=0) as store:
        with pytest.raises(ConnectionError):
            await store.put(broken())
        assert files(tmp_path) == []


@pytest.mark.trio
async def test_a_key_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        with pytest.raises(ValueError, match="key_id"):
            await store.put(b"content", key_id=1 << 32)
        assert files(tmp_path) == []
