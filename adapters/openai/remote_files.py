"""OpenAI's files, for requests and as input of batches: the `RemoteFiles` of `/v1/files` and `/v1/uploads`.

Sources: `contracts/providers.md` section 1.1 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from perdure.actors.fetch import Fetch
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.actors.sources.content import Opened
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai.uploads import MAX_PART_BYTES, upload_in_parts
from perdure.adapters.openai_compatible.answers import FILE_PAGE
from perdure.adapters.openai_compatible.files import (
    SETTLE_S,
    delete_file,
    file_content,
    file_info,
    list_files,
    post_file,
    shown,
)
from perdure.adapters.openai_compatible.paging import read_back

PURPOSE: Final = "user_data"
"""OpenAI's word for files that requests name (section 1.1)."""

MAX_PLAIN_BYTES: Final = 512_000_000
"""The largest file that goes in one request, 512 MB (section 1.1), read as decimal; larger ones go in parts."""

MAX_BYTES: Final = 8_000_000_000
"""The largest file, 8 GB (section 1.1), read as decimal."""


FILES_A_PAGE: Final = 1_000
"""OpenAI gives up to 10,000; a thousand are some 250 kB, and nobody uploads more while an upload is in doubt."""


class OpenAIRemoteFiles:
    """Implements `perdure.actors.remote_files.RemoteFiles`; holds no state.

    `settle_s`: how long a listing may not show a new file yet, in seconds. `max_plain_bytes`, `part_bytes`: from where
    on, and into what, files are cut.
    """

    def __init__(
        self, *, settle_s: float = SETTLE_S, max_plain_bytes: int = MAX_PLAIN_BYTES, part_bytes: int = MAX_PART_BYTES
    ) -> None:
        self.name: str = NAME
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.max_bytes: int = MAX_BYTES
        self.accepts: Sequence[str] = ("*/*",)
        self.purpose: str = PURPOSE
        self._max_plain_bytes = max_plain_bytes
        self._part_bytes = part_bytes

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """Stores a file: in one request, or in parts where it is too large for one (see `upload_in_parts`).

        For the purpose `batch` OpenAI wants a name that ends in `.jsonl`, and keeps the file for 30 days. An answer
        that cannot be read is `Unknown`.
        """
        if upload.size_bytes > self._max_plain_bytes:
            file = await upload_in_parts(fetch, upload, part_bytes=self._part_bytes)
        else:
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
        """All files with this name and size, whatever their purpose, oldest first; see `paging.read_back`. One that
        OpenAI could not process (status `error`) does not count: nothing can be done with it."""
        found = await read_back(
            fetch,
            "/files",
            FILE_PAGE,
            limit=FILES_A_PAGE,
            since=since,
            wanted=lambda file: file.filename == filename and file.bytes == size_bytes and file.status != "error",
            query={"order": "desc"},
        )
        return [shown(file, filename=filename, size_bytes=size_bytes) for file in found]

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """See `file_info`."""
        return await file_info(fetch, id)

    async def delete(self, fetch: Fetch, id: str) -> None:
        """See `delete_file`."""
        await delete_file(fetch, id)

    def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """See `list_files`."""
        return list_files(fetch, limit=FILES_A_PAGE)

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """See `file_content`."""
        return file_content(fetch, reference)
