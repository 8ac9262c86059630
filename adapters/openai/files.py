"""OpenAI's files, as far as a batch needs them: the `FileProvider` of `/v1/files`.

Sources: `contracts/providers.md` section 1.1 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.actors.batch.ports import StoredFile
from perdure.actors.fetch import BodySource, Fetch, HttpRequest
from perdure.adapters.multipart import file_form
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai.answers import FILE, FILE_PAGE, created_answer
from perdure.adapters.openai.batches import SETTLE_S
from perdure.adapters.openai.paging import read_back
from perdure.adapters.openai.wire import FileObject

_FILES_A_PAGE: Final = 1_000
"""OpenAI gives up to 10,000; a thousand are some 250 kB, and nobody uploads more while an upload is in doubt."""

_SLOWEST_UPLOAD: Final = 100_000
"""The slowest upload that is waited for, in bytes a second. Ours."""

_PROCESSING_S: Final = 120.0
"""How long OpenAI may take to answer once it has every byte, in seconds. Ours."""


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
        form = file_form([("purpose", purpose)], filename=filename, file=body, file_bytes=size_bytes)
        request = HttpRequest(
            method="POST",
            path="/files",
            safety="create",
            headers={"content-type": form.content_type},
            body=form.body,
            body_bytes=form.size_bytes,
            deadline_s=2 * _PROCESSING_S + size_bytes / _SLOWEST_UPLOAD,
            idle_s=_PROCESSING_S,
        )
        return _shown(created_answer(await fetch(request), FILE), filename, size_bytes)

    async def find(
        self, fetch: Fetch, *, filename: str, size_bytes: int, purpose: str, since: int
    ) -> Sequence[StoredFile]:
        """All files with this name and size, oldest first; see `paging.read_back`. One that OpenAI could not process
        (status `error`) does not count: nothing can be done with it."""
        found = await read_back(
            fetch,
            "/files",
            FILE_PAGE,
            limit=_FILES_A_PAGE,
            since=since,
            wanted=lambda file: file.filename == filename and file.bytes == size_bytes and file.status != "error",
            query={"purpose": purpose, "order": "desc"},
        )
        return [_shown(file, filename, size_bytes) for file in found]


def _shown(file: FileObject, filename: str, size_bytes: int) -> StoredFile:
    """The file; what OpenAI does not tell is what was sent."""
    return StoredFile(
        id=file.id,
        filename=file.filename or filename,
        size_bytes=size_bytes if file.bytes is None else file.bytes,
        created_at=int((file.created_at or 0) * 1_000_000),
        expires_at=None if file.expires_at is None else int(file.expires_at * 1_000_000),
    )
