"""CPU of the client for one JSON POST: the network engine beside `httpx.AsyncClient`, in one interleaved run.

    python benchmarks/network_engine.py [--requests 1500] [--rounds 5]

The engine runs with queueing, limits, header parsing and observation on. The server is a process of its own on the
loopback device, answers a 1.4 kB JSON body at once with OpenAI's rate limit headers, and does not count. Figures are
CPU time of this process (`time.process_time`), so other load on the machine shows little; what counts is the ratio.
`AsyncClient` runs twice: as it comes, and with a pool as large as the concurrency.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import httpx
import trio

from perdure.actors.fetch import HttpRequest
from perdure.actors.lane import Lane
from perdure.adapters.network import Endpoint, Engine, EngineSettings, QueueSettings

CONCURRENCIES: Final = (16, 64, 256)

BODY: Final = b'{"model":"m","input":"' + b"x" * 400 + b'"}'
ANSWER: Final = b'{"id":"r","output":"' + b"y" * 1380 + b'"}'
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: req_1\r\n"
    b"x-ratelimit-limit-requests: 100000000\r\nx-ratelimit-remaining-requests: 99999999\r\n"
    b"x-ratelimit-reset-requests: 6ms\r\n\r\n" % len(ANSWER)
)

Send = Callable[[], Awaitable[None]]


class Answering(asyncio.Protocol):
    """Answers each request as soon as its body is there; knows only what the two clients send."""

    def __init__(self) -> None:
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0 and len(self._read) >= end + 4 + len(BODY):
            self._read = self._read[end + 4 + len(BODY) :]
            if self._transport is not None:
                self._transport.write(HEAD + ANSWER)


def serve(ready: Connection) -> None:
    """The server process: sends its port, then serves until it is ended."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def microseconds_each(send: Send, concurrency: int, requests: int) -> float:
    """CPU of this process for one of `requests` calls of `send`, `concurrency` of them at a time."""
    left = requests

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await send()

    started = time.process_time()
    async with trio.open_nursery() as workers:
        for _ in range(concurrency):
            workers.start_soon(work)
    return (time.process_time() - started) / requests * 1e6


async def compare(port: int, concurrency: int, requests: int, rounds: int) -> list[float]:
    """Medians over `rounds` interleaved rounds: the engine, `AsyncClient` by default, and with a pool that fits."""
    told = 0

    def observe(event: object) -> None:
        nonlocal told
        told += 1

    endpoint = Endpoint(base_url=f"http://127.0.0.1:{port}/v1", headers={"authorization": "Bearer sk-0123456789"})
    queue = QueueSettings(concurrency=concurrency, requests_per_minute=10**9, tokens_per_minute=10**12)
    settings = EngineSettings(defaults={("", ""): queue})
    engine = Engine(lambda lane: endpoint, settings=settings, observer=observe)
    lane = Lane("acme", "openai", "main", "live")
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with (
        trio.open_nursery() as nursery,
        httpx.AsyncClient(timeout=60) as default,
        httpx.AsyncClient(timeout=60, limits=limits) as fitting,
    ):
        await nursery.start(engine.run)

        async def by_engine() -> None:
            request = HttpRequest(
                method="POST",
                path="/responses",
                safety="create",
                headers={"content-type": "application/json"},
                body=BODY,
                model="m",
                estimated_tokens=100,
            )
            answer = await engine.bind(lane, trace="t")(request)
            assert len(answer.body) == len(ANSWER)

        async def by_client(client: httpx.AsyncClient) -> None:
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/responses",
                content=BODY,
                headers={"content-type": "application/json", "authorization": "Bearer sk-0123456789"},
            )
            assert len(answer.content) == len(ANSWER)

        ways: list[Send] = [by_engine, partial(by_client, default), partial(by_client, fitting)]
        for send in ways:  # connections, caches
            await microseconds_each(send, concurrency, concurrency * 2)
        figures = [[await microseconds_each(send, concurrency, requests) for send in ways] for _ in range(rounds)]
        nursery.cancel_scope.cancel()
    assert told > 0
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def main() -> None:
    """Prints one line for each concurrency."""
    parser = argparse.ArgumentParser(description="CPU of one JSON POST: the engine beside httpx.AsyncClient")
    parser.add_argument("--requests", type=int, default=1500, help="requests in a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians are printed (default %(default)s)")
    given = parser.parse_args()
    ready, child = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(child,), daemon=True)
    server.start()
    try:
        port: int = ready.recv()
        print(
            f"{'concurrency':>11}  {'engine µs':>9}  {'AsyncClient µs':>14}  {'ratio':>5}  {'pool fits µs':>12}  ratio"
        )
        for concurrency in CONCURRENCIES:
            ours, default, fitting = trio.run(compare, port, concurrency, given.requests, given.rounds)
            print(
                f"{concurrency:>11}  {ours:>9.0f}  {default:>14.0f}  {default / ours:>5.1f}"
                f"  {fitting:>12.0f}  {fitting / ours:>5.1f}"
            )
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
