"""A provider's file store in memory: a network that passes the real one's crash points, an account, what shall fail.

Names are not unique, as with most providers, so a second upload of one file shows. The resumable store takes content in
chunks at a session, which outlives connections and processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Literal

import trio
from msgspec.structs import replace

from perdure.actors.fetch import Fetch, FetchError, HttpAnswer, HttpRequest, HttpStream, Refused, Unknown
from perdure.actors.lane import Lane
from perdure.actors.remote_files import Readiness, RemoteFile, Upload
from perdure.actors.sources.content import Opened
from perdure.store.crash_points import crash_point
from tests.actors.living import EPOCH_US, virtual_us

PLAIN: Final = "plain"
RESUMABLE: Final = "resumable"
CHUNK_BYTES: Final = 1_000
MAX_BYTES: Final = 100_000

When = Literal["not sent", "refused", "lost", "cut"]
"""Where an upload fails: before its intent, after it and before anything was done, after all of it was done, or in the
middle of its content (a resumable one keeps the first chunk then)."""


class Session:
    """A resumable upload at the provider: what it has of the content, and the file once it has all."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.content = b""
        self.file: RemoteFile | None = None


class World:
    """Everything outside. Sending a file takes `sending_s` of trio's clock and its answer, or that to a chunk,
    `answer_s`; a file lives `lifetime_s` and is processed for `processing_s` (0: neither)."""

    def __init__(
        self,
        *,
        sending_s: float = 0.0,
        answer_s: float = 1.0,
        lifetime_s: float = 0.0,
        processing_s: float = 0.0,
    ) -> None:
        self.sending_s = sending_s
        self.answer_s = answer_s
        self.lifetime_s = lifetime_s
        self.processing_s = processing_s
        self.files: dict[str, RemoteFile] = {}
        """What is there, by id, whoever listed it."""
        self.account: list[tuple[str, str]] = []
        """Name and digest of everything that was ever stored, oldest first."""
        self.sessions: dict[str, Session] = {}
        self.sent_bytes = 0
        self.calls: list[str] = []
        """What was asked, in order."""
        self.failures: list[tuple[When, FetchError]] = []
        """What the next uploads come to."""
        self.trouble: dict[str, list[FetchError]] = {}
        """What the next calls of another kind come to: by `find`, `info` or `delete`."""
        self.doubles = False
        """Whether every upload is stored twice: what a retry below us would do."""
        self.becomes: Readiness = "ready"
        """What processing comes to."""
        self.life = 0
        """Which life of the process that asks this is: its clock begins anew with each."""
        self._stored_in: dict[str, int] = {}
        self.alive: Callable[[], None] = lambda: None
        """Called before anything is done: raises when the process that asks has died."""

    def fail(self, when: When, error: FetchError, *, times: int = 1) -> None:
        """Has the next `times` uploads fail."""
        self.failures.extend((when, error) for _ in range(times))

    @property
    def names(self) -> list[str]:
        """The names of the files that are there."""
        return [file.filename for file in self.files.values()]

    def store(self, filename: str, content: bytes, mime_type: str) -> RemoteFile:
        """Puts a file there."""
        now = virtual_us()
        id = f"r-{len(self.account)}"
        self.files[id] = RemoteFile(
            id=id,
            reference=f"ref-{id}",
            filename=filename,
            size_bytes=len(content),
            created_at=now,
            expires_at=now + round(self.lifetime_s * 1e6) if self.lifetime_s else None,
            mime_type=mime_type,
        )
        self._stored_in[id] = self.life
        self.account.append((filename, hashlib.sha256(content).hexdigest()))
        return self.show(id)

    def show(self, id: str) -> RemoteFile:
        """A file as it is now."""
        file = self.files[id]
        if virtual_us() < file.created_at + self.processing_s * 1e6:
            return replace(file, readiness="processing")
        if self.processing_s and self.becomes == "failed":
            return replace(file, readiness="failed", error="not a film")
        return file

    def is_listed(self, id: str) -> bool:
        """Whether a list shows a file, which it does from a second after it was stored."""
        born_s = (self.files[id].created_at - EPOCH_US) / 1e6 if self._stored_in[id] == self.life else 0.0
        return trio.current_time() >= born_s + 1.0

    def sweep(self) -> None:
        """Removes what has expired."""
        now = virtual_us()
        self.files = {id: file for id, file in self.files.items() if not file.expires_at or now < file.expires_at}


