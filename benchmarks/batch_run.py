"""A batch of many requests through `batches.run`: wall, CPU and peak memory of our process.

The simulator runs in another process; each run is a fresh process of its own. `python -m benchmarks.batch_run` prints a
row for 5,000 and one for 50,000 requests of 1 KiB, taken in turns, and the ratio of their memory, for OpenAI;
`--provider anthropic`, `google`, `xai` for another. `bytes` are those that the log and its blobs take on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks._fsync import fsync_ms

SIZES = (5_000, 50_000)
REQUEST_BYTES = 1_024
PROVIDERS = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "xai": "/xai/v1"}
"""The providers, and where each is below the simulator's address."""

_TEXT = "Name three fjords and say of each how deep it is. " * 20


def request_of(provider: str, number: int) -> tuple[str, dict[str, Any]]:
    """Where request `number` goes, and its body, of about `REQUEST_BYTES` on its line."""
    text = f"{number} {_TEXT}"[: REQUEST_BYTES - 80]
    match provider:
        case "anthropic":
            said = {"role": "user", "content": text}
            return "/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [said]}
        case "google":
            model = "/v1beta/models/gemini-2.5-flash:generateContent"
            return model, {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        case "xai":
            return "/v1/responses", {"model": "grok-5", "input": text}
        case _:
            return "/v1/responses", {"model": "gpt-6-astra", "input": text}


def stored(directory: Path) -> tuple[int, int, int]:
    """How many events the log in `directory` holds, its bytes on disk, and those of its blobs."""
    with closing(sqlite3.connect(directory / "perdure.db")) as log:
        (events,) = log.execute("SELECT count(*) FROM events").fetchone()
    sizes = {path: path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    log_bytes = sum(size for path, size in sizes.items() if path.name.startswith("perdure.db"))
    return events, log_bytes, sum(sizes.values()) - log_bytes


def worker(provider: str, base_url: str, directory: Path, count: int) -> None:
    """One run in this process; prints its figures as JSON."""
    import trio

    import perdure

    def requests() -> Iterator[perdure.RawRequest]:
        for number in range(count):
            url, body = request_of(provider, number)
            yield perdure.RawRequest(url, body, custom_id=f"line-{number}")

    async def main() -> int:
        settings = perdure.ProviderConfig(base_url=base_url, credentials={"default": perdure.Secret("benchmark")})
        config = perdure.Config(providers={provider: settings})
        polling = perdure.Polling(first_s=0.5, every_s=0.5)
        answered = 0
        async with (
            perdure.open(directory / "perdure.db", config=config) as service,
            service.batches.run(requests(), provider=provider, polling=polling) as lines,
        ):
            async for line in lines:
                answered += line.ok
        return answered

    start = time.perf_counter()
    answered = trio.run(main)
    wall_s = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    events, log_bytes, blob_bytes = stored(directory)
    print(
        json.dumps(
            {
                "answered": answered,
                "wall_s": wall_s,
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "peak_mib": usage.ru_maxrss / 1024,
                "events": events,
                "log_bytes_per_request": log_bytes / count,
                "blob_bytes_per_request": blob_bytes / count,
            }
        )
    )


def measured(provider: str, base_url: str, count: int) -> dict[str, Any]:
    """The figures of one run in a fresh process."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "benchmarks.batch_run", "--worker", provider, base_url, place, str(count)]
        # The peak of a fork counts its parent's pages until it executes: so the parent stays small.
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures: dict[str, Any] = json.loads(out.splitlines()[-1])
        if figures["answered"] != count:
            raise SystemExit(f"{figures['answered']} of {count} requests were answered: nothing was measured")
        return figures


def main(provider: str, rounds: int) -> None:
    """Runs both sizes in turns against one simulator and prints the medians."""
    command = [sys.executable, "-m", "perdure.adapters.simulator", "--batch-seconds", "1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as simulator:
        assert simulator.stdout is not None
        base_url = simulator.stdout.readline().strip() + PROVIDERS[provider]
        try:
            runs: dict[int, list[dict[str, Any]]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size in SIZES:
                    runs[size].append(measured(provider, base_url, size))
        finally:
            simulator.terminate()
    with tempfile.TemporaryDirectory() as place:
        print(f"{provider}; fsync of 4 KiB: {fsync_ms(Path(place)):.2f} ms; {rounds} rounds, medians")
    print(
        f"{'requests':>9} {'wall s':>8} {'CPU s':>8} {'CPU µs each':>12} {'peak MiB':>9} {'events':>7} "
        f"{'log bytes each':>15} {'blob bytes each':>16}"
    )
    for size in SIZES:
        row = {name: sorted(run[name] for run in runs[size])[rounds // 2] for name in runs[size][0]}
        print(
            f"{size:>9} {row['wall_s']:>8.2f} {row['cpu_s']:>8.2f} {row['cpu_s'] / size * 1e6:>12.1f} "
            f"{row['peak_mib']:>9.1f} {row['events']:>7} {row['log_bytes_per_request']:>15.0f} "
            f"{row['blob_bytes_per_request']:>16.0f}"
        )
    peaks = [sorted(run["peak_mib"] for run in runs[size])[rounds // 2] for size in SIZES]
    print(f"peak memory at {SIZES[1]} over that at {SIZES[0]}: {peaks[1] / peaks[0]:.2f} (goal: 1.3)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=4, metavar=("PROVIDER", "BASE_URL", "DIRECTORY", "COUNT"))
    parser.add_argument("--provider", choices=list(PROVIDERS), default="openai")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.worker:
        name, address, folder, count = arguments.worker
        worker(name, address, Path(folder), int(count))
    else:
        main(arguments.provider, arguments.rounds)
