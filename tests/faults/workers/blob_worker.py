"""Stores blobs from several tasks at once, in every way there is, and says what it was told. See `tests/faults/lab.py`.

Arguments: the folder for the blobs, number of tasks, rounds for each. The id of a blob is its digest.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from perdure.events.errors import PerdureError
from perdure.store.blobs import Blob, BlobStore
from perdure.store.disk import ThreadDisk


def say(line: str) -> None:
    """One write for each line: it has its place among the writes to the disk."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 700):
        await trio.lowlevel.checkpoint()
        yield content[start : start + 700]


async def store_one_way(store: BlobStore, way: int, contents: list[bytes]) -> list[Blob]:
    match way % 4:
        case 0:
            return [await store.put(contents[0])]
        case 1:
            return await store.put_many(contents)
        case 2:
            return [await store.put(pieces(contents[0] * 20))]
        case _:
            async with store.open_writer() as writer:
                for content in contents:
                    await writer.write(content)
                return [await writer.commit()]


def digests(way: int, contents: list[bytes]) -> list[str]:
    match way % 4:
        case 0:
            whole = contents[:1]
        case 1:
            whole = contents
        case 2:
            whole = [contents[0] * 20]
        case _:
            whole = [b"".join(contents)]
    return [hashlib.sha256(content).hexdigest() for content in whole]


async def work(store: BlobStore, task: int, rounds: int) -> None:
    for n in range(rounds):
        # Every third round brings what another task brings too.
        name = f"shared {n}" if n % 3 == 0 else f"{task} {n}"
        contents = [f"{name} {part} ".encode() * 30 for part in range(3)]
        way = n if n % 3 == 0 else task + n
        try:
            blobs = await store_one_way(store, way, contents)
        except PerdureError:
            for digest in digests(way, contents):
                say(f"fail {digest}")
        else:
            assert [blob.digest for blob in blobs] == digests(way, contents)
            for blob in blobs:
                say(f"ack {blob.digest}")


async def main() -> None:
    root, tasks, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # Some of the contents become rows, some files.
    async with BlobStore(root / "blobs", ThreadDisk(), buffer_bytes=4_096, small_bytes=300) as store:
        say("ready")
        await trio.to_thread.run_sync(sys.stdin.readline)
        async with trio.open_nursery() as nursery:
            for task in range(tasks):
                nursery.start_soon(work, store, task, rounds)
        say("done")
        await trio.to_thread.run_sync(sys.stdin.read)


trio.run(main)