class MemoryNetwork:
    """The `Network` port over a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """See `Network.bind`."""
        assert lane.traffic == "files"
        return MemoryFetch(self.world, before_send)


class MemoryFetch:
    """The `Fetch` port over a `World`, as far as the memory provider goes through it."""

    def __init__(self, world: World, before_send: Callable[[], Awaitable[None]] | None) -> None:
        self.world = world
        self._before_send = before_send

    async def create(self) -> FetchError | None:
        """What a creating call does before its first byte; returns what is to go wrong after its last one."""
        world = self.world
        world.alive()
        when, error = world.failures[0] if world.failures else (None, None)
        await trio.lowlevel.checkpoint()
        if error is not None and when == "not sent":
            world.failures.pop(0)
            raise error
        assert self._before_send is not None
        await self._before_send()
        crash_point("send.before")
        if error is not None and when == "refused":
            world.failures.pop(0)
            raise error
        return error

    async def ask(self, what: str) -> None:
        """What any other call does first."""
        self.world.alive()
        self.world.calls.append(what)
        await trio.lowlevel.checkpoint()
        trouble = self.world.trouble.get(what)
        if trouble:
            raise trouble.pop(0)
        self.world.sweep()

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        """See `Fetch`."""
        raise AssertionError(request)

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpStream]:
        """See `Fetch.stream`."""
        raise AssertionError(request)


class MemoryFiles:
    """Implements `RemoteFiles`; `resumable` ones send in chunks at a session."""

    def __init__(self, *, resumable: bool = False, searchable: bool = True) -> None:
        self.name: str = RESUMABLE if resumable else PLAIN
        self.searchable: bool = searchable
        self.settle_s: float = 2.0
        self.max_bytes: int = MAX_BYTES
        self.accepts: Sequence[str] = ("*/*",)
        self.purpose: str = "memory"
        self._resumable = resumable

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """See `RemoteFiles`."""
        assert isinstance(fetch, MemoryFetch)
        return await (self._resume(fetch, upload) if self._resumable else self._send(fetch, upload))

    async def _send(self, fetch: MemoryFetch, upload: Upload) -> RemoteFile:
        world = fetch.world
        error = await fetch.create()
        content = bytearray()
        async for chunk in upload.open(0):
            content += chunk
        await trio.sleep(world.sending_s)
        crash_point("send.after_last_byte")
        world.alive()
        assert len(content) == upload.size_bytes
        world.sent_bytes += len(content)
        when = world.failures.pop(0)[0] if error is not None else None
        if error is not None and when == "cut":
            raise error
        file = world.store(upload.filename, bytes(content), upload.mime_type)
        if world.doubles:
            world.store(upload.filename, bytes(content), upload.mime_type)
        if error is not None:
            raise error
        await trio.sleep(world.answer_s)
        crash_point("answer.received")
        return file

    async def _resume(self, fetch: MemoryFetch, upload: Upload) -> RemoteFile:
        world = fetch.world
        error: FetchError | None = None
        place = upload.session
        if place not in world.sessions:
            error = await fetch.create()
            place = f"session-{len(world.sessions)}"
            world.sessions[place] = Session(upload.filename)
            crash_point("answer.received")
            await upload.keep(place)
        session = world.sessions[place]
        assert session.filename == upload.filename
        async with aclosing(_chunks(upload.open(len(session.content)))) as chunks:
            async for chunk in chunks:
                crash_point("send.before")
                world.alive()
                session.content += chunk
                world.sent_bytes += len(chunk)
                crash_point("send.after_last_byte")
                await trio.sleep(world.answer_s)
                if error is not None and world.failures[0][0] == "cut":
                    world.failures.pop(0)
                    raise error
        world.alive()
        if session.file is None:
            assert len(session.content) == upload.size_bytes
            session.file = world.store(upload.filename, session.content, upload.mime_type)
        crash_point("send.after_last_byte")
        if error is not None:
            world.failures.pop(0)
            raise error
        crash_point("answer.received")
        return world.show(session.file.id)

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """See `RemoteFiles`."""
        assert isinstance(fetch, MemoryFetch)
        await fetch.ask("find")
        assert self.searchable
        world = fetch.world
        shown = [id for id, file in world.files.items() if since <= file.created_at and world.is_listed(id)]
        named = [world.show(id) for id in shown if world.files[id].filename == filename]
        return [file for file in named if file.size_bytes == size_bytes]

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """See `RemoteFiles`."""
        assert isinstance(fetch, MemoryFetch)
        await fetch.ask("info")
        return fetch.world.show(id) if id in fetch.world.files else None

    async def delete(self, fetch: Fetch, id: str) -> None:
        """See `RemoteFiles`."""
        assert isinstance(fetch, MemoryFetch)
        await fetch.ask("delete")
        fetch.world.files.pop(id, None)

    async def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """See `RemoteFiles`."""
        assert isinstance(fetch, MemoryFetch)
        await fetch.ask("listing")
        for file in list(fetch.world.files.values()):
            yield file

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """See `RemoteFiles`; what is in memory is not given out."""
        raise Refused("files in memory are not given out", kind="unsupported", status=501)


async def _chunks(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Content in pieces of `CHUNK_BYTES`."""
    rest = b""
    async for piece in content:
        rest += piece
        while len(rest) >= CHUNK_BYTES:
            chunk, rest = rest[:CHUNK_BYTES], rest[CHUNK_BYTES:]
            yield chunk
    if rest:
        yield rest


LOST: Final = Unknown("the connection was cut")
