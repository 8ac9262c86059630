"""What the tests of Anthropic's simulated part share."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from tests.adapters.simulator.bench import BATCH_S, Bench, bench

BATCHES: Final = "/v1/messages/batches"
VERSION: Final = "2026-10-21"
OLD_VERSION: Final = "2023-06-01"
BETA: Final[Mapping[str, str]] = MappingProxyType({"anthropic-beta": "other-1, files-api-2025-04-14"})


class AnthropicBench:
    """A simulator that is being served, and a client with a key and a version."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.simulator = bench.simulator

    async def call(self, method: str, path: str, *, version: str | None = VERSION, **options: Any) -> httpx.Response:
        """One request to Anthropic's part."""
        headers = {**({"anthropic-version": version} if version else {}), **options.pop("headers", {})}
        return await self.bench.http.request(method, ANTHROPIC_PREFIX + path, headers=headers, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        assert answer.headers["request-id"].startswith("req_")
        return answer.json()

    async def error(self, status: int, type_: str, method: str, path: str, **options: Any) -> Any:
        """What stands under `error` in an answer that must have this status and type, after a check of its form."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert set(body) == {"type", "error", "request_id"}
        assert body["type"] == "error"
        assert body["request_id"] == answer.headers["request-id"]
        assert body["error"]["type"] == type_
        assert body["error"]["message"]
        return body["error"]

    async def upload(
        self, data: bytes = b"some words", *, filename: str = "notes.txt", mime_type: str = "text/plain", **fields: str
    ) -> Any:
        """Makes a file."""
        return await self.ok("POST", "/v1/files", data=fields, files={"file": (filename, data, mime_type)})

    async def ask(self, content: object = "hello", *, status: int = 200, **fields: Any) -> Any:
        """The answer to one turn of the user's, which must have this status."""
        version = fields.pop("version", VERSION)
        body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": content}], **fields}
        answer = await self.call("POST", "/v1/messages", json=body, version=version)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def batch(self, requests: Sequence[object]) -> Any:
        """Makes a batch."""
        return await self.ok("POST", BATCHES, json={"requests": requests})

    async def look(self, id_: str, *, after_s: float = 0.0) -> Any:
        """A batch, so many seconds later."""
        self.simulator.clock.advance(after_s)
        return await self.ok("GET", f"{BATCHES}/{id_}")

    async def results(self, id_: str) -> list[Any]:
        """The result lines of a batch that has ended."""
        answer = await self.call("GET", f"{BATCHES}/{id_}/results")
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.content.splitlines()]

    async def finished(self, requests: Sequence[object]) -> tuple[Any, list[Any]]:
        """A batch that had its time, and its results in the order of their names."""
        made = await self.batch(requests)
        ended = await self.look(made["id"], after_s=BATCH_S)
        return ended, sorted(await self.results(made["id"]), key=lambda line: str(line["custom_id"]))


def asked(custom_id: str, content: object = "hello", **params: object) -> dict[str, object]:
    """One request of a batch."""
    body = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": content}], **params}
    return {"custom_id": custom_id, "params": body}


def several(count: int) -> list[dict[str, object]]:
    """So many requests, `r-0` and so on."""
    return [asked(f"r-{n}", f"question {n}") for n in range(count)]


@asynccontextmanager
async def anthropic_bench(
    *, data: Path | None = None, seed: int = 0, batch_s: float = BATCH_S
) -> AsyncGenerator[AnthropicBench]:
    """An `AnthropicBench`, for the length of the block."""
    async with bench(data=data, seed=seed, batch_s=batch_s) as b:
        yield AnthropicBench(b)
