"""OpenAI's files as a batch needs them: the `FileProvider` of `/v1/files`. For other uses see `remote_files`.

Sources: `contracts/providers.md` section 1.1 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.actors.batch.ports import StoredFile
from perdure.actors.fetch import BodySource, Fetch
from perdure.actors.remote_files import RemoteFile
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai_compatible.answers import FILE_PAGE
from perdure.adapters.openai_compatible.files import SETTLE_S, post_file, shown
from perdure.adapters.openai_compatible.paging import read_back

FILES_A_PAGE: Final = 1_000
"""OpenAI gives up to 10,000; a thousand are some 250 kB, and nobody uploads more while an upload is in doubt."""


class OpenAIFiles:
    """Implements `perdure.actors.batch.ports.FileProvider`; holds no state.

    `settle_s`: how long a listing may not show a new file yet, in seconds.
    """

    def __init__(self, *, settle_s: float = SETTLE_S) -> None:
        self.name: str = NAME
        self.searchable: bool = True
        self.settle_s: float = settle_s

    async def upload(
        self, fetch: Fetch, *, filename: str, purpose: str, body: BodySource, size_bytes: int
    ) -> StoredFile:
        """Stores a file of at most 512 MB (200 MB for a batch), streamed. For the purpose `batch` OpenAI wants a name
        that ends in `.jsonl`, and keeps the file for 30 days. An answer that cannot be read is `Unknown`."""
        fields = [("purpose", purpose)]
        file = await post_file(fetch, fields=fields, filename=filename, body=body, size_bytes=size_bytes)
        return _stored(shown(file, filename=filename, size_bytes=size_bytes))

    async def find(
        self, fetch: Fetch, *, filename: str, size_bytes: int, purpose: str, since: int
    ) -> Sequence[StoredFile]:
        """All files with this name and size, oldest first; see `find_files`."""
        found = await find_files(fetch, filename=filename, size_bytes=size_bytes, purpose=purpose, since=since)
        return [_stored(file) for file in found]


async def find_files(
    fetch: Fetch, *, filename: str, size_bytes: int, since: int, purpose: str = ""
) -> Sequence[RemoteFile]:
    """All files with this name and size, of one purpose if it is given, oldest first; see `paging.read_back`. One that
    OpenAI could not process (status `error`) does not count: nothing can be done with it."""
    found = await read_back(
        fetch,
        "/files",
        FILE_PAGE,
        limit=FILES_A_PAGE,
        since=since,
        wanted=lambda file: file.filename == filename and file.bytes == size_bytes and file.status != "error",
        query={"purpose": purpose, "order": "desc"} if purpose else {"order": "desc"},
    )
    return [shown(file, filename=filename, size_bytes=size_bytes) for file in found]


def _stored(file: RemoteFile) -> StoredFile:
    return StoredFile(
        id=file.id,
        filename=file.filename,
        size_bytes=file.size_bytes,
        created_at=file.created_at,
        expires_at=file.expires_at,
    )
