"""xAI's files: the `RemoteFiles` of `/v1/files`.

Sources: `contracts/providers.md` section 4 and `contracts/media-files-batch.md` section 3.5 (20 November 2026). For the
list, xAI's documentation names `limit` and `pagination_token`; how it is sorted is not relied upon.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from perdure.actors.fetch import Fetch
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.actors.sources.content import Opened
from perdure.adapters.openai_compatible.files import (
    SETTLE_S,
    delete_file,
    file_content,
    file_info,
    list_files,
    post_file,
    shown,
)
from perdure.adapters.openai_compatible.paging import after_last
from perdure.adapters.openai_compatible.wire import FileObject, Page
from perdure.adapters.xai.account import NAME

PURPOSE: Final = "assistants"
"""xAI needs no purpose; this is what clients made for OpenAI's wire send (section 3.5)."""

MAX_BYTES: Final = 48_000_000
"""The largest file, about 48 MB (section 4)."""

ACCEPTS: Final[Sequence[str]] = ("text/plain", "text/markdown", "text/csv", "application/json", "application/pdf")
"""What files requests may name (section 3.5)."""

FILES_A_PAGE: Final = 100
"""How many files are asked for at a time. xAI states no bound; 100 is what its lists of batches give."""


class XaiRemoteFiles:
    """Implements `perdure.actors.remote_files.RemoteFiles`; holds no state.

    `settle_s`: how long a listing may not show a new file yet, in seconds.
    """

    def __init__(self, *, settle_s: float = SETTLE_S) -> None:
        self.name: str = NAME
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.max_bytes: int = MAX_BYTES
        self.accepts: Sequence[str] = ACCEPTS
        self.purpose: str = PURPOSE

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """Stores a file in one request, for ever: no `expires_after` is sent. See `post_file`."""
        file = await post_file(
            fetch,
            fields=[("purpose", upload.purpose)],
            filename=upload.filename,
            body=lambda: upload.open(0),
            size_bytes=upload.size_bytes,
            mime_type=upload.mime_type,
        )
        return shown(file, filename=upload.filename, size_bytes=upload.size_bytes, mime_type=upload.mime_type)

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """All files with this name and size, oldest first. Reads the whole list: its order is not known for sure."""
        async with aclosing(list_files(fetch, limit=FILES_A_PAGE, following=behind)) as files:
            found = [file async for file in files if (file.filename, file.size_bytes) == (filename, size_bytes)]
        return sorted(found, key=lambda file: file.created_at)

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """See `file_info`."""
        return await file_info(fetch, id)

    async def delete(self, fetch: Fetch, id: str) -> None:
        """See `delete_file`."""
        await delete_file(fetch, id)

    def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """See `list_files`."""
        return list_files(fetch, limit=FILES_A_PAGE, following=behind)

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """See `file_content`."""
        return file_content(fetch, reference)


def behind(page: Page[FileObject]) -> Mapping[str, str] | None:
    """What is asked for the page behind this one: by xAI's token where there is one, else as at OpenAI where there is
    said to be more; None: this is the last."""
    if page.pagination_token:
        return {"pagination_token": page.pagination_token}
    return after_last(page) if page.has_more else None
