"""Start on a large log: time until the runtime is ready, and memory, in a process of its own.

    python -m benchmarks.start [--dormant 100000] [--active 1000]

The log holds that many operations that have ended and as many that wait or are overdue. Goals: ready in under 2 s,
under 150 MiB resident. Both are printed for an empty log too: what is left is what the log's size costs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import trio
import trio.testing

from benchmarks.runtime import Begun, Counted, Totals
from perdure.actors.kind import Kind
from perdure.actors.runtime.runtime import Runtime
from perdure.events.ids import now_us
from perdure.store.records import Append, Standing
from perdure.store.sqlite import open_log

READY_S: Final = 2.0
RSS_MIB: Final = 150.0


async def _fill(path: Path, dormant: int, active: int) -> None:
    codec = Totals.codec
    now = now_us()
    async with open_log(path, codecs=[codec], synchronous="NORMAL") as log:

        async def add(number: int) -> None:
            running = number >= dormant
            events = [codec.encode(Counted(amount=1), now)] * 3
            if running:
                events.append(codec.encode(Begun(), now))
            await log.append(
                Append(
                    actor=f"total_{number:032x}",
                    kind="total",
                    tenant="",
                    expected_version=0,
                    events=events,
                    standing=Standing(status="running", fold=1, next_due=0 if running else None, progress="3"),
                )
            )

        for start in range(0, dormant + active, 1_000):
            async with trio.open_nursery() as nursery:
                for number in range(start, min(start + 1_000, dormant + active)):
                    nursery.start_soon(add, number)


async def _start(path: Path) -> dict[str, float]:
    began = time.perf_counter()
    async with open_log(path, codecs=[Totals.codec]) as log, trio.open_nursery() as nursery:
        kinds: list[Kind[Any, Any]] = [Totals()]
        runtime = Runtime(log, kinds, room=lambda lane: 64)
        await nursery.start(runtime.run)
        ready = time.perf_counter() - began
        cpu = time.process_time()
        await trio.testing.wait_all_tasks_blocked(0.1)
        found = {
            "ready_s": ready,
            "resumed_s": time.perf_counter() - began - 0.1,
            "resume_cpu_s": time.process_time() - cpu,
            "effects": runtime.counts()["effects"],
            "waiting": runtime.counts()["waiting"],
            "rss_mib": _most_resident_mib(),
        }
        nursery.cancel_scope.cancel()
    return found


def _most_resident_mib() -> float:
    """The most that this process had resident. `ru_maxrss` would count what its parent had before exec."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1_048_576 if sys.platform == "darwin" else 1_024)


def _measure(path: Path) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.start", "--open", str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dormant", type=int, default=100_000)
    parser.add_argument("--active", type=int, default=1_000)
    parser.add_argument("--open", type=Path, help="used by the benchmark itself: the fresh process")
    given = parser.parse_args()
    if given.open is not None:
        print(json.dumps(trio.run(_start, given.open)))
        return
    with tempfile.TemporaryDirectory() as directory:
        for dormant, active in ((0, 0), (given.dormant, given.active)):
            path = Path(directory) / f"{dormant}.db"
            trio.run(_fill, path, dormant, active)
            rounds = [_measure(path) for _ in range(3)]
            best = min(rounds, key=lambda found: found["ready_s"])
            met = "met" if best["ready_s"] < READY_S and best["rss_mib"] < RSS_MIB else "MISSED"
            print(
                f"{dormant:7} dormant {active:5} active: ready {best['ready_s'] * 1e3:7.1f} ms, "
                f"resumed after {best['resumed_s'] * 1e3:7.1f} ms ({best['effects']:.0f} effects go on, "
                f"{best['waiting']:.0f} wait for their lane), {best['rss_mib']:6.1f} MiB  {met}"
            )


if __name__ == "__main__":
    main()
