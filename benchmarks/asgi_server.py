"""Our ASGI server beside uvicorn and hypercorn's trio worker, with the same Starlette application, in turns.

    python -m benchmarks.asgi_server [--rounds 7] [json events websocket upload torture]

Each server is a process on one core, the load (plain sockets, one loop) is this process on another; its own share of a
core is printed, for a load that is busy all the time measures itself. CPU is the server process's own, user and system.
uvicorn runs as it installs without compiled parts (asyncio, h11, wsproto); where httptools is installed, that is a
fourth server under its own name.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import NamedTuple

from benchmarks._asgi_load import (
    Turn,
    events_flat_out,
    events_paced,
    json_requests,
    upload,
    websocket_echoes,
)
from benchmarks._asgi_process import Process, running
from benchmarks._asgi_site import PERDURE, UVICORN, installed
from benchmarks._asgi_torture import RUDE, STOPPED, torture_all

JSON_CONNECTIONS = 64
WEBSOCKETS = 32
LISTENERS = 500
EVENTS_PER_S = 8.0
UPLOAD_BYTES = 1 << 30
TURN_S = 2.0


class Uploaded(NamedTuple):
    """A gigabyte taken by a fresh process: how fast, and what it held before and at most."""

    turn: Turn
    base_mib: float
    peak_mib: float


def _server_core() -> int | None:
    """The core for servers, once this process has moved to another; None where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0] if len(cores) > 1 else None


@contextmanager
def _all_running(core: int | None) -> Generator[list[Process]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(name, core=core)) for name in installed()]


def _print_turns(title: str, unit: str, turns: dict[str, list[Turn]]) -> None:
    """Medians, and our rate as a ratio of each other's in the same round."""
    print(f"\n{title}, medians of {len(turns[PERDURE])} turns")
    for name, each in turns.items():
        rate, cpu_us, share = (statistics.median(column) for column in zip(*each, strict=True))
        ratios = sorted(ours.per_s / theirs.per_s for ours, theirs in zip(turns[PERDURE], each, strict=True))
        beside = f"; ours is {_spread(ratios, '.2f')} of it" if name != PERDURE else ""
        print(f"{name:>18}: {rate:7,.0f} {unit}/s, {cpu_us:5.0f} µs of CPU each (load {share:.0%}){beside}")


def _spread(values: Sequence[float], form: str) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):{form}} ({ordered[0]:{form}} to {ordered[-1]:{form}})"


def _compare(title: str, unit: str, rounds: int, core: int | None, load: Callable[[Process], Turn]) -> None:
    """The same load on each server in turn, the first turn thrown away."""
    turns: dict[str, list[Turn]] = {name: [] for name in installed()}
    with _all_running(core) as processes:
        for number in range(rounds + 1):
            for process in processes:
                turn = load(process)
                if number:
                    turns[process.name].append(turn)
    _print_turns(title, unit, turns)


def _json(rounds: int, core: int | None) -> None:
    def load(process: Process) -> Turn:
        return json_requests(process, connections=JSON_CONNECTIONS, duration_s=TURN_S)

    _compare(f"JSON, {JSON_CONNECTIONS} connections", "requests", rounds, core, load)


def _websocket(rounds: int, core: int | None) -> None:
    def load(process: Process) -> Turn:
        return websocket_echoes(process, connections=WEBSOCKETS, duration_s=TURN_S)

    _compare(f"WebSocket, {WEBSOCKETS} connections", "echoes", rounds, core, load)


def _events(rounds: int, core: int | None) -> None:
    def load(process: Process) -> Turn:
        return events_flat_out(process, listeners=LISTENERS, duration_s=TURN_S)

    _compare(f"Server-sent events to {LISTENERS}, flat out", "deliveries", rounds, core, load)
    p50_ms: dict[str, list[float]] = {name: [] for name in installed()}
    p99_ms: dict[str, list[float]] = {name: [] for name in installed()}
    with _all_running(core) as processes:
        for _ in range(rounds):
            for process in processes:
                spread = events_paced(process, listeners=LISTENERS, events_per_s=EVENTS_PER_S, duration_s=TURN_S)
                p50_ms[process.name].append(spread.p50_ms)
                p99_ms[process.name].append(spread.p99_ms)
    print(f"\nServer-sent events to {LISTENERS}, {EVENTS_PER_S * LISTENERS:,.0f} deliveries/s asked: time to arrive")
    for name in p50_ms:
        print(f"{name:>18}: p50 {_spread(p50_ms[name], '.0f')} ms, p99 {_spread(p99_ms[name], '.0f')} ms")


def _upload(rounds: int, core: int | None) -> None:
    uploads: dict[str, list[Uploaded]] = {name: [] for name in installed()}
    for _ in range(rounds):
        for name in installed():
            with running(name, core=core) as process:
                json_requests(process, connections=1, duration_s=0.1)  # so that all is imported that a request needs
                base_mib = process.resident_mib()
                turn = upload(process, size_bytes=UPLOAD_BYTES)
                uploads[name].append(Uploaded(turn, base_mib, process.peak_mib()))
    _print_turns("Upload of 1 GiB", "MiB", {name: [each.turn for each in found] for name, found in uploads.items()})
    theirs_mib = statistics.median(each.peak_mib for each in uploads[UVICORN])
    for name, found in uploads.items():
        peak_mib = statistics.median(each.peak_mib for each in found)
        base_mib = statistics.median(each.base_mib for each in found)
        print(
            f"{name:>18}: {peak_mib:.1f} MiB at most ({peak_mib / theirs_mib:.2f} of {UVICORN}), "
            f"{base_mib:.1f} before, so {peak_mib - base_mib:.1f} for the upload"
        )


def _torture(rounds: int, core: int | None) -> None:
    print("\nTorture: 20 clients of a kind, each kind at a fresh process, all kinds at once; limits as they come")
    outcomes = {name: torture_all(name) for name in installed()}
    for number, rude in enumerate((*RUDE, STOPPED)):
        print(rude.title)
        for name, found in outcomes.items():
            print(f"{name:>18}: {found[number]}")


PARTS: dict[str, Callable[[int, int | None], None]] = {
    "json": _json,
    "events": _events,
    "websocket": _websocket,
    "upload": _upload,
    "torture": _torture,
}


def main() -> None:
    """Measure all parts, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (default: 5)")
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    arguments = parser.parse_args()
    wanted: list[str] = arguments.parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    core = _server_core()
    if core is not None:
        os.sched_setaffinity(0, os.sched_getaffinity(0) - {core})
    versions = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "hypercorn", "starlette", "trio", "h11"))
    print(f"Python {platform.python_version()}, {versions}")
    for part in wanted:
        PARTS[part](arguments.rounds, core)
        print(f"(load average {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
