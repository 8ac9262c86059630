"""A user's program with many batches at all providers, whose clock is wrong by up to an hour, ever differently.

    chaos_worker.py <log> <batches> <lines> <seed>

It says `submitted` when all batches have a handle, and at its end one JSON object: what became of each line, by batch:
its answer, or null. Where the providers are and their keys stand in the environment.
"""

from __future__ import annotations

import json
import sys
import time
from random import Random

import trio

import perdure
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.remote_files import RemoteFiles
from perdure.adapters import anthropic, composition, google, openai, xai
from perdure.adapters.anthropic import searching
from perdure.adapters.composition import Surroundings

PROVIDERS = ("openai", "anthropic", "google", "xai")
RESUBMITS = 10
JUMP_S = 3_600
STEADY_S = 0.5
"""How long the clock stays as it is between two jumps, in seconds."""


SETTLE_S = 0.5
"""The simulator's lists are complete at once; nobody has to wait for them as for a real provider's."""


def quick_batches() -> dict[str, BatchProvider]:
    """The providers' batches, whose lists are complete at once."""
    return {
        "openai": openai.OpenAIBatches(settle_s=SETTLE_S),
        "anthropic": anthropic.AnthropicBatches(settle_s=SETTLE_S),
        "google": google.GoogleBatches(settle_s=SETTLE_S),
        "xai": xai.XaiBatches(settle_s=SETTLE_S),
    }


def quick_files() -> dict[str, RemoteFiles]:
    """Their files."""
    return {
        "openai": openai.OpenAIRemoteFiles(settle_s=SETTLE_S),
        "anthropic": anthropic.AnthropicFiles(settle_s=SETTLE_S),
        "google": google.GoogleFiles(),
        "xai": xai.XaiRemoteFiles(settle_s=SETTLE_S),
    }


ALIVE_EVERY_S = 20.0


class WrongClock:
    """The time, off by an hour either way or right; another choice twice a second."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._until = 0.0
        self._off_s = 0

    def __call__(self) -> int:
        """µs since 1970."""
        if time.monotonic() > self._until:
            self._until = time.monotonic() + STEADY_S
            self._off_s = self._random.choice((-JUMP_S, 0, JUMP_S))
        return (time.time_ns() + self._off_s * 1_000_000_000) // 1_000


async def main(path: str, batches: int, lines: int, seed: int) -> dict[str, dict[str, str | None]]:
    """Runs everything to its end."""
    loaded = perdure.Config.load()
    config = perdure.Config(
        providers=loaded.providers,
        polling=perdure.Polling(first_s=0.2, every_s=0.3),
        limits=perdure.Limits(grace_s=0.0, purchase_grace_s=0.0),
    )
    told: dict[str, dict[str, str | None]] = {}
    submitted: set[int] = set()

    async def run(service: perdure.Service, number: int) -> None:
        prompts = [perdure.Prompt(f"question {number}-{line}", model="m") for line in range(lines)]
        handle = await service.batches.submit(
            prompts,
            provider=PROVIDERS[number % len(PROVIDERS)],
            key=f"job-{number}",
            resubmit=RESUBMITS,
            on_uncertain="resubmit",
        )
        submitted.add(number)
        if len(submitted) == batches:
            sys.stdout.write("submitted\n")
            sys.stdout.flush()
        async with handle.results() as results:
            told[handle.id] = {line.custom_id: line.answer.text if line.answer else None async for line in results}
        sys.stdout.write(f"{number} is done\n")
        sys.stdout.flush()

    setattr(searching, "UNDECIDED_RETRY_S", SETTLE_S)  # noqa: B010 - it is Final to everybody else
    composition.providers = quick_batches
    composition.remote_files = quick_files
    surroundings = Surroundings(clock=WrongClock(Random(seed)))
    async with (
        composition.open(path, config=config, wait_for_lock_s=10.0, surroundings=surroundings) as service,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(live)
        async with trio.open_nursery() as runs:
            for number in range(batches):
                runs.start_soon(run, service, number)
        nursery.cancel_scope.cancel()
    return told


async def live() -> None:
    """Says now and then that it lives: a wait may be as long as a minute, for whom the clock tells that it was long."""
    while True:
        await trio.sleep(ALIVE_EVERY_S)
        sys.stdout.write("alive\n")
        sys.stdout.flush()


if __name__ == "__main__":
    path, batches, lines, seed = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(main, path, int(batches), int(lines), int(seed))) + "\n")
