"""What the simulator's tests share: a simulator on a port with a clock that stands still, and a client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio

from perdure.adapters.simulator import OPENAI_PREFIX as OPENAI_PREFIX
from perdure.adapters.simulator import Clock, Simulator
from tests.secrets import assert_no_key, assert_no_key_below, unique_key

PATIENCE_S = 20.0
"""Around everything on a real socket: far more than it needs, so that a hang is a failure and a slow machine is not."""

T0 = 1_795_000_000.0
"""Where the clock of a test stands, in seconds since 1970, until the test moves it."""

BATCH_S = 100.0
"""How long a batch takes, in seconds of that clock: the tenth is validation, the last tenth finalizing."""

VIDEO_S = 100.0
"""How long a video takes, in seconds of that clock: for a tenth of them it waits."""

RESPONSES = "/v1/responses"


class Bench:
    """A simulator that is being served, and a client with a key."""

    def __init__(self, simulator: Simulator, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.http = http

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request to OpenAI's part."""
        return await self.http.request(method, OPENAI_PREFIX + path, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def call_ok(self, method: str, path: str, body: object) -> None:
        """One request that must be answered with 200, as a task."""
        await self.ok(method, path, json=body)

    async def error(self, status: int, method: str, path: str, **options: Any) -> Any:
        """What stands under `error` in an answer that must have this status, after a check of its form."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"].startswith("req_")
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return error

    async def control(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a control answer that must be 200."""
        answer = await self.http.request(method, "/_sim" + path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def arm(self, fault: str, **fields: object) -> None:
        """Arms one fault over HTTP."""
        await self.control("POST", "/faults", json={"fault": fault, **fields})

    async def upload(self, data: bytes, *, filename: str = "in.jsonl", purpose: str = "batch") -> Any:
        """Makes a file."""
        return await self.ok("POST", "/files", data={"purpose": purpose}, files={"file": (filename, data)})

    async def batch(self, data: bytes, *, endpoint: str = RESPONSES, **fields: object) -> Any:
        """Uploads an input file and makes a batch of it."""
        file = await self.upload(data)
        return await self.create_batch(file["id"], endpoint=endpoint, **fields)

    async def create_batch(self, file_id: str, *, endpoint: str = RESPONSES, **fields: object) -> Any:
        """Makes a batch."""
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", **fields}
        return await self.ok("POST", "/batches", json=body)

    async def look(self, batch_id: str, *, after_s: float = 0.0) -> Any:
        """The batch, when the clock has moved on by `after_s` seconds."""
        self.simulator.clock.advance(after_s)
        return await self.ok("GET", f"/batches/{batch_id}")

    async def lines(self, file_id: str) -> list[Any]:
        """The lines of a JSONL file."""
        answer = await self.call("GET", f"/files/{file_id}/content")
        assert answer.status_code == 200, answer.text
        return [msgspec.json.decode(line) for line in answer.content.splitlines()]

    async def finished(self, data: bytes) -> tuple[Any, list[Any], list[Any]]:
        """A batch that has ended by itself: its object, the lines of its output and of its error file."""
        batch = await self.look((await self.batch(data))["id"], after_s=BATCH_S)
        output = await self.lines(batch["output_file_id"]) if batch["output_file_id"] else []
        errors = await self.lines(batch["error_file_id"]) if batch["error_file_id"] else []
        return batch, output, errors

    def units(self, kind: str) -> list[int]:
        """The units of all purchases of a kind."""
        return [purchase.units for purchase in self.simulator.account.purchases() if purchase.kind == kind]


@asynccontextmanager
async def bench(*, data: Path | None = None, seed: int = 0, batch_s: float = BATCH_S) -> AsyncGenerator[Bench]:
    """A `Bench`, for the length of the block and at most `PATIENCE_S` seconds."""
    with trio.fail_after(PATIENCE_S), _made(data, seed, batch_s) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            async with httpx.AsyncClient(base_url=bound.url, headers=key(unique_key()), timeout=PATIENCE_S) as http:
                yield Bench(simulator, http)
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)


def _made(data: Path | None, seed: int, batch_s: float) -> Simulator:
    return Simulator(data=data, seed=seed, batch_s=batch_s, video_s=VIDEO_S, clock=still())


def still() -> Clock:
    """A clock that only moves when told to."""
    return Clock(lambda: T0)


def key(secret: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {secret}"}


def assert_keeps_no_key(simulator: Simulator) -> None:
    """Raises AssertionError if a key stands in its files, in what it tells of its requests, or in its account."""
    assert_no_key_below(simulator.directory)
    assert_no_key("the simulator's requests", msgspec.json.encode(simulator.traffic.requests()))
    assert_no_key("the simulator's account", msgspec.json.encode(simulator.account.purchases()))


def jsonl(bodies: Iterable[Mapping[str, object]], *, url: str = RESPONSES, prefix: str = "r") -> bytes:
    """An input file: a line for each body, with the ids `r0`, `r1`, …"""
    return b"".join(
        msgspec.json.encode({"custom_id": f"{prefix}{n}", "method": "POST", "url": url, "body": body}) + b"\n"
        for n, body in enumerate(bodies)
    )


def prompts(count: int, *, model: str = "gpt-6-astra") -> bytes:
    """An input file of `count` prompts to one model."""
    return jsonl({"model": model, "input": f"prompt {n}"} for n in range(count))


def ids(lines: list[Any]) -> list[str]:
    """The custom ids of output lines, in order."""
    return [line["custom_id"] for line in lines]
