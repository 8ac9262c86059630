"""Reading a file's content from its provider as it comes, in bounded memory.

What breaks off is gone on with where it broke: the rest is asked for (`Range`, RFC 9110 section 14), and an answer is
believed only where it says that it is just that; a whole one is read past what came before. The invariant: what comes
out is the file from its first byte to its last, or an error.

The content's name, type and size are what the answer's head says of them (`contracts/media-files-batch.md` 3.5).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from email.message import Message
from typing import Final

from perdure.actors.fetch import Fetch, HttpRequest, HttpStream, Unknown
from perdure.actors.sources.content import Opened
from perdure.adapters.answers import media_type
from perdure.adapters.download import DOWNLOAD_S, is_rest

TRIES: Final = 3
"""How often in a row an answer may break off without a byte of the file."""

_NO_TYPES: Final = ("", "application/octet-stream", "binary/octet-stream", "application/binary")
"""What says that there are bytes, and not what they are."""


@asynccontextmanager
async def open_content(fetch: Fetch, path: str, *, query: Mapping[str, str] | None = None) -> AsyncGenerator[Opened]:
    """The content at `path`. Nothing of it is buffered but the chunk that is handed on.

    Raises what `fetch` raises; the chunks do too, `Unknown` where the content breaks off `TRIES` times in a row.
    """
    content = _Content(fetch, path, query or {})
    async with content.streams:
        answer = await content.open(0)
        length = answer.headers.get("content-length", "")
        size = int(length) if length.isdecimal() and "transfer-encoding" not in answer.headers else None
        kind = media_type(answer.headers)
        declared = None if kind in _NO_TYPES else answer.headers.get("content-type")
        name = filename_of(answer.headers.get("content-disposition", ""))
        async with aclosing(content.read(answer, size)) as chunks:
            yield Opened(chunks, name, declared, size)


def filename_of(disposition: str) -> str | None:
    """The name in a `Content-Disposition` header (RFC 6266, with the extended form of RFC 8187), None for none."""
    header = Message()
    header["content-disposition"] = disposition.replace("\r", "").replace("\n", "")
    return header.get_filename() or None


class _Content:
    """One reading. `streams` holds the answer that is being read."""

    def __init__(self, fetch: Fetch, path: str, query: Mapping[str, str]) -> None:
        self.streams = AsyncExitStack()
        self._fetch = fetch
        self._path = path
        self._query = query

    async def open(self, first_byte: int) -> HttpStream:
        """The answer from `first_byte` on; a provider that knows no ranges sends all of it."""
        request = HttpRequest(
            method="GET",
            path=self._path,
            query=self._query,
            safety="read",
            headers={"range": f"bytes={first_byte}-"} if first_byte else {},
            expected=frozenset({416}) if first_byte else frozenset(),
            deadline_s=DOWNLOAD_S,
        )
        return await self.streams.enter_async_context(self._fetch.stream(request))

    async def read(self, answer: HttpStream, size: int | None) -> AsyncGenerator[bytes]:
        """All of it, of `size` bytes if that is known, beginning with `answer`."""
        place = known = fruitless = 0
        chunks = answer.chunks()
        try:
            while True:
                try:
                    chunk = await self._next(chunks, place, size)
                except Unknown:
                    fruitless += 1
                    if fruitless == TRIES:
                        raise
                    await _close(chunks)
                    chunks, known = await self._again(place)
                    continue
                if chunk is None:
                    return
                new = chunk[known:]
                known -= len(chunk) - len(new)
                if new:
                    fruitless = 0
                    place += len(new)
                    yield new
        finally:
            await _close(chunks)

    async def _next(self, chunks: AsyncIterator[bytes], place: int, size: int | None) -> bytes | None:
        """The next chunk behind `place`, None behind the last one."""
        chunk = await anext(chunks, None)
        if chunk is None and size not in (None, place):
            raise Unknown(f"{self._path} ended at byte {place} of {size}", retryable=True)
        return chunk

    async def _again(self, place: int) -> tuple[AsyncIterator[bytes], int]:
        """The content once more, and how much of it is known already."""
        await self.streams.aclose()
        answer = await self.open(place)
        if answer.status == 200:
            return answer.chunks(), place
        if not is_rest(answer, place):
            raise Unknown(f"{self._path} broke off at byte {place}, and the rest cannot be had", status=answer.status)
        return answer.chunks(), 0


async def _close(chunks: AsyncIterator[bytes]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
