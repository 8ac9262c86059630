"""Anthropic's file store: the `RemoteFiles` of `/v1/files`.

A file lives until it is deleted, unless its upload said otherwise. What was uploaded is not given out again; what tools
made is.

Sources: `contracts/providers.md` sections 0, 2.1 and 5, Anthropic's Python SDK 2.11 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.fetch import Fetch, HttpAnswer, HttpRequest
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.actors.sources.content import Opened
from perdure.adapters.answers import DECODE_ERRORS, created_answer, read_answer, refuse_answer
from perdure.adapters.anthropic.account import NAME
from perdure.adapters.anthropic.wire import Deleted, ErrorAnswer, FileObject, FilePage
from perdure.adapters.content import open_content
from perdure.adapters.multipart import file_form
from perdure.adapters.patience import CLOCK_MARGIN_S, PROCESSING_S, SETTLE_S, patience_s

MAX_FILE_BYTES: Final = 500_000_000
"""The largest file, 500 MB (section 5), read as decimal: the smaller of the two readings."""

ACCEPTED_TYPES: Final[Sequence[str]] = (
    "application/pdf",
    "text/plain",
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
)
"""What messages may name files of: documents and images (media contract, section 3.5)."""

FILES_A_PAGE: Final = 1_000
"""The most that Anthropic gives (section 2.1)."""

_PATH: Final = "/v1/files"
_GONE_STATUSES: Final = frozenset({403, 404})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_file: Final = msgspec.json.Decoder(FileObject)
_page: Final = msgspec.json.Decoder(FilePage)
_deleted: Final = msgspec.json.Decoder(Deleted)
_errors: Final = msgspec.json.Decoder(ErrorAnswer)


class AnthropicFiles:
    """Implements `perdure.actors.remote_files.RemoteFiles`; holds no state.

    `settle_s`: how long a listing may not show a new file yet, in seconds. `page_size`: how many files are asked for at
    a time.
    """

    def __init__(self, *, settle_s: float = SETTLE_S, page_size: int = FILES_A_PAGE) -> None:
        self.name: str = NAME
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.max_bytes: int = MAX_FILE_BYTES
        self.accepts: Sequence[str] = ACCEPTED_TYPES
        self.purpose: str = ""
        self._page_size = page_size

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """Stores a file in one request, streamed. An answer that cannot be read is `Unknown`."""
        form = file_form(
            [],
            filename=upload.filename,
            file=lambda: upload.open(0),
            file_bytes=upload.size_bytes,
            mime_type=upload.mime_type,
        )
        request = HttpRequest(
            method="POST",
            path=_PATH,
            safety="create",
            headers={"content-type": form.content_type},
            body=form.body,
            body_bytes=form.size_bytes,
            deadline_s=patience_s(upload.size_bytes),
            idle_s=PROCESSING_S,
        )
        file = created_answer(await fetch(request), _file)
        return _shown(file, filename=upload.filename, size_bytes=upload.size_bytes, mime_type=upload.mime_type)

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """All files with this name and size, oldest first.

        The list comes newest first, and is read to its end or to the first page whose last file was made more than
        `CLOCK_MARGIN_S` before `since`. Of a name Anthropic keeps what is behind its last slash, so that is looked for.
        """
        kept_name = filename.rpartition("/")[2]
        oldest = since - int(CLOCK_MARGIN_S * 1_000_000)
        found: list[RemoteFile] = []
        async with aclosing(self._pages(fetch)) as pages:
            async for page in pages:
                found.extend(file for file in page if file.filename == kept_name and file.size_bytes == size_bytes)
                if page[-1].created_at and page[-1].created_at < oldest:
                    break
        found.reverse()
        found.sort(key=lambda file: file.created_at)
        return found

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """A file, None when Anthropic says that there is none with this id, or none that this key may see.

        One whose time is over may still be shown, with its `expires_at` in the past.
        """
        answer = await fetch(HttpRequest(method="GET", path=_path(id), safety="read", expected=_GONE_STATUSES))
        return None if _is_gone(answer) else _shown(read_answer(answer, _file))

    async def delete(self, fetch: Fetch, id: str) -> None:
        """Deletes a file; one that is gone already is fine. Raises `Refused`, worth a repeat, when nobody says so."""
        request = HttpRequest(method="DELETE", path=_path(id), safety="idempotent", expected=frozenset({404}))
        answer = await fetch(request)
        if not _is_gone(answer):
            read_answer(answer, _deleted)

    async def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """Every file there is, over all pages, newest first (W-55)."""
        async with aclosing(self._pages(fetch)) as pages:
            async for page in pages:
                for file in page:
                    yield file

    def content(self, fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
        """What is in a file that a tool made. One that was uploaded is refused, with the code
        `file_not_downloadable`."""
        return open_content(fetch, f"{_path(reference)}/content")

    async def _pages(self, fetch: Fetch) -> AsyncGenerator[Sequence[RemoteFile]]:
        """All pages that have something on them.

        Raises `Refused`, worth a repeat, for a page that cannot be read or that does not go on from the one before: a
        file that is not found counts as never stored, so a short list must not pass for a whole one.
        """
        place: str | None = None
        while True:
            query = {"limit": str(self._page_size)} | ({} if place is None else {"page": place})
            answer = await fetch(HttpRequest(method="GET", path=_PATH, query=query, safety="read"))
            page = read_answer(answer, _page)
            if page.data:
                yield [_shown(file) for file in page.data]
            if not page.next_page and page.has_more:
                refuse_answer(answer.status, answer.headers, "the list of files has more, and does not say where")
            if not page.next_page:
                return
            if page.next_page == place:
                refuse_answer(answer.status, answer.headers, f"the list of files does not go on behind {place!r}")
            place = page.next_page


def _shown(file: FileObject, *, filename: str = "", size_bytes: int = 0, mime_type: str = "") -> RemoteFile:
    """The file; what Anthropic does not tell is what was sent."""
    return RemoteFile(
        id=file.id,
        reference=file.id,
        filename=file.filename or filename,
        size_bytes=size_bytes if file.size_bytes is None else file.size_bytes,
        created_at=_microseconds(file.created_at) or 0,
        expires_at=_microseconds(file.expires_at),
        mime_type=file.mime_type or mime_type,
    )


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def _path(id: str) -> str:
    return f"{_PATH}/{quote(id, safe='')}"


def _is_gone(answer: HttpAnswer) -> bool:
    """Whether Anthropic itself says that there is no such file, or none for this key. A web page that says so proves
    nothing: `Refused`, worth a repeat."""
    if answer.status not in _GONE_STATUSES:
        return False
    try:
        said = _errors.decode(answer.body).error
    except DECODE_ERRORS:
        said = None
    if said is None:
        refuse_answer(answer.status, answer.headers, f"somebody answers {answer.status} in {NAME}'s place")
    return True
