"""A `Fetch` that answers from a script and keeps what it was asked: the port alone, no network."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Final

import trio
from msgspec import Struct

from perdure.actors.fetch import FetchError, HttpAnswer, HttpRequest, HttpStream, Refused

Chunks = Callable[[], AsyncGenerator[bytes]]

JSON: Final[Mapping[str, str]] = MappingProxyType({"content-type": "application/json"})


class Reply(Struct):
    """What is answered: a whole body, or a source of chunks for `stream`."""

    body: bytes | Chunks = b""
    status: int = 200
    headers: Mapping[str, str] = JSON


Script = Callable[[HttpRequest], Reply | FetchError]


def reply(value: object, status: int = 200, **headers: str) -> Reply:
    """An answer with a JSON body; underscores in header names become dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(json.dumps(value).encode(), status, {**JSON, **named})


class FakeFetch:
    """Implements `perdure.actors.fetch.Fetch`. Statuses that a request does not expect are raised as `Refused`."""

    def __init__(self, script: Script | Sequence[Reply | FetchError] | Reply | FetchError) -> None:
        self.requests: list[HttpRequest] = []
        self.open_streams = 0
        self._script = script

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        await trio.lowlevel.checkpoint()
        said = self._next(request)
        assert isinstance(said.body, bytes)
        return HttpAnswer(said.status, said.headers, said.body)

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncGenerator[HttpStream]:
        await trio.lowlevel.checkpoint()
        said = self._next(request)
        self.open_streams += 1
        try:
            yield _Stream(said)
        finally:
            self.open_streams -= 1

    def _next(self, request: HttpRequest) -> Reply:
        self.requests.append(request)
        script = self._script
        if callable(script):
            said = script(request)
        elif isinstance(script, Reply | FetchError):
            said = script
        else:
            said = script[len(self.requests) - 1]
        if isinstance(said, FetchError):
            raise said
        if not 200 <= said.status < 300 and said.status not in request.expected:
            raise Refused("the fake refuses", kind="invalid_request", status=said.status)
        return said


class _Stream:
    def __init__(self, said: Reply) -> None:
        self.status = said.status
        self.headers = said.headers
        self._body = said.body

    async def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            yield self._body
            return
        async with aclosing(self._body()) as body:
            async for chunk in body:
                yield chunk


def chunks_of(data: bytes, size: int = 7) -> Chunks:
    """A source that gives `data` in chunks of `size` bytes."""

    async def source() -> AsyncGenerator[bytes]:
        for start in range(0, len(data), size):
            await trio.lowlevel.checkpoint()
            yield data[start : start + size]

    return source


def batch(id_: str = "batch_1", **fields: object) -> dict[str, object]:
    """A batch as OpenAI shows one."""
    return {"id": id_, "object": "batch", "status": "in_progress", "created_at": 1_795_190_000, **fields}


def file(id_: str = "file-1", **fields: object) -> dict[str, object]:
    """A file as OpenAI shows one."""
    return {"id": id_, "object": "file", "bytes": 3, "created_at": 1_795_190_000, "filename": "a.jsonl", **fields}


def page(items: Sequence[object], *, has_more: bool | None = False) -> Reply:
    """A page of a list."""
    return reply({"object": "list", "data": list(items)} | ({} if has_more is None else {"has_more": has_more}))
