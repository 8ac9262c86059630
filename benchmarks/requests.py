"""Requests one by one, each awaited by a task of its own: wall, CPU and peak memory of our process.

- *batched*: 50,000 requests of 1 KiB, each submitted with `via="batch"` and awaited by its own task; one window.
- *waking*: those 50,000 again, found by their keys in a new process and awaited; and, within the first run, the time
  from the first result in the log to the last task that has its answer.
- *live*: 5,000 requests sent live, 64 under way at a time.
- *idle*: 10,000 requests that wait in a batch for which the provider takes its time: CPU over some seconds.

The simulator runs in another process, each run is a fresh process of its own. `python -m benchmarks.requests`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks._fsync import fsync_ms

BATCHED = 50_000
LIVE = 5_000
IDLE = 10_000
CONCURRENCY = 64
REQUEST_BYTES = 1_024
IDLE_S = 10.0


def worker(mode: str, base_url: str, directory: Path, count: int) -> None:
    """One run in this process; prints its figures as JSON."""
    import trio

    import perdure

    text = "Name three fjords and say of each how deep it is. " * 20

    def question(number: int) -> perdure.RawRequest:
        body = {"model": "gpt-6-astra", "input": f"{number} {text}"[: REQUEST_BYTES - 80]}
        return perdure.RawRequest("/v1/responses", body)

    def cpu_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    provider = perdure.ProviderConfig(base_url=base_url, credentials={"default": perdure.Secret("benchmark")})
    strategy = perdure.BatchStrategy(window_s=60.0 if count == BATCHED else 2.0, max_lines=count)
    polling = perdure.Polling(first_s=0.5, every_s=0.5)
    config = perdure.Config(providers={"openai": provider}, batching=strategy, polling=polling)
    figures: dict[str, Any] = {}

    async def batched(service: perdure.Service) -> int:
        answered = 0

        async def one(number: int) -> None:
            nonlocal answered
            handle = await service.submit(question(number), provider="openai", via="batch", key=f"key-{number}")
            await handle.result()
            answered += 1

        async def watch(first: list[float]) -> None:
            async for record in service.log.tail():
                if record.type == "ResultsTaken":
                    first.append(time.perf_counter())
                    first.append(cpu_s())
                    return

        first: list[float] = []
        async with trio.open_nursery() as watching:
            watching.start_soon(watch, first)
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, number)
            figures["waking_wall_s"] = time.perf_counter() - first[0]
            figures["waking_cpu_s"] = cpu_s() - first[1]
        return answered

    async def found(service: perdure.Service) -> int:
        answered = 0

        async def one(number: int) -> None:
            nonlocal answered
            handle = await service.submit(question(number), provider="openai", via="batch", key=f"key-{number}")
            await handle.result()
            answered += 1

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
        return answered

    async def live(service: perdure.Service) -> int:
        answered = 0
        numbers = iter(range(count))

        async def some() -> None:
            nonlocal answered
            for number in numbers:
                await (await service.submit(question(number), provider="openai")).result()
                answered += 1

        async with trio.open_nursery() as nursery:
            for _ in range(CONCURRENCY):
                nursery.start_soon(some)
        return answered

    async def idle(service: perdure.Service) -> int:
        batches: list[str] = []

        async def one(number: int) -> None:
            handle = await service.submit(question(number), provider="openai", via="batch")
            batches.append(handle.id.rpartition("-")[0])
            await handle.result()

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
            async for record in service.log.tail():
                if record.type == "BatchSubmitted":
                    break
            await trio.sleep(1.0)
            before_cpu_s, before_s = cpu_s(), time.perf_counter()
            await trio.sleep(IDLE_S)
            figures["idle_percent"] = (cpu_s() - before_cpu_s) / (time.perf_counter() - before_s) * 100
            nursery.cancel_scope.cancel()
        return len(batches)

    modes = {"batched": batched, "found": found, "live": live, "idle": idle}

    async def main() -> int:
        async with perdure.open(directory / "perdure.db", config=config) as service:
            return await modes[mode](service)

    start = time.perf_counter()
    answered = trio.run(main)
    wall_s = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"answered": answered, "wall_s": wall_s, "cpu_s": cpu_s(), "peak_mib": peak_mib, **figures}))


def measured(mode: str, base_url: str, place: str, count: int) -> dict[str, Any]:
    """The figures of one run in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.requests", "--worker", mode, base_url, place, str(count)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, Any] = json.loads(out.splitlines()[-1])
    if figures["answered"] != count:
        raise SystemExit(f"{figures['answered']} of {count} requests were answered: nothing was measured")
    return figures


def main(modes: list[str]) -> None:
    """Runs each mode against a simulator of its own and prints its figures."""
    with tempfile.TemporaryDirectory() as place:
        print(f"fsync of 4 KiB: {fsync_ms(Path(place)):.2f} ms")
    for mode in modes:
        batch_s = "600" if mode == "idle" else "1"
        command = [sys.executable, "-m", "perdure.adapters.simulator", "--batch-seconds", batch_s]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as simulator,
            tempfile.TemporaryDirectory() as place,
        ):
            assert simulator.stdout is not None
            with closing(simulator.stdout):
                base_url = simulator.stdout.readline().strip() + "/openai/v1"
                try:
                    run(mode, base_url, place)
                finally:
                    simulator.terminate()


def run(mode: str, base_url: str, place: str) -> None:
    """One mode, with what it prints."""
    if mode == "live":
        report(f"{LIVE:,} live, {CONCURRENCY} at a time", LIVE, measured("live", base_url, place, LIVE))
    elif mode == "idle":
        figures = measured("idle", base_url, place, IDLE)
        print(f"{IDLE:,} waiting requests: {figures['idle_percent']:.2f} % of a core (goal: under 1)")
    else:
        figures = measured("batched", base_url, place, BATCHED)
        report(f"{BATCHED:,} one by one", BATCHED, figures, "goal: 15 s of CPU, 500 MiB")
        print(
            f"  from the first result in the log to the last task that has its answer: "
            f"{figures['waking_wall_s']:.2f} s, {figures['waking_cpu_s'] / BATCHED * 1e6:.0f} µs of CPU each"
        )
        report(f"{BATCHED:,} found again by key", BATCHED, measured("found", base_url, place, BATCHED))


def report(what: str, count: int, figures: dict[str, Any], goal: str = "") -> None:
    """One line."""
    print(
        f"{what}: {figures['wall_s']:.1f} s, {figures['cpu_s']:.1f} s of CPU "
        f"({figures['cpu_s'] / count * 1e6:.0f} µs each), {figures['peak_mib']:.0f} MiB{goal and f' ({goal})'}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=4, metavar=("MODE", "BASE_URL", "DIRECTORY", "COUNT"))
    parser.add_argument("modes", nargs="*", default=["batched", "live", "idle"])
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker[0], arguments.worker[1], Path(arguments.worker[2]), int(arguments.worker[3]))
    else:
        main(arguments.modes)
