"""Reading blobs: slices, chunks, and what is missing or damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from perdure.events.errors import BlobLost, Unavailable
from perdure.store.blobs import Blob, BlobReader, BlobStore
from perdure.store.disk import InlineDisk, ThreadDisk

CONTENT = bytes(range(256)) * 20


@pytest.fixture
async def blob(tmp_path: Path) -> Blob:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        return await store.put(CONTENT)


def path_of(root: Path, blob: Blob) -> Path:
    return root / blob.digest[:2] / blob.digest


@pytest.mark.trio
@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, None, CONTENT), (10, 5, CONTENT[10:15]), (5_000, None, CONTENT[5_000:]), (5_120, None, b""), (7, 0, b"")],
    ids=["all", "a slice", "the rest", "at the end", "nothing"],
)
async def test_a_part_is_read(tmp_path: Path, blob: Blob, offset: int, length: int | None, expected: bytes) -> None:
    async with BlobReader(tmp_path, ThreadDisk()) as reader:
        assert await reader.read(blob.digest, offset, length) == expected


@pytest.mark.trio
@pytest.mark.parametrize(("offset", "length"), [(0, 5_121), (5_121, None), (5_120, 1)])
async def test_what_a_blob_does_not_hold_is_lost(tmp_path: Path, blob: Blob, offset: int, length: int | None) -> None:
    async with BlobReader(tmp_path, InlineDisk()) as reader:
        with pytest.raises(BlobLost, match="holds 5120 bytes"):
            await reader.read(blob.digest, offset, length)


@pytest.mark.trio
async def test_slices_of_several_blobs_come_in_order_with_few_files_open(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), max_open=3, small_bytes=0) as store:
        blobs = await store.put_many([b"%04d" % n for n in range(50)])
        before = len(os.listdir("/proc/self/fd"))
        wanted = [(blobs[n % 50].digest, n % 3, 1) for n in range(200)]
        found = await store.read_many(wanted)
        assert found == [(b"%04d" % (n % 50))[n % 3 : n % 3 + 1] for n in range(200)]
        assert len(os.listdir("/proc/self/fd")) <= before + 3
        assert await store.read_many([]) == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("offset", "length", "chunk_bytes"), [(0, None, 1_000), (10, 100, 33), (0, None, 5_120), (5_120, None, 10)]
)
async def test_chunks_join_to_the_part(
    tmp_path: Path, blob: Blob, offset: int, length: int | None, chunk_bytes: int
) -> None:
    async with BlobReader(tmp_path, InlineDisk()) as reader:
        parts = [part async for part in reader.chunks(blob.digest, offset, length, chunk_bytes=chunk_bytes)]
    end = None if length is None else offset + length
    assert b"".join(parts) == CONTENT[offset:end]
    assert all(0 < len(part) <= chunk_bytes for part in parts)


def flip(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a flipped bit": (flip, "have the digest"),
    "cut": (lambda raw: raw[:-1], "have the digest"),
    "longer": (lambda raw: raw + b"x", "have the digest"),
    "cut in the header": (lambda raw: raw[:10], "10 of 16 header bytes"),
    "empty": (lambda raw: b"", "0 of 16 header bytes"),
    "foreign": (lambda raw: b"X" + raw[1:], "does not begin as a blob does"),
    "another key": (lambda raw: raw[:8] + b"\x01" + raw[9:], "checksum"),
}


@pytest.mark.trio
@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_blob_is_lost_and_the_error_says_which_and_what_to_do(
    tmp_path: Path, blob: Blob, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = path_of(tmp_path, blob)
    path.write_bytes(damage(path.read_bytes()))
    async with BlobReader(tmp_path, InlineDisk()) as reader:
        for _ in range(2):
            with pytest.raises(BlobLost, match=reason) as caught:
                await reader.read(blob.digest, 0, 1)
            assert caught.value.id == blob.digest
            assert blob.digest in str(caught.value)
            assert "backup" in str(caught.value)
        with pytest.raises(BlobLost):
            await anext(reader.chunks(blob.digest))
        assert [error.id for error in await reader.verify([blob.digest])] == [blob.digest]


@pytest.mark.trio
@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", "A" * 64])
async def test_a_missing_blob_is_lost(tmp_path: Path, digest: str) -> None:
    async with BlobReader(tmp_path / "not there", InlineDisk()) as reader:
        for read in (reader.read, reader.stat):
            with pytest.raises(BlobLost) as caught:
                await read(digest)
            assert caught.value.id == digest
        assert [error.id for error in await reader.verify([digest])] == [digest]
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        with pytest.raises(BlobLost):
            async with store.pin(digest):
                raise AssertionError("there is nothing to pin")


@pytest.mark.trio
async def test_a_reason_that_may_pass_is_no_loss(tmp_path: Path, blob: Blob, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(24, "Too many open files")

    async with BlobReader(tmp_path, InlineDisk()) as reader:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(Unavailable, match="Too many open files"):
                await reader.read(blob.digest)
            with pytest.raises(Unavailable):
                await reader.verify([blob.digest])
        assert await reader.read(blob.digest) == CONTENT


@pytest.mark.trio
async def test_a_blob_is_verified_once_for_each_process_and_by_verify_again(tmp_path: Path, blob: Blob) -> None:
    path = path_of(tmp_path, blob)
    async with BlobReader(tmp_path, InlineDisk()) as reader:
        await reader.read(blob.digest)
        path.write_bytes(flip(path.read_bytes()))
        assert len(await reader.read(blob.digest)) == len(CONTENT)
        assert len(await reader.verify([blob.digest])) == 1
        with pytest.raises(BlobLost):
            await reader.read(blob.digest)
    async with BlobReader(tmp_path, InlineDisk(), verify_first=False) as trusting:
        assert await trusting.read(blob.digest, 0, 4) == CONTENT[:4]


@pytest.mark.trio
async def test_verify_names_exactly_the_bad_ones(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blobs = await store.put_many([b"%d" % n for n in range(150)])
        for n in (3, 77, 149):
            path = path_of(tmp_path, blobs[n])
            path.write_bytes(flip(path.read_bytes()))
        path_of(tmp_path, blobs[100]).unlink()
        bad = await store.verify(blob.digest for blob in blobs)
        assert [error.id for error in bad] == [blobs[n].digest for n in (3, 77, 100, 149)]
