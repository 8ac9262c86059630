"""The port to files: what resolving messages needs of them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from perdure.actors.resolving.facts import RemoteCopy


class KnownFile(Struct, frozen=True, kw_only=True):
    """A file of ours, with its copy at the provider that was asked about (None: it never had one)."""

    id: str
    filename: str
    mime_type: str
    size_bytes: int
    copy: RemoteCopy | None = None


class Files(Protocol):
    """Our files. The same content is the same file within one subject, however often it is handed over."""

    fetches_urls: bool
    """Whether `take_url` may be called: it is a setting."""

    async def look_up(self, id: str, provider: str) -> KnownFile:
        """The file with this id. Raises `NotFound`, `FileExpired`, `FileDeleted`."""
        ...

    async def take(self, data: bytes, *, filename: str | None, mime_type: str, provider: str) -> KnownFile:
        """The file with this content, stored if there was none."""
        ...

    async def take_url(self, url: str, *, filename: str | None, mime_type: str | None, provider: str) -> KnownFile:
        """The file with what `url` leads to. Raises `InvalidSource`, `TooLarge`, `Unavailable`."""
        ...

    async def ensure(self, id: str, provider: str) -> str:
        """The reference under which `provider` has the file now, after an upload if need be.

        One upload, however many ask at once. Raises `ProviderError`, `OperationError` and `Timeout` when it failed.
        """
        ...

    async def read(self, id: str) -> bytes:
        """All bytes of a file."""
        ...
