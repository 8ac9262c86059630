"""The port for files at providers: what a provider's file store must be able to do. Adapters implement it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from perdure.actors.fetch import Fetch
from perdure.actors.sources.content import Opened

Readiness = Literal["ready", "processing", "failed"]
"""Whether a file at its provider can be used: some take seconds to minutes to process what they were sent."""


class RemoteFile(Struct, frozen=True, kw_only=True):
    """A file as its provider shows it. Times are µs since 1970 UTC; `expires_at` is None for never, or not told.

    `id` is what the provider's file routes take, `reference` what a request names the file by (often the same).
    `error` says why a file is `failed`. `planted`: False where its id tells that it was not stored by us as `filename`.
    """

    id: str
    reference: str
    filename: str
    size_bytes: int
    created_at: int
    expires_at: int | None = None
    mime_type: str = ""
    readiness: Readiness = "ready"
    error: str = ""
    planted: bool = True


class Upload(Struct, frozen=True, kw_only=True):
    """What is to be stored. `filename` is the identity that is planted where the provider takes it as one.

    `open` gives the bytes from an offset on, the same bytes each time. `session` is what an earlier attempt gave to
    `keep`: a place at the provider where the upload goes on. `keep` makes such a place durable; it returns before any
    byte is sent under it.
    """

    filename: str
    mime_type: str
    purpose: str
    size_bytes: int
    open: Callable[[int], AsyncIterator[bytes]]
    keep: Callable[[str], Awaitable[None]]
    session: str = ""


class RemoteFiles(Protocol):
    """A provider's file store. All I/O goes through the `fetch` that each call is handed.

    Every method raises `Refused`, `NotSent` or `Unknown` (see `perdure.actors.fetch`), nothing else on purpose.
    """

    name: str
    searchable: bool
    """Whether an uploaded file can be found again by `find`."""
    settle_s: float
    """How long after an upload a listing may not show it yet, in seconds."""
    max_bytes: int
    """The largest file."""
    accepts: Sequence[str]
    """The MIME types that requests may name files of: exact ones, or with a declared wildcard such as `image/*`."""
    purpose: str
    """What files for requests are uploaded for, "" where the provider has no such word."""

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """Stores a file: a purchase, streamed, in bounded memory. It may still be `processing` when it returns."""
        ...

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """All files with this planted name and size, oldest first; reads every page back to `since` (µs UTC)."""
        ...

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """A file, None when the provider has it no more (or says that it is not ours)."""
        ...

    async def delete(self, fetch: Fetch, id: str) -> None:
        """Deletes a file; one that is gone already is fine."""
        ...

    def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """Every file there is, over all pages."""
        ...

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """What is in a file that the provider gives out, such as one that its tools made: streamed, and gone on with
        where it breaks off.

        `reference` is the file's id or what requests name it by. Raises `InvalidSource` for one that can be none here,
        `Refused` of kind `not_found` and `invalid_request` for a file that is not there or that the provider keeps to
        itself. The chunks raise `Unknown` where the content cannot be read to its end.
        """
        ...
