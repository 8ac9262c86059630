"""A batch of many requests through `batches.run`: wall, CPU and peak memory of our process.

The simulator runs in another process; each run is a fresh process of its own. `python -m benchmarks.batch_run` prints a
row for 5,000 and one for 50,000 requests of 1 KiB, taken in turns, and the ratio of their memory.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._fsync import fsync_ms

SIZES = (5_000, 50_000)
REQUEST_BYTES = 1_024


def worker(base_url: str, directory: Path, count: int) -> None:
    """One run in this process; prints its figures as JSON."""
    import trio

    import perdure

    text = "Name three fjords and say of each how deep it is. " * 20

    def requests() -> Iterator[perdure.RawRequest]:
        for number in range(count):
            body = {"model": "gpt-6-astra", "input": f"{number} {text}"[: REQUEST_BYTES - 80]}
            yield perdure.RawRequest("/v1/responses", body, custom_id=f"line-{number}")

    async def main() -> int:
        provider = perdure.ProviderConfig(base_url=base_url, credentials={"default": perdure.Secret("benchmark")})
        config = perdure.Config(providers={"openai": provider})
        polling = perdure.Polling(first_s=0.5, every_s=0.5)
        answered = 0
        async with (
            perdure.open(directory / "perdure.db", config=config) as service,
            service.batches.run(requests(), provider="openai", polling=polling) as lines,
        ):
            async for line in lines:
                answered += line.ok
        return answered

    start = time.perf_counter()
    answered = trio.run(main)
    wall_s = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    log_bytes = sum(path.stat().st_size for path in directory.glob("perdure.db*") if path.is_file())
    print(
        json.dumps(
            {
                "answered": answered,
                "wall_s": wall_s,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "peak_mib": usage.ru_maxrss / 1024,
                "log_bytes_per_request": log_bytes / count,
            }
        )
    )


def measured(base_url: str, count: int) -> dict[str, Any]:
    """The figures of one run in a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "benchmarks.batch_run", "--worker", base_url, place, str(count)]
        # The peak of a fork counts its parent's pages until it executes: so the parent stays small.
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures: dict[str, Any] = json.loads(out.splitlines()[-1])
        if figures["answered"] != count:
            raise SystemExit(f"{figures['answered']} of {count} requests were answered: nothing was measured")
        return figures


def main(rounds: int) -> None:
    """Runs both sizes in turns against one simulator and prints the medians."""
    command = [sys.executable, "-m", "perdure.adapters.simulator", "--batch-seconds", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as simulator:
        assert simulator.stdout is not None
        base_url = simulator.stdout.readline().strip() + "/openai/v1"
        try:
            runs: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size in SIZES:
                    runs[size].append(measured(base_url, size))
        finally:
            simulator.terminate()
    with tempfile.TemporaryDirectory() as place:
        print(f"fsync of 4 KiB: {fsync_ms(Path(place)):.2f} ms; {rounds} rounds, medians")
    print(f"{'requests':>9} {'wall s':>8} {'CPU s':>8} {'CPU µs each':>12} {'peak MiB':>9} {'log bytes each':>15}")
    for size in SIZES:
        row = {name: sorted(run[name] for run in runs[size])[rounds // 2] for name in runs[size][0]}
        print(
            f"{size:>9} {row['wall_s']:>8.2f} {row['cpu_s']:>8.2f} {row['cpu_s'] / size * 1e6:>12.1f} "
            f"{row['peak_mib']:>9.1f} {row['log_bytes_per_request']:>15.0f}"
        )
    peaks = [sorted(run["peak_mib"] for run in runs[size])[rounds // 2] for size in SIZES]
    print(f"peak memory at {SIZES[1]} over that at {SIZES[0]}: {peaks[1] / peaks[0]:.2f} (goal: 1.3)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=3, metavar=("BASE_URL", "DIRECTORY", "COUNT"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker[0], Path(arguments.worker[1]), int(arguments.worker[2]))
    else:
        main(arguments.rounds)
