"""A provider in memory: batches and files behind the ports, an account of what was bought, and a say in what fails.

It stands behind a `Network` of its own that passes the same crash points as the real one, so that a sweep under a
virtual clock meets every boundary that a socket has. Time is trio's clock; nothing here sleeps.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from perdure.actors.batch.ports import (
    BatchInput,
    BatchLimits,
    InputProblem,
    OutputLine,
    ProviderBatch,
    ProviderStatus,
    Sought,
)
from perdure.actors.fetch import Fetch, FetchError, HttpAnswer, HttpRequest, HttpStream
from perdure.actors.lane import Lane
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.actors.resolving.facts import ProviderFacts
from perdure.actors.sources.content import Opened
from perdure.events.requests import Answer, LineError, Prompt, RawRequest, Usage
from perdure.store.crash_points import crash_point
from tests.actors.living import virtual_us

NAME: Final = "memory"
ENDPOINT: Final = "/v1/answers"
CHUNK_BYTES: Final = 64 * 1024


class Sold(Struct, frozen=True):
    """One entry of the account: `kind` is `batch` or `file`, `payload` what was sent."""

    kind: str
    id: str
    identity: str
    payload: str


class Ending(Struct, frozen=True):
    """How a batch ends: its last status, what it says of its input, and whether it is for want of room."""

    status: ProviderStatus
    problems: Sequence[InputProblem] = ()
    no_room: bool = False


class SoldBatch(Struct):
    """A batch at the provider. `ends_as`: its last status; `ends_at`: when (s of trio's clock)."""

    id: str
    identity: str
    file: str
    created_at: int
    ends_at: float
    ends_as: ProviderStatus = "completed"
    problems: Sequence[InputProblem] = ()
    cancelled: bool = False
    no_room: bool = False


class World:
    """Everything outside: what was stored and sold, how long things take, and what goes wrong next.

    `failures` maps a route (`upload`, `create`, `list`, `files`, `status`, `cancel`, `results`) to the errors that its
    next calls raise: `before` anything was done, or `after` it was (the answer is lost).
    """

    def __init__(
        self,
        *,
        batch_s: float = 100.0,
        max_lines: int = 50_000,
        max_bytes: int = 200_000_000,
        inline_bytes: int = 0,
    ) -> None:
        self.batch_s = batch_s
        self.inline_bytes = inline_bytes
        """Up to how many bytes the lines of a batch go into the call that creates it."""
        self.limits = BatchLimits(max_lines=max_lines, max_bytes=max_bytes)
        self.processing_s = 0.0
        """How long a file is processed."""
        self.files: dict[str, tuple[str, bytes, int]] = {}
        self.batches: dict[str, SoldBatch] = {}
        self.account: list[Sold] = []
        self.ends_as: ProviderStatus = "completed"
        self.problems: Sequence[InputProblem] = ()
        self.endings: list[Ending] = []
        """How the next batches end; those after them as `ends_as` and `problems` say."""
        self.tells_unfinished = False
        """Whether results have a line for each request that was not run."""
        self.deaf = False
        """Whether a cancel ends nothing."""
        self.edit: Callable[[list[bytes]], list[bytes]] = list
        """What the provider does to the result lines before it hands them out."""
        self.failures: dict[str, list[tuple[str, Exception]]] = {}
        self.asked: Counter[str] = Counter()
        self.refuses_live: set[str] = set()
        """What is asked live and gets a body without an answer."""
        self.gates: dict[str, trio.Event] = {}
        """Routes whose calls wait, once they are on the wire, until somebody opens them."""
        self.longest_chunk = 0
        self.numbers = itertools.count(1)
        """What ids are made from, over all lives: a process that starts again makes none that was made before."""
        self.alive: Callable[[], None] = lambda: None
        """Called before anything is done: raises when the process that asks has died."""

    def fail(self, route: str, error: FetchError, *, times: int = 1, when: str = "before") -> None:
        """Has the next `times` calls of `route` fail."""
        self.failures.setdefault(route, []).extend([(when, error)] * times)

    def bought_twice(self) -> list[str]:
        """What stands on the account more than once, by identity or by payload. Empty is good."""
        seen = Counter(f"{sold.kind} {mark}" for sold in self.account for mark in (sold.identity, sold.payload))
        return sorted(mark for mark, times in seen.items() if times > 1)

    def sold(self, kind: str) -> list[str]:
        """The ids of what was sold of a kind, oldest first."""
        return [sold.id for sold in self.account if sold.kind == kind]

    # ------------------------------------------------------------------ what the provider does

    def act(self, route: str, asked: Mapping[str, Any], body: bytes) -> Any:
        """Does what a request asks for; JSON values in and out."""
        match route:
            case "upload":
                file_id = f"file-{len(self.files) + 1}"
                self.files[file_id] = (asked["filename"], body, virtual_us())
                self.account.append(Sold("file", file_id, asked["filename"], hashlib.sha256(body).hexdigest()))
                return self._file(file_id)
            case "files":
                return [self._file(id_) for id_, (name, _, _) in self.files.items() if name == asked["filename"]]
            case "file":
                return self._file(asked["id"])
            case "create":
                batch_id = f"sold-{len(self.batches) + 1}"
                file_id = asked["file_id"]
                if not file_id:
                    file_id = f"inline-{hashlib.sha256(body).hexdigest()}"
                    self.files[file_id] = ("", body, virtual_us())
                ending = self.endings.pop(0) if self.endings else Ending(self.ends_as, self.problems)
                self.batches[batch_id] = SoldBatch(
                    id=batch_id,
                    identity=asked["identity"],
                    file=file_id,
                    created_at=virtual_us(),
                    ends_at=trio.current_time() + self.batch_s,
                    ends_as=ending.status,
                    problems=ending.problems,
                    no_room=ending.no_room,
                )
                payload = batch_id if ending.no_room else file_id  # without room nothing was run, and it may come again
                self.account.append(Sold("batch", batch_id, asked["identity"], payload))
                return self._batch(batch_id)
            case "ask":
                asked_for = json.loads(body)["input"]
                answer_id = f"answer-{len(self.sold('live')) + 1}"
                self.account.append(Sold("live", answer_id, answer_id, asked_for))
                if asked_for in self.refuses_live:
                    return {"id": answer_id, "error": "content_filter"}
                return {"id": answer_id, "text": f"live: {asked_for}"}
            case "list":
                return [self._batch(id_) for id_, batch in self.batches.items() if batch.identity == asked["identity"]]
            case "status":
                return self._batch(asked["id"])
            case "cancel":
                batch = self.batches[asked["id"]]
                if trio.current_time() < batch.ends_at and not self.deaf:
                    batch.ends_at, batch.ends_as, batch.cancelled = trio.current_time() + 5.0, "cancelled", True
                return None
            case _:
                raise AssertionError(route)

    def results(self, source: str) -> bytes:
        """The bytes of a result source, named by its batch."""
        batch = self.batches[source.removeprefix("out-")]
        data = self.files[batch.file][1]
        lines = [self._result(json.loads(line)) for line in data.splitlines()]
        if batch.ends_as != "completed":
            done = len(lines) // 2
            lines, undone = lines[:done], [json.loads(line)["id"] for line in lines[done:]]
            if self.tells_unfinished:
                lines += [json.dumps({"id": id_, "error": f"batch_{batch.ends_as}"}).encode() for id_ in undone]
        return b"".join(line + b"\n" for line in self.edit(lines))

    def _result(self, line: Mapping[str, Any]) -> bytes:
        return json.dumps({"id": line["custom_id"], "text": f"re: {line['body']['input']}"}).encode()

    def _file(self, file_id: str) -> Any:
        name, data, at = self.files[file_id]
        return {
            "id": file_id,
            "reference": file_id,
            "filename": name,
            "size_bytes": len(data),
            "created_at": at,
            "readiness": "ready" if virtual_us() >= at + int(self.processing_s * 1_000_000) else "processing",
        }

    def _batch(self, batch_id: str) -> Any:
        batch = self.batches[batch_id]
        ended = trio.current_time() >= batch.ends_at
        status = batch.ends_as if ended else "processing"
        return {
            "id": batch_id,
            "status": status,
            "created_at": batch.created_at,
            "identity": batch.identity,
            "sources": [f"out-{batch_id}"] if ended and batch.ends_as != "failed" else [],
            "problems": [msgspec.to_builtins(problem) for problem in batch.problems] if ended else [],
            "no_room": ended and batch.no_room,
        }


class MemoryNetwork:
    """The `Network` port over a `World`; passes the crash points of the real one."""

    def __init__(self, world: World) -> None:
        self.world = world

    def bind(
        self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None
    ) -> MemoryFetch:
        """See `Network.bind`."""
        return MemoryFetch(self.world, before_send)


class MemoryFetch:
    """The `Fetch` port over a `World`. A request's path is the route, its query what is asked."""

    def __init__(self, world: World, before_send: Callable[[], Awaitable[None]] | None) -> None:
        self._world = world
        self._before_send = before_send

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """See `Fetch`."""
        world, route = self._world, request.path
        lost = await self._send(request)
        body = b""
        if request.body is not None:
            source = request.body
            assert not isinstance(source, bytes)
            async for chunk in source():
                world.longest_chunk = max(world.longest_chunk, len(chunk))
                body += chunk
        crash_point("send.after_last_byte")
        if route in world.gates:
            await world.gates[route].wait()
        world.alive()
        answer = world.act(route, request.query, body)
        await trio.lowlevel.checkpoint()
        if lost is not None:
            raise lost
        crash_point("answer.received")
        return HttpAnswer(200, {}, json.dumps(answer).encode())

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncGenerator[HttpStream]:
        """See `Fetch.stream`."""
        lost = await self._send(request)
        crash_point("send.after_last_byte")
        crash_point("answer.received")
        yield _Stream(self._world.results(request.query["source"])[int(request.query["skip"]) :], lost)

    async def _send(self, request: HttpRequest) -> Exception | None:
        world, route = self._world, request.path
        world.alive()
        failures = world.failures.get(route)
        when, error = failures.pop(0) if failures else ("", None)
        await trio.lowlevel.checkpoint()
        if when == "not sent" and error is not None:
            raise error
        if self._before_send is not None and request.safety == "create":
            await self._before_send()
        world.asked[route] += 1
        crash_point("send.before")
        if when == "before" and error is not None:
            raise error
        return error


class _Stream:
    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, data: bytes, lost: Exception | None) -> None:
        self._data = data
        self._lost = lost

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, cut in half where the answer is to be lost."""
        until = len(self._data) if self._lost is None else len(self._data) // 2
        for start in range(0, until, CHUNK_BYTES):
            await trio.lowlevel.checkpoint()
            yield self._data[start : min(start + CHUNK_BYTES, until)]
        if self._lost is not None:
            raise self._lost


class MemoryBatches:
    """Implements `BatchProvider` over `MemoryFetch`."""

    def __init__(self, world: World, *, searchable: bool = True) -> None:
        self.world = world
        self.name = NAME
        self.endpoints: Sequence[str] = (ENDPOINT,)
        self.searchable = searchable
        self.settle_s = 5.0
        self.window_s = 86_400.0

    def limits(self, endpoint: str) -> BatchLimits:
        """See `BatchProvider`."""
        return self.world.limits

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `BatchProvider`."""
        body = {"model": prompt.model, "input": prompt.content}
        return RawRequest(endpoint, body, custom_id=prompt.custom_id)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """See `BatchProvider`."""
        return str(body.get("model", ""))

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """See `BatchProvider`."""
        return b'{"custom_id":"%s","url":"%s","body":%s}\n' % (line_id.encode(), url.encode(), body)

    def body_of(self, line: bytes) -> bytes:
        """See `BatchProvider`."""
        return json.dumps(json.loads(line)["body"]).encode()

    def parse_line(self, raw: bytes) -> OutputLine | None:
        """See `BatchProvider`."""
        try:
            value = json.loads(raw)
        except ValueError:
            return None
        unfinished = value.get("error") in ("batch_expired", "batch_cancelled")
        return OutputLine(value["id"], "text" in value, raw, unfinished)

    def answer(self, endpoint: str, raw: bytes) -> Answer | LineError:
        """See `BatchProvider`."""
        value = json.loads(raw)
        if "text" not in value:
            return LineError(value.get("error", "server_error"), "it failed", 500)
        return Answer(value["text"], Usage(input_tokens=1_000_000, output_tokens=1_000_000), "stop", "m", raw)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `Shows`."""
        return ProviderFacts(provider=NAME, references=(), max_bytes=0)

    def needs_file(self, size_bytes: int) -> bool:
        """See `BatchProvider`."""
        return size_bytes > self.world.inline_bytes

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """See `BatchProvider`."""
        asked = {"file_id": part.file, "identity": identity}
        body = None if part.file else part.lines
        request = HttpRequest(method="POST", path="create", safety="create", query=asked, body=body)
        return msgspec.json.decode((await fetch(request)).body, type=ProviderBatch)

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """See `BatchProvider`."""
        asked = {"identity": sought.identity}
        answer = await fetch(HttpRequest(method="GET", path="list", safety="read", query=asked))
        return msgspec.json.decode(answer.body, type=list[ProviderBatch])

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """See `BatchProvider`."""
        return await self._one(fetch, "status", "read", id=batch_id)

    @asynccontextmanager
    async def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
        """See `BatchProvider`."""
        request = HttpRequest(
            method="GET", path="results", safety="read", query={"source": source, "skip": str(skip_bytes)}
        )
        async with fetch.stream(request) as stream:
            yield _lines(stream)

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """See `BatchProvider`."""
        await fetch(HttpRequest(method="POST", path="cancel", safety="idempotent", query={"id": batch_id}))

    async def _one(self, fetch: Fetch, path: str, safety: Any, **asked: str) -> ProviderBatch:
        answer = await fetch(HttpRequest(method="POST", path=path, safety=safety, query=asked))
        return msgspec.json.decode(answer.body, type=ProviderBatch)


class MemoryLive:
    """Implements `LiveProvider` over `MemoryFetch`: what is asked twice is bought twice, and the account says so."""

    def __init__(self) -> None:
        self.name = NAME
        self.live_endpoints: Sequence[str] = (ENDPOINT,)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `LiveProvider`."""
        return RawRequest(endpoint, {"model": prompt.model, "input": prompt.content}, custom_id=prompt.custom_id)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """See `LiveProvider`."""
        return str(body.get("model", ""))

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `Shows`."""
        return ProviderFacts(provider=NAME, references=(), max_bytes=0)

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """See `LiveProvider`."""

        async def source() -> AsyncIterator[bytes]:
            yield body

        return (await fetch(HttpRequest(method="POST", path="ask", safety="create", body=source))).body

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `LiveProvider`."""
        value = json.loads(body)
        if "text" not in value:
            return LineError(value["error"], "it has no answer", 200)
        return Answer(value["text"], Usage(input_tokens=1, output_tokens=1), "stop", "m", body)


