"""Opening a source, whatever it is: one stream of bytes, a name, a MIME type, a size.

The kinds of source are told apart by their types alone. That is why a bare `str` is none: a path, a URL, base64 and
the id of a file look alike.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

import trio

from perdure.actors.sources.content import CHUNK_BYTES, Content, Opened, ProviderReader, UrlReader
from perdure.actors.sources.data_url import parse_data_url
from perdure.actors.sources.disk_file import open_file_object, open_path
from perdure.actors.sources.filename import name_file
from perdure.actors.sources.media_type import HEAD_BYTES, extension_for, recognise
from perdure.events.errors import InvalidSource, shorten
from perdure.events.messages import DataUrl, FileReference, Inline, ProviderRef, Url
from perdure.store.disk import Disk

Source = Path | bytes | DataUrl | Url | Inline | ProviderRef | AsyncIterable[bytes] | BinaryIO
"""Where a new file's bytes can come from."""

_CLOSE_S: Final = 5.0
"""How long a caller's stream may take to clean up when it is left early, in seconds."""


@asynccontextmanager
async def open_source(
    source: Source,
    *,
    disk: Disk,
    urls: UrlReader | None = None,
    providers: ProviderReader | None = None,
    filename: str | None = None,
    mime_type: str | None = None,
) -> AsyncGenerator[Content]:
    """What `source` holds, read as it is asked for; closed when the block is left.

    `filename` and `mime_type` win over what the source says of itself; the bytes win over both types. Blocking reads go
    through `disk`, which should not be the log's: a slow file object holds a thread of it. `urls` None: nothing may be
    fetched; `providers` None: nor anything that a provider has.

    Raises `InvalidSource` (see there), `TooLarge`, `Unavailable` and `ProviderError` for what is fetched; the chunks
    raise them too, and whatever the caller's own stream raises. So a file is whole only when its chunks have come to
    their end.
    """
    async with _opened(source, disk, urls, providers) as opened:
        given = filename or opened.filename
        head, chunks = await _looked_into(opened.chunks, given)
        try:
            media_type = recognise(head, declared=mime_type or opened.mime_type, filename=given or "")
            name = name_file(given, extension=extension_for(media_type.mime_type))
            yield Content(chunks, name, media_type, opened.size_bytes)
        finally:
            await _close(chunks)
            await _close(opened.chunks)


def _opened(
    source: object, disk: Disk, urls: UrlReader | None, providers: ProviderReader | None
) -> AbstractAsyncContextManager[Opened]:
    match source:
        case Path():
            return open_path(source, disk)
        case bytes():
            return _from_memory(source, None)
        case bytearray():
            return _from_memory(bytes(source), None)
        case Inline(data=data, mime_type=mime_type):
            return _from_memory(data, mime_type)
        case DataUrl(url=url):
            return _from_data_url(url)
        case Url(url=url, mime_type=mime_type):
            return _from_url(url, mime_type, urls)
        case str():
            raise InvalidSource(
                "a str is not a source, since a path, a URL, base64 and the id of a file cannot be told apart: say"
                " Path(…), Url(…), DataUrl(…) or FileReference(…), or give the bytes",
                reason="kind",
                value=source,
            )
        case ProviderRef() if providers is not None:
            return providers.open(source)
        case FileReference() | ProviderRef():
            raise InvalidSource(
                f"{type(source).__name__} names a file that exists already: use it as it is, there is nothing to read",
                reason="kind",
                value=source,
            )
        case AsyncIterable():
            return _from_stream(cast("AsyncIterable[bytes]", source))
        case _ if callable(getattr(source, "read", None)):
            return open_file_object(cast("BinaryIO", source), disk)
        case _:
            raise InvalidSource(
                f"{type(source).__name__} is not a source: give a Path, bytes, a DataUrl, a Url, an asynchronous stream"
                " of bytes, an open binary file or a ProviderRef",
                reason="kind",
                value=source,
            )


# ---------------------------------------------------------------- each kind that needs no module of its own


@asynccontextmanager
async def _from_memory(data: bytes, mime_type: str | None) -> AsyncGenerator[Opened]:
    pieces = (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
    yield Opened(_checkpointed(pieces), None, mime_type, len(data))


@asynccontextmanager
async def _from_data_url(url: str) -> AsyncGenerator[Opened]:
    parsed = parse_data_url(url)
    yield Opened(_checkpointed(parsed.pieces()), None, parsed.mime_type, parsed.size_bytes)


async def _checkpointed(pieces: Iterator[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


@asynccontextmanager
async def _from_url(url: str, mime_type: str | None, urls: UrlReader | None) -> AsyncGenerator[Opened]:
    if urls is None:
        raise InvalidSource(
            "fetching URLs is not allowed here: set fetch_urls in the configuration, or give the bytes",
            reason="not_allowed",
            field="source.url",
        )
    async with urls.open(url) as opened:
        yield Opened(opened.chunks, opened.filename, mime_type or opened.mime_type, opened.size_bytes)


@asynccontextmanager
async def _from_stream(stream: AsyncIterable[bytes]) -> AsyncGenerator[Opened]:
    chunks = aiter(stream)
    try:
        yield Opened(_checked(chunks))
    finally:
        await _close(chunks)


async def _checked(chunks: AsyncIterator[object]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
        elif isinstance(chunk, bytearray):
            yield bytes(chunk)
        else:
            raise InvalidSource(
                f"the stream gave {type(chunk).__name__}: every piece must be bytes", reason="kind", value=chunk
            )


# ---------------------------------------------------------------- looking into the first bytes


async def _looked_into(chunks: AsyncIterator[bytes], name: str | None) -> tuple[bytes, AsyncGenerator[bytes]]:
    """The first bytes, and everything, those included. Raises `InvalidSource` where there is not one byte."""
    read: list[bytes] = []
    size = 0
    while size < HEAD_BYTES:
        chunk = await anext(chunks, None)
        if chunk is None:
            break
        read.append(chunk)
        size += len(chunk)
    if not size:
        what = shorten(name) if name else "the source"
        raise InvalidSource(f"{what} is empty: a file has at least one byte", reason="empty", limit=1, value=0)
    head = b"".join(read)[:HEAD_BYTES]
    return head, _together(read, chunks)


async def _together(read: list[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    while read:
        chunk = read.pop(0)
        if chunk:
            yield chunk
    async for chunk in rest:
        if chunk:
            yield chunk


async def _close(chunks: AsyncIterator[bytes]) -> None:
    """Closes an asynchronous generator that was not read to its end, also while cancelled."""
    if getattr(chunks, "ag_frame", chunks) is None:
        return  # a generator that was read to its end
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_S):
            await aclose()
