"""A user's program in a process of its own: submits a batch under a key, reads every answer, and may die anywhere.

    batch_worker.py <log> <base URL> <lines> [<crash point> <occurrence>]

At the given occurrence of the crash point it kills itself with SIGKILL. When it comes to its end it writes one JSON
object: the answers by custom id, and how often each crash point was passed. The key is in PERDURE_TEST_KEY.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator

import trio

import perdure
from perdure.store.crash_points import armed

CONFIG_LIMITS = perdure.Limits(grace_s=0.0, purchase_grace_s=0.0)


def requests(count: int) -> Iterator[perdure.Prompt]:
    """The same requests at each start, as a user's file gives them."""
    for number in range(count):
        yield perdure.Prompt(f"question {number}", model="m", custom_id=f"r-{number}")


async def main(path: str, url: str, count: int) -> dict[str, str]:
    """Runs the batch to its end; what each line says."""
    openai = perdure.ProviderConfig(base_url=url, credentials={"default": perdure.Env("PERDURE_TEST_KEY")})
    polling = perdure.Polling(first_s=0.05, every_s=0.05)
    config = perdure.Config(providers={"openai": openai}, polling=polling, limits=CONFIG_LIMITS)
    answers: dict[str, str] = {}
    async with (
        perdure.open(path, config=config, wait_for_lock_s=10.0) as service,
        service.batches.run(requests(count), provider="openai", key="job") as lines,
    ):
        async for line in lines:
            assert line.custom_id not in answers, "a line came twice"
            answers[line.custom_id] = line.answer.text if line.answer is not None else f"error: {line.error}"
    return answers


def run(arguments: list[str]) -> None:
    """Runs and tells, or dies."""
    path, url, count, *death = arguments
    hits: Counter[str] = Counter()

    def probe(name: str, kind: str) -> None:
        hits[name] += 1
        if death == [name, str(hits[name])]:
            os.kill(os.getpid(), signal.SIGKILL)

    with armed(probe):
        answers = trio.run(main, path, url, int(count))
    sys.stdout.write(json.dumps({"answers": answers, "hits": hits}) + "\n")


if __name__ == "__main__":
    run(sys.argv[1:])
