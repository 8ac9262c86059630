"""Files in memory: the port that resolving uses, with an account of what it was asked for."""

from __future__ import annotations

import hashlib

import trio
from msgspec import structs

from perdure.actors.resolving import KnownFile, RemoteCopy
from perdure.events.errors import InvalidSource, NotFound, PerdureError


class MemoryFiles:
    """Our files. `uploads`: (file, provider) of each upload. `troubles`: what asking for a file's upload fails of."""

    def __init__(self, *, fetches_urls: bool = False) -> None:
        self.fetches_urls = fetches_urls
        self.known: dict[str, KnownFile] = {}
        self.data: dict[str, bytes] = {}
        self.web: dict[str, bytes] = {}
        self.gone: dict[str, PerdureError] = {}
        self.trouble: PerdureError | None = None
        self.uploads: list[tuple[str, str]] = []
        self.taken = 0
        self._turn = trio.Lock()

    def put(self, data: bytes, mime_type: str, filename: str = "a.bin", *, copy: RemoteCopy | None = None) -> KnownFile:
        """Makes a file, or finds the one with this content."""
        id = "file_" + hashlib.sha256(data).hexdigest()[:8]
        if id not in self.known:
            self.data[id] = data
            self.known[id] = KnownFile(id=id, filename=filename, mime_type=mime_type, size_bytes=len(data), copy=copy)
        return self.known[id]

    async def look_up(self, id: str, provider: str) -> KnownFile:
        await trio.lowlevel.checkpoint()
        if id in self.gone:
            raise self.gone[id]
        if id not in self.known:
            raise NotFound(f"there is no file {id}", id=id)
        return self.known[id]

    async def take(self, data: bytes, *, filename: str | None, mime_type: str, provider: str) -> KnownFile:
        await trio.lowlevel.checkpoint()
        self.taken += 1
        return self.put(data, mime_type, filename or "file.bin")

    async def take_url(self, url: str, *, filename: str | None, mime_type: str | None, provider: str) -> KnownFile:
        assert self.fetches_urls
        await trio.lowlevel.checkpoint()
        if url not in self.web:
            raise InvalidSource(f"10.1.2.3 behind {url} is not public", reason="not_allowed")
        return self.put(self.web[url], mime_type or "application/pdf", filename or "web.pdf")

    async def ensure(self, id: str, provider: str) -> str:
        async with self._turn:
            await trio.lowlevel.checkpoint()
            if self.trouble is not None:
                raise self.trouble
            copy = self.known[id].copy
            if (id, provider) not in self.uploads:
                self.uploads.append((id, provider))
                copy = RemoteCopy(f"remote-{id}")
                self.known[id] = structs.replace(self.known[id], copy=copy)
            assert copy is not None
            return copy.reference

    async def read(self, id: str) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.data[id]