class MemoryFiles:
    """Implements `RemoteFiles` over `MemoryFetch`."""

    def __init__(self, *, searchable: bool = True) -> None:
        self.name = NAME
        self.searchable = searchable
        self.settle_s = 5.0
        self.max_bytes = 1_000_000_000
        self.accepts: Sequence[str] = ("*/*",)
        self.purpose = "any"

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """See `RemoteFiles`."""
        asked = {"filename": upload.filename}
        request = HttpRequest(method="POST", path="upload", safety="create", query=asked, body=lambda: upload.open(0))
        return msgspec.json.decode((await fetch(request)).body, type=RemoteFile)

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """See `RemoteFiles`."""
        answer = await fetch(HttpRequest(method="GET", path="files", safety="read", query={"filename": filename}))
        return msgspec.json.decode(answer.body, type=list[RemoteFile])

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """See `RemoteFiles`."""
        answer = await fetch(HttpRequest(method="GET", path="file", safety="read", query={"id": id}))
        return msgspec.json.decode(answer.body, type=RemoteFile | None)

    async def delete(self, fetch: Fetch, id: str) -> None:
        """See `RemoteFiles`: nobody deletes an input file."""
        raise AssertionError(id)

    async def listing(self, fetch: Fetch) -> AsyncGenerator[RemoteFile]:
        """See `RemoteFiles`: there are none to be listed."""
        files: Sequence[RemoteFile] = ()
        for file in files:
            yield file

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """See `RemoteFiles`: nobody reads them."""
        raise AssertionError(reference)


async def _lines(stream: HttpStream) -> AsyncIterator[Sequence[bytes]]:
    rest = b""
    async for chunk in stream.chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


def prompts(count: int, *, ids: bool = True) -> Iterator[Prompt]:
    """`count` requests, named `r-0`, `r-1`, … or left without a name."""
    for number in range(count):
        yield Prompt(f"question {number}", model="m", custom_id=f"r-{number}" if ids else None)
