"""Uploads files through a whole service, and says what it was told. See `tests/faults/lab.py`.

Arguments: the folder for the log, the number of files. The id of an upload is its key; `full <key>` for a full disk.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import trio

import perdure


def say(line: str) -> None:
    """One write for each line: it has its place among the writes to the disk."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 30_000):
        await trio.lowlevel.checkpoint()
        yield content[start : start + 30_000]


async def main() -> None:
    root, count = Path(sys.argv[1]), int(sys.argv[2])
    async with perdure.open(root / "log.db", config=perdure.Config()) as service:
        say("ready")
        await trio.to_thread.run_sync(sys.stdin.readline)
        for number in range(count):
            key = f"k-{number}"
            try:
                # Every other one is small enough to be no file of its own.
                content = Random(number).randbytes(100_000 if number % 2 == 0 else 1_000)
                await service.files.upload(pieces(content) if number % 4 < 2 else content, key=key)
            except perdure.DiskFull:
                say(f"full {key}")
            except perdure.PerdureError as error:
                say(f"{'unknown' if isinstance(error, perdure.OutcomeUnknown) else 'fail'} {key}")
            else:
                say(f"ack {key}")
        say("done")
        await trio.to_thread.run_sync(sys.stdin.read)


trio.run(main)
