"""A user's program in a process of its own: many callers submit single requests by key, and each awaits its answer.

    crowd_worker.py <log> <callers> <live callers> <window in seconds>

It says `waiting` when all of them have a handle, and at its end one JSON object: what each was told, by key. Where the
provider is and its key stand in the environment.
"""

from __future__ import annotations

import json
import sys
from typing import Literal

import trio

import perdure


async def main(path: str, callers: int, live: int, window_s: float) -> dict[str, str]:
    """Runs everything to its end; what each caller was told."""
    config = perdure.Config(
        providers=perdure.Config.load().providers,
        batching=perdure.BatchStrategy(window_s=window_s),
        polling=perdure.Polling(first_s=0.05, every_s=0.05),
        limits=perdure.Limits(grace_s=0.0, purchase_grace_s=0.0),
    )
    told: dict[str, str] = {}
    waiting: set[str] = set()

    async def ask(service: perdure.Service, key: str, via: Literal["live", "batch"]) -> None:
        handle = await service.submit(perdure.Prompt(f"question {key}", model="m"), provider="openai", via=via, key=key)
        waiting.add(key)
        if len(waiting) == callers + live:
            sys.stdout.write("waiting\n")
            sys.stdout.flush()
        text = (await handle.result()).text
        assert key not in told, "a caller was told twice"
        told[key] = text

    async with perdure.open(path, config=config, wait_for_lock_s=10.0) as service, trio.open_nursery() as nursery:
        for number in range(callers):
            nursery.start_soon(ask, service, f"batch-{number}", "batch")
        for number in range(live):
            nursery.start_soon(ask, service, f"live-{number}", "live")
    return told


if __name__ == "__main__":
    path, callers, live, window = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(main, path, int(callers), int(live), float(window))) + "\n")
