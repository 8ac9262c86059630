"""A user's program in a process of its own: puts a file at a provider, may delete it everywhere, and may die anywhere.

    file_worker.py <log> <provider> <bytes> <bytes of a piece> push|delete [<crash point> <occurrence>]

The file's id is kept beside the log, as programs do. At the given occurrence of the crash point the process kills
itself with SIGKILL. At its end it writes one JSON object: the id, and how often each crash point was passed. Where the
provider is and its key stand in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import cast

import trio

import perdure
from perdure.actors.file.asks import effects
from perdure.actors.file.state import FileState
from perdure.adapters import composition
from perdure.store.crash_points import armed
from tests.faults.file_ways import document, small_stores


async def main(path: Path, provider: str, size: int, end: str) -> str:
    """Brings everything to its end; the file's id."""
    config = perdure.Config(
        providers=perdure.Config.load().providers, limits=perdure.Limits(grace_s=0.0, purchase_grace_s=0.0)
    )
    kept = path.with_suffix(".id")
    async with perdure.open(path, config=config, wait_for_lock_s=10.0) as service:
        if not kept.exists():
            file = await service.files.upload(document(size), key="k", filename="fjords.pdf", ttl_s="persistent")
            await service.files.ensure(file, provider=provider)
            kept.write_text(file.id)
        id = kept.read_text()
        if end == "delete":
            await service.files.delete(id, everywhere=True)
            handle = await service.get(id)
            records = handle.events()
            while effects(cast("FileState", await handle.state())):
                await anext(records)
        return id


def run(arguments: list[str]) -> None:
    """Runs and tells, or dies."""
    path, provider, size, piece, end, *death = arguments
    hits: Counter[str] = Counter()
    stores = partial(small_stores, chunk_bytes=int(piece), part_bytes=int(piece)) if int(piece) else small_stores
    composition.remote_files = stores

    def probe(name: str, kind: str) -> None:
        hits[name] += 1
        if death == [name, str(hits[name])]:
            os.kill(os.getpid(), signal.SIGKILL)

    with armed(probe):
        id = trio.run(main, Path(path), provider, int(size), end)
    sys.stdout.write(json.dumps({"id": id, "hits": hits}) + "\n")


if __name__ == "__main__":
    run(sys.argv[1:])
