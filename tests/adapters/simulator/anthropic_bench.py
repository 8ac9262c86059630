"""What the tests of Anthropic's simulated part share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

import httpx

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from tests.adapters.simulator.bench import Bench, bench

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


@asynccontextmanager
async def anthropic_bench(*, seed: int = 0) -> AsyncGenerator[AnthropicBench]:
    """An `AnthropicBench`, for the length of the block."""
    async with bench(seed=seed) as b:
        yield AnthropicBench(b)
