"""What the sweep removes and what it must keep."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from perdure.events.errors import BlobLost
from perdure.store.blobs import BlobStore, Swept
from perdure.store.disk import InlineDisk, ThreadDisk

NOW = -1.0
"""An age that every file has passed."""


def file_names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()}


async def nothing(_digests: Sequence[str]) -> Collection[str]:
    await trio.lowlevel.checkpoint()
    return ()


@pytest.mark.trio
async def test_what_nobody_names_or_pins_goes(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, ThreadDisk(), small_bytes=0) as store:
        named, pinned, orphan = await store.put_many([b"named", b"pinned", b"orphan"])
        store.release(named.digest, orphan.digest)
        assert await store.read(orphan.digest) == b"orphan"

        asked: set[str] = set()

        async def references(digests: Sequence[str]) -> Collection[str]:
            await trio.lowlevel.checkpoint()
            asked.update(digests)
            return {named.digest} & set(digests)

        assert await store.sweep(references, older_than_s=NOW) == Swept(1, len(b"orphan"), 0)
        assert asked == {named.digest, orphan.digest}
        assert await store.read_many([(named.digest, 0, 5), (pinned.digest, 0, 6)]) == [b"named", b"pinned"]
        with pytest.raises(BlobLost):
            await store.read(orphan.digest)
        store.release(pinned.digest)
        assert (await store.sweep(references, older_than_s=NOW)).blobs == 1


@pytest.mark.trio
async def test_what_is_young_stays_and_what_is_not_ours_too(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        young, old = await store.put_many([b"young", b"old"])
        store.release(young.digest, old.digest)
        path = tmp_path / old.digest[:2] / old.digest
        a_day_ago = path.stat().st_mtime - 86_401
        os.utime(path, (a_day_ago, a_day_ago))
        foreign = tmp_path / old.digest[:2] / "README"
        foreign.write_text("not a blob")
        os.utime(foreign, (0, 0))
        assert (await store.sweep(nothing)).blobs == 1
        assert foreign.exists()
        assert await store.read(young.digest) == b"young"


@pytest.mark.trio
async def test_a_swept_blob_can_be_put_again(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        for _ in range(3):
            blob = await store.put(b"content")
            assert await store.read(blob.digest) == b"content"
            store.release(blob.digest)
            assert (await store.sweep(nothing, older_than_s=NOW)).blobs == 1


@pytest.mark.trio
async def test_a_hit_while_the_sweep_asks_saves_the_blob_even_if_its_commit_is_through(tmp_path: Path) -> None:
    """The hit, its commit and the release of its pin all happen after the sweep's question was answered with no."""
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        orphan = await store.put(b"old orphan")
        store.release(orphan.digest)
        named: set[str] = set()

        async def references(digests: Sequence[str]) -> Collection[str]:
            answer = named & set(digests)
            blob = await store.put(b"old orphan")
            named.add(blob.digest)
            store.release(blob.digest)
            return answer

        assert (await store.sweep(references, older_than_s=NOW)).blobs == 0
        assert await store.read(orphan.digest) == b"old orphan"


@pytest.mark.trio
async def test_pins_are_counted(tmp_path: Path) -> None:
    async with BlobStore(tmp_path, InlineDisk(), small_bytes=0) as store:
        blob = await store.put(b"content")
        await store.put(b"content")
        store.release(blob.digest)
        assert (await store.sweep(nothing, older_than_s=NOW)).blobs == 0
        async with store.pin(blob.digest):
            store.release(blob.digest)
            assert (await store.sweep(nothing, older_than_s=NOW)).blobs == 0
        assert (await store.sweep(nothing, older_than_s=NOW)).blobs == 1
        with pytest.raises(ValueError, match="not pinned"):
            store.release(blob.digest)


@pytest.mark.trio
async def test_drafts_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from perdure.store.blobs.scratch import Scratch\n"
        "draft = Scratch(pathlib.Path(sys.argv[1])).draft(0)\n"
        "draft.write(b'half')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    async with BlobStore(tmp_path, ThreadDisk(), small_bytes=0) as store, store.open_writer() as writer:
        await writer.write(b"x" * 600_000)
        async with trio.open_nursery() as nursery:
            other = await nursery.start(
                partial(
                    trio.run_process,
                    [sys.executable, "-c", script, str(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    check=False,
                )
            )
            assert isinstance(other, trio.Process)
            assert other.stdout is not None
            assert (await other.stdout.receive_some()).startswith(b"ready")
            assert (await store.sweep(nothing, older_than_s=NOW)).drafts == 0
            other.kill()
        assert (await store.sweep(nothing, older_than_s=NOW)).drafts == 1
        blob = await writer.commit()
        assert blob.size_bytes == 600_000


@pytest.mark.trio
async def test_a_sweep_of_nothing_is_nothing(tmp_path: Path) -> None:
    async with BlobStore(tmp_path / "not there", InlineDisk(), small_bytes=0) as store:
        assert await store.sweep(nothing) == Swept(0, 0, 0)
        assert not (tmp_path / "not there").exists()


@pytest.mark.trio
async def test_puts_and_sweeps_side_by_side_lose_nothing(tmp_path: Path) -> None:
    named: set[str] = set()
    async with BlobStore(tmp_path, ThreadDisk(threads=4), small_bytes=0) as store:

        async def references(digests: Sequence[str]) -> Collection[str]:
            await trio.lowlevel.checkpoint()
            return named & set(digests)

        async def put(task: int) -> None:
            for n in range(20):
                # Each content is brought by several tasks, some of which never name it.
                blob = await store.put(b"%d" % ((task * 7 + n) % 30))
                if (task + n) % 3:
                    await trio.lowlevel.checkpoint()
                    named.add(blob.digest)
                store.release(blob.digest)

        async def sweep_on() -> None:
            while True:
                await store.sweep(references, older_than_s=NOW)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep_on)
            async with trio.open_nursery() as putting:
                for task in range(8):
                    putting.start_soon(put, task)
            nursery.cancel_scope.cancel()
        assert store.pinned == 0
        assert await store.verify(named) == []
        await store.sweep(references, older_than_s=NOW)
        assert file_names(tmp_path) == named
