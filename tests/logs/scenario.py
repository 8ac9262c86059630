"""Writes a log with a bit of everything: `python -m tests.logs.scenario DIRECTORY`, run by the commit that adds it."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

import perdure
from perdure.adapters.simulator import Simulator
from perdure.adapters.simulator.faults import ActThenDrop, AnswerStatus, FailLines, Missing
from perdure.adapters.simulator.simulator import OPENAI_PREFIX
from tests.secrets import assert_no_key_below, unique_key, wrong_key

POLLING = {"first_s": 0.05, "every_s": 0.05}


def prompts(count: int) -> Sequence[perdure.Prompt]:
    """Some requests."""
    return [
        perdure.Prompt(f"Name fjord {number}.", model="gpt-6-astra", custom_id=f"q-{number}") for number in range(count)
    ]


async def write(directory: Path) -> None:
    """Runs the scenario on `directory/perdure.db`."""
    path = directory / "perdure.db"
    with Simulator(batch_s=0.2, seed=7) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            base_url = bound.url + OPENAI_PREFIX

            def config(secret: str) -> perdure.Config:
                provider = perdure.ProviderConfig(base_url=base_url, credentials={"default": perdure.Secret(secret)})
                return perdure.Config(providers={"openai": provider}, polling=perdure.Polling(**POLLING))

            async with perdure.open(path, config=config(unique_key())) as service:
                plain = await service.batches.submit(prompts(12), provider="openai", key="plain", tags={"team": "sea"})
                await plain.ended()
                simulator.faults.arm(FailLines(lines=2), Missing(lines=1))
                spoilt = await service.batches.submit(prompts(8), provider="openai", key="spoilt")
                await spoilt.ended()
                simulator.faults.arm(AnswerStatus(route="GET /openai/v1/batches/*", status=500, count=6))
                troubled = await service.batches.submit(prompts(3), provider="openai", key="troubled")
                await troubled.ended()
                simulator.faults.clear()
                simulator.faults.arm(ActThenDrop(route="POST /openai/v1/batches"))
                doubtful = await service.batches.submit(prompts(2), provider="openai", key="doubtful")
                await doubtful.ended()
                cancelled = await service.batches.submit(prompts(4), provider="openai", key="cancelled")
                await cancelled.cancel(wait=True)
            async with perdure.open(path, config=config(wrong_key())) as service:
                refused = await service.batches.submit(prompts(2), provider="openai", key="refused")
                async for progress in refused.progress_updates():
                    if progress.status == "blocked":
                        break
            async with perdure.open(path, config=config(unique_key())) as service:
                refused = await service.batches.submit(prompts(2), provider="openai", key="refused")
                await refused.ended()
            nursery.cancel_scope.cancel()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert_no_key_below(directory)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (directory / "SHA256").write_text(f"{digest}  perdure.db\n")


if __name__ == "__main__":
    trio.run(write, Path(sys.argv[1]))
