"""A process that only reads: it finds operations by key and awaits their results while others write, die and come back.

    waiter_worker.py <log> <key>…

It says `found` when every key is found, and at its end one JSON object: what `WAITERS` waiters were told, by key.
"""

from __future__ import annotations

import json
import sys

import trio

import perdure

WAITERS = 3
LOOK_EVERY_S = 0.02


async def main(path: str, keys: list[str]) -> dict[str, list[str]]:
    """What is told of each key."""
    told: dict[str, list[str]] = {key: [] for key in keys}

    async def wait(view: perdure.View[perdure.Answer], key: str) -> None:
        told[key].append((await view.result()).text)

    async with perdure.read(path) as reader, trio.open_nursery() as nursery:
        for key in keys:
            view = await reader.find(key)
            while view is None:
                await trio.sleep(LOOK_EVERY_S)  # a key has no signal: nobody knows which log it will be in
                view = await reader.find(key)
            for _ in range(WAITERS):
                nursery.start_soon(wait, view, key)
        sys.stdout.write("found\n")
        sys.stdout.flush()
    return told


if __name__ == "__main__":
    path, *keys = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(main, path, keys)) + "\n")
