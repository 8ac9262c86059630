"""What the tests of Google's simulated part share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from perdure.adapters.simulator import GOOGLE_PREFIX, Simulator
from tests.adapters.simulator.bench import PATIENCE_S, VIDEO_S, assert_keeps_no_key, still
from tests.secrets import unique_key

GRANULE: Final = 256 << 10
PROCESSING_S: Final = 30.0
"""How long video and audio are processed, in seconds of the bench's clock."""


class GoogleBench:
    """A simulator that is being served, and a client with a key."""

    def __init__(self, simulator: Simulator, http: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.http = http

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request to Google's part, or to an address that it gave."""
        return await self.http.request(method, path if "://" in path else GOOGLE_PREFIX + path, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def error(self, status: int, code: str, method: str, path: str, **options: Any) -> Any:
        """What stands under `error` in an answer with this status and code, after a check of its form."""
        answer = await self.call(method, path, **options)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert set(error) - {"details"} == {"code", "message", "status"}
        assert (error["code"], error["status"]) == (status, code)
        assert error["message"]
        return error

    async def start(self, size: int | None = None, mime_type: str = "application/pdf", **file: object) -> str:
        """The address of a new upload."""
        headers = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        if size is not None:
            headers["x-goog-upload-header-content-length"] = str(size)
        body = {"file": {"mimeType": mime_type, **file}}
        answer = await self.call("POST", "/upload/v1/files", headers=headers, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-goog-upload-status"] == "active"
        assert answer.headers["x-goog-upload-chunk-granularity"] == str(GRANULE)
        return answer.headers["x-goog-upload-url"]

    async def send(self, url: str, command: str, data: bytes = b"", offset: int | None = None) -> httpx.Response:
        """One command of an upload, without the key."""
        return await self.http.post(url, headers=upload_headers(command, offset), content=data)

    async def upload(self, data: bytes, mime_type: str = "application/pdf", **file: object) -> Any:
        """Makes a file."""
        url = await self.start(len(data), mime_type, **file)
        answer = await self.send(url, "upload, finalize", data, 0)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-goog-upload-status"] == "final"
        return answer.json()["file"]

    async def received(self, url: str) -> int:
        """How much of an upload is there."""
        return int((await self.send(url, "query")).headers["x-goog-upload-size-received"])


def upload_headers(command: str, offset: int | None = None) -> Mapping[str, str]:
    """The headers of a command."""
    placed = {} if offset is None else {"x-goog-upload-offset": str(offset)}
    return {"x-goog-upload-command": command, **placed}


@asynccontextmanager
async def google_bench(*, batch_s: float = 2.0, data: Path | None = None) -> AsyncGenerator[GoogleBench]:
    """A `GoogleBench` whose clock stands still, for at most `PATIENCE_S` seconds; a batch takes `batch_s` seconds.

    `data` is where it keeps things, over its end too.
    """
    with (
        trio.fail_after(PATIENCE_S),
        Simulator(data=data, processing_s=PROCESSING_S, batch_s=batch_s, video_s=VIDEO_S, clock=still()) as simulator,
    ):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            headers = {"x-goog-api-key": unique_key()}
            async with httpx.AsyncClient(base_url=bound.url, headers=headers, timeout=PATIENCE_S) as http:
                yield GoogleBench(simulator, http)
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)
