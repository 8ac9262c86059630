"""What comes out of a source: a stream of bytes with what is known of them beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from msgspec import Struct

from perdure.actors.sources.filename import FileName
from perdure.actors.sources.media_type import MediaType
from perdure.events.messages import ProviderRef

CHUNK_BYTES: Final = 1 << 20
"""What is read at a time: one hop for a megabyte costs little, and a few in flight stay small."""


class Opened(Struct, frozen=True):
    """An open source, as it describes itself.

    `filename` and `mime_type` are None where it says nothing. `size_bytes` is exact, None where it is not known before
    the end. `chunks` can be read once, raises `InvalidSource` and `Unavailable`, and belongs to whoever opened it.
    """

    chunks: AsyncIterator[bytes]
    filename: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None


class Content(Struct, frozen=True):
    """An open source that was looked into: it has at least one byte.

    `chunks` gives all of it, once. `size_bytes` is exact, None where it is not known before the end.
    """

    chunks: AsyncIterator[bytes]
    name: FileName
    media_type: MediaType
    size_bytes: int | None


class UrlReader(Protocol):
    """Fetches what an http or https URL leads to, where that is allowed."""

    def open(self, url: str) -> AbstractAsyncContextManager[Opened]:
        """The answer's body as it comes. Raises `InvalidSource`, `TooLarge`, `Unavailable`; its chunks do too."""
        ...


class ProviderReader(Protocol):
    """Fetches what a provider has."""

    def open(self, reference: ProviderRef) -> AbstractAsyncContextManager[Opened]:
        """The file's content as it comes. Raises `InvalidSource`, `UnknownProvider`, `ProviderError`; its chunks raise
        the last, too."""
        ...
