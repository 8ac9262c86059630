"""Small blobs are rows: made durable together, read and checked and swept like files."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import trio

from perdure.events.errors import BlobLost, DiskFull, Unavailable
from perdure.store.blobs import Blob, BlobReader, BlobStore, Swept
from perdure.store.crash_points import armed
from perdure.store.disk import InlineDisk, ThreadDisk
from tests.store.blobs.looking import in_files, in_rows, stored

NOW = -1.0
"""An age that everything has passed."""

SMALL = 100
"""What is shorter has no file of its own here."""


async def nothing(_digests: Sequence[str]) -> Collection[str]:
    await trio.lowlevel.checkpoint()
    return ()


def change(root: Path, digest: str, file: bytes) -> None:
    """Puts something else into a row."""
    with closing(sqlite3.connect(root / "small.db", isolation_level=None)) as connection:
        connection.execute("UPDATE blobs SET file = ? WHERE digest = ?", (file, digest))


def row_of(root: Path, digest: str) -> bytes:
    with closing(sqlite3.connect(root / "small.db")) as connection:
        (file,) = connection.execute("SELECT file FROM blobs WHERE digest = ?", (digest,)).fetchone()
    assert isinstance(file, bytes)
    return file


@pytest.mark.trio
@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL, SMALL + 1])
async def test_what_is_small_is_a_row_and_what_is_not_a_file(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    async with BlobStore(tmp_path, ThreadDisk(), small_bytes=SMALL) as store:
        blob = await store.put(content, key_id=7)
        assert blob == Blob(hashlib.sha256(content).hexdigest(), size, 7)
        assert await store.read(blob.digest) == content
        assert await store.stat(blob.digest) == blob
        assert await store.read(blob.digest, size // 2, size - size // 2) == content[size // 2 :]
    assert (in_rows(tmp_path), in_files(tmp_path)) == (
        ({blob.digest}, set()) if size < SMALL else (set(), {blob.digest})
    )
    async with BlobReader(tmp_path, ThreadDisk()) as reader:
        assert b"".join([chunk async for chunk in reader.chunks(blob.digest)]) == content
        assert await reader.verify([blob.digest]) == []


@pytest.mark.trio
async def test_a_row_holds_what_a_file_would(tmp_path: Path) -> None:
    async with (
        BlobStore(tmp_path / "rows", InlineDisk()) as rows,
        BlobStore(tmp_path, InlineDisk(), small_bytes=0) as files,
    ):
        blob = await rows.put(b"content", key_id=3)
        assert await files.put(b"content", key_id=3) == blob
    assert row_of(tmp_path / "rows", blob.digest) == (tmp_path / blob.digest[:2] / blob.digest).read_bytes()


@pytest.mark.trio
async def test_nobody_else_may_read_rows(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with BlobStore(tmp_path / "blobs", InlineDisk()) as store:
            await store.put(b"content")
            paths = list((tmp_path / "blobs").glob("small.db*"))
            assert {path.name for path in paths} == {"small.db", "small.db-wal", "small.db-shm"}
            assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.trio
async def test_all_that_wait_share_one_sync(tmp_path: Path, shared_syncs: list[str]) -> None:
    found: list[Blob] = []
    async with BlobStore(tmp_path, InlineDisk()) as store:
        await store.put(b"first")
        with armed(lambda name, kind: shared_syncs.append(name)):

            async def put(n: int) -> None:
                found.append(await store.put(b"%d" % (n % 150)))

            async with trio.open_nursery() as nursery:
                for n in range(300):
                    nursery.start_soon(put, n)
        assert len(found) == 300
        assert store.pinned == 151
    # Two turns at most: whoever came before the first hop began, and the rest.
    assert shared_syncs.count("blob.written") <= 2
    assert len(in_rows(tmp_path)) == 151
    assert in_files(tmp_path) == set()


@pytest.fixture
def shared_syncs() -> list[str]:
    return []


@pytest.mark.trio
async def test_a_reader_in_another_process_sees_rows_at_once(tmp_path: Path) -> None:
    async with BlobReader(tmp_path, InlineDisk()) as reader, BlobStore(tmp_path, InlineDisk()) as store:
        digest = hashlib.sha256(b"content").hexdigest()
        with pytest.raises(BlobLost, match="missing"):
            await reader.read(digest)
        await store.put(b"content")
        assert await reader.read(digest) == b"content"
        assert await reader.read_many([(digest, 0, 3), (digest, 3, 4)]) == [b"con", b"tent"]


def flip(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a flipped bit": (flip, "have the digest"),
    "cut in the header": (lambda raw: raw[:10], "10 of 16 header bytes"),
    "empty": (lambda raw: b"", "0 of 16 header bytes"),
}


@pytest.mark.trio
@pytest.mark.parametrize(("damaged", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("small_bytes", [0, SMALL], ids=["with a file", "with a row"])
async def test_a_damaged_row_is_lost_and_storing_the_content_again_mends_it(
    tmp_path: Path, damaged: Callable[[bytes], bytes], reason: str, small_bytes: int
) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=SMALL) as store:
        blob = await store.put(b"content")
    change(tmp_path, blob.digest, damaged(row_of(tmp_path, blob.digest)))
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=small_bytes) as store:
        with pytest.raises(BlobLost, match=reason):
            await store.read(blob.digest)
        with pytest.raises(BlobLost, match="damaged"):
            async with store.pin(blob.digest):
                raise AssertionError("there is nothing to pin")
        assert [error.id for error in await store.verify([blob.digest])] == [blob.digest]
        await store.put(b"content")
        assert await store.read(blob.digest) == b"content"
    assert (in_files(tmp_path) if small_bytes == 0 else in_rows(tmp_path)) == {blob.digest}
    assert stored(tmp_path) == {blob.digest}


@pytest.mark.trio
async def test_a_row_takes_the_place_of_a_damaged_file(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"content")
    path = tmp_path / blob.digest[:2] / blob.digest
    path.write_bytes(flip(path.read_bytes()))
    async with BlobStore(tmp_path, InlineDisk()) as store:
        with pytest.raises(BlobLost):
            await store.read(blob.digest)
        await store.put(b"content")
        assert await store.read(blob.digest) == b"content"
        store.release(blob.digest)
        assert (await store.sweep(nothing, older_than_s=NOW)).blobs == 1
    assert stored(tmp_path) == set()


@pytest.mark.trio
async def test_a_damaged_database_loses_its_blobs_and_not_the_others(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=SMALL) as store:
        small, large = await store.put_many([b"small", b"l" * SMALL])
    (tmp_path / "small.db").write_bytes(b"no database" * 1_000)
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=SMALL) as store:
        with pytest.raises(BlobLost, match=r"small\.db"):
            await store.read(small.digest)
        with pytest.raises(Unavailable, match="not a database"):
            await store.put(b"small")
        assert await store.read(large.digest) == b"l" * SMALL
        assert [error.id for error in await store.verify([small.digest, large.digest])] == [small.digest]
        assert store.pinned == 0


@pytest.mark.trio
async def test_rows_are_swept_like_files_and_their_space_is_given_back(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk()) as store:
        blobs = await store.put_many([b"%04d" % n + bytes(10_000) for n in range(1_200)])
        store.release(*(blob.digest for blob in blobs))
        named = {blob.digest for blob in blobs[:3]}

        async def references(digests: Sequence[str]) -> Collection[str]:
            await trio.lowlevel.checkpoint()
            return named & set(digests)

        assert await store.sweep(references) == Swept(0, 0, 0)
        swept = await store.sweep(references, older_than_s=NOW)
        assert swept == Swept(1_197, 1_197 * 10_004, 0)
        assert await store.verify(named) == []
    assert stored(tmp_path) == named
    assert (tmp_path / "small.db").stat().st_size < 100_000


@pytest.mark.trio
async def test_a_full_disk_refuses_rows_and_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with BlobStore(tmp_path, InlineDisk()) as store:
        kept = await store.put(b"kept")
        writer = vars(store)["_rows"]
        real = cast("sqlite3.Connection", vars(writer)["_connection"])

        class Full:
            """A database without room."""

            def execute(self, *_arguments: object) -> None:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

            def close(self) -> None:
                real.close()

        monkeypatch.setattr(writer, "_connection", Full())
        with pytest.raises(DiskFull, match="is full"):
            await store.put_many([b"one", b"two", b"t" * 20_000])
        assert (in_rows(tmp_path), in_files(tmp_path), store.pinned) == ({kept.digest}, set(), 1)
        assert len(await store.put_many([b"one", b"two", b"t" * 20_000])) == 3


@pytest.mark.trio
@pytest.mark.parametrize("call", ["open", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("nth", range(1, 6))
async def test_the_first_row_of_all_can_be_tried_again_wherever_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    calls = 0
    real = getattr(os, call)

    def refuse(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        result: object = real(*arguments, **keywords)
        return result

    async with BlobStore(tmp_path / "deep" / "blobs", InlineDisk()) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            refused = False
            try:
                await store.put(b"content")
            except DiskFull:
                refused = True
        assert refused == (calls >= nth)
        blob = await store.put(b"content")
        assert await store.read(blob.digest) == b"content"
    assert stored(tmp_path / "deep" / "blobs") == {blob.digest}


@pytest.mark.trio
async def test_what_a_killed_process_committed_is_synced_before_it_is_called_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BlobStore(tmp_path, InlineDisk()) as dead:
        await dead.put(b"content")
        synced: list[str] = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            real(descriptor)
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

        monkeypatch.setattr(os, "fsync", fsync)
        async with BlobStore(tmp_path, InlineDisk()) as store:
            await store.put(b"content")
        assert {str(tmp_path / "small.db-wal"), str(tmp_path)} <= set(synced)
