"""Requests a second of our ASGI server and of uvicorn, with the same Starlette application, in turns.

Each server is a process of its own on one core, the client (raw sockets, 64 connections, one request in flight on each)
is this process on another. uvicorn runs on asyncio with h11, the parser that we use too, and without an access log. The
CPU figure is the server process's own time, user and system, divided by the requests it answered.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

CONNECTIONS = 64
ROUNDS = 7
ROUND_S = 2.0
WARM_UP_S = 0.5
REQUEST = b"GET /operations/op_1 HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n"
BODY_END = b'"n":12}'
SERVERS = ("perdure", "uvicorn")


class Round(NamedTuple):
    """One server's turn."""

    requests_per_s: float
    cpu_us_per_request: float


async def _operation(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["id"], "status": "running", "n": 12})


def _serve(name: str) -> None:
    """Run one of the servers until killed; its port goes to standard output first."""
    app = Starlette(routes=[Route("/operations/{id}", _operation)])
    if name == "perdure":
        import trio

        from perdure.adapters.server import serve

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                print((await nursery.start(partial(serve, app))).port, flush=True)

        trio.run(main)
    else:
        import uvicorn

        # With the protocol named: asyncio switches Nagle's algorithm off only on sockets that know they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(app, http="h11", loop="asyncio", log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _running(name: str, core: int | None) -> Generator[tuple[int, int]]:
    """A server process; its process id and its port."""
    command = [sys.executable, "-m", "benchmarks.asgi_server", "--serve", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Load:
    """64 connections to one server, kept over all of its turns."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid = pid
        self._selector = selectors.DefaultSelector()
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection, selectors.EVENT_READ)

    def run(self, duration_s: float) -> Round:
        """Keep one request in flight on each connection for this long, then let the last ones be answered."""
        began_at, cpu_before_s, answered = time.perf_counter(), _cpu_s(self._pid), 0
        connections = [key.fileobj for key in self._selector.get_map().values()]
        for connection in connections:
            assert isinstance(connection, socket.socket)
            connection.sendall(REQUEST)
        in_flight = len(connections)
        while in_flight:
            ready = self._selector.select(timeout=5)
            if not ready:
                raise TimeoutError(f"{in_flight} requests were not answered in 5 s")
            more = time.perf_counter() - began_at < duration_s
            for key, _ in ready:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                data = connection.recv(65536)
                if not data:
                    raise ConnectionError("the server closed a connection")
                if not data.endswith(BODY_END):
                    continue
                answered += 1
                if more:
                    connection.sendall(REQUEST)
                else:
                    in_flight -= 1
        elapsed_s = time.perf_counter() - began_at
        return Round(answered / elapsed_s, (_cpu_s(self._pid) - cpu_before_s) / answered * 1e6)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            connection.close()
        self._selector.close()


def _measure() -> None:
    cores = sorted(os.sched_getaffinity(0))
    server_core = cores[0] if len(cores) > 1 else None
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[1]})
    results: dict[str, list[Round]] = {name: [] for name in SERVERS}
    with _running(SERVERS[0], server_core) as first, _running(SERVERS[1], server_core) as second:
        loads = dict(zip(SERVERS, (_Load(*first), _Load(*second)), strict=True))
        for load in loads.values():
            load.run(WARM_UP_S)
        for _ in range(ROUNDS):
            for name, load in loads.items():
                results[name].append(load.run(ROUND_S))
        for load in loads.values():
            load.close()
    print(f"JSON by Starlette, {CONNECTIONS} connections, medians of {ROUNDS} turns of {ROUND_S:g} s")
    for name, rounds in results.items():
        rate = statistics.median(each.requests_per_s for each in rounds)
        cpu = statistics.median(each.cpu_us_per_request for each in rounds)
        print(f"{name:>8}: {rate:7,.0f} requests/s, {cpu:4.0f} µs of CPU a request")
    pairs = zip(results["perdure"], results["uvicorn"], strict=True)
    ratios = sorted(ours.requests_per_s / theirs.requests_per_s for ours, theirs in pairs)
    print(f"   ratio: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of uvicorn's requests/s")


def main() -> None:
    """Measure, or with `--serve` be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=SERVERS, help="used by the script itself")
    name: str | None = parser.parse_args().serve
    if name is None:
        _measure()
    else:
        _serve(name)


if __name__ == "__main__":
    main()
