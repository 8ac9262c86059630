"""Google's file store: the `RemoteFiles` of the Gemini developer API.

Every file dies 48 hours after its creation. Video and audio are processed first, for seconds to minutes.

Sources: `contracts/providers.md` sections 3.1, 5 and 6 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from perdure.actors.fetch import Fetch, HttpRequest, Refused
from perdure.actors.remote_files import Readiness, RemoteFile, Upload
from perdure.actors.sources.content import Opened
from perdure.adapters.answers import read_answer, refuse_answer
from perdure.adapters.content import open_content
from perdure.adapters.google.account import NAME, VERSION
from perdure.adapters.google.fields import number, time_us
from perdure.adapters.google.names import name_of, planted_name
from perdure.adapters.google.refusals import GONE_STATUSES, is_gone
from perdure.adapters.google.uploads import CHUNK_BYTES, read_file, send_file
from perdure.adapters.google.wire import FileObject, FilePage

MAX_FILE_BYTES: Final = 2_000_000_000
"""The largest file, 2 GB (section 5), read as decimal: the smaller of the two readings."""

LIFE_S: Final = 172_800.0
"""How long a file lives where Google does not say when it ends, in seconds: 48 hours (section 5)."""

ACCEPTED_TYPES: Final[Sequence[str]] = (
    "image/*",
    "audio/*",
    "video/*",
    "text/*",
    "application/pdf",
    "application/json",
    "application/rtf",
)
"""What prompts may name files of, by Google's documentation of files in prompts."""

_FILES_A_PAGE: Final = 100
"""The most that Google gives (section 3.1)."""

_STATES: Final[Mapping[str, Readiness]] = {"ACTIVE": "ready", "FAILED": "failed"}

_PAGE: Final = msgspec.json.Decoder(FilePage)


class GoogleFiles:
    """Implements `perdure.actors.remote_files.RemoteFiles`; holds no state.

    `chunk_bytes`: how much goes in one request, rounded up to what Google takes.
    """

    def __init__(self, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.name: str = NAME
        self.searchable: bool = True
        self.settle_s: float = 0.0  # a file is asked for by its name, and a name is taken only once
        self.max_bytes: int = MAX_FILE_BYTES
        self.accepts: Sequence[str] = ACCEPTED_TYPES
        self.purpose: str = ""
        self._chunk_bytes = chunk_bytes

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """Stores a file, in chunks that a later attempt goes on from. One that was stored under this filename before is
        given as it is. See `uploads.send_file`."""
        return _shown(await send_file(fetch, upload, chunk_bytes=self._chunk_bytes))

    async def find(self, fetch: Fetch, *, filename: str, size_bytes: int, since: int) -> Sequence[RemoteFile]:
        """The file that was planted as `filename`, asked for by its name: there is one or none, whenever it was made.
        One that Google could not process counts, for its name is taken."""
        stored = await read_file(fetch, planted_name(filename))
        if stored is None:
            return ()
        found = _shown(stored)
        return (found,) if found.size_bytes == size_bytes else ()

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """A file by its URI, its name or its bare id; None when it is missing or expired, or is not ours."""
        stored = await read_file(fetch, name_of(id))
        return None if stored is None else _shown(stored)

    async def delete(self, fetch: Fetch, id: str) -> None:
        """Deletes a file by its URI, its name or its bare id; one that is gone already is fine."""
        request = HttpRequest(
            method="DELETE", path=f"/{VERSION}/{name_of(id)}", safety="idempotent", expected=GONE_STATUSES
        )
        is_gone(await fetch(request))

    async def listing(self, fetch: Fetch) -> AsyncIterator[RemoteFile]:
        """Every file there is, over all pages."""
        token = ""
        while True:
            query = {"pageSize": str(_FILES_A_PAGE)} | ({"pageToken": token} if token else {})
            answer = await fetch(HttpRequest(method="GET", path=f"/{VERSION}/files", query=query, safety="read"))
            page = read_answer(answer, _PAGE)
            for file in page.files:
                yield _shown(file)
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                refuse_answer(answer.status, answer.headers, "a page of files is followed by the same page again")
            token = page.next_page_token

    @asynccontextmanager
    async def content(self, fetch: Fetch, reference: str) -> AsyncGenerator[Opened]:
        """What is in a file that Google made, by its URI (that for downloads, too), its name or its bare id. It is
        asked for below the base URL, wherever the URI leads: the key goes nowhere else."""
        name = name_of(reference)
        if await read_file(fetch, name) is None:
            raise Refused(f"Google has no file {name} for this key", kind="not_found", status=404)
        async with open_content(fetch, f"/{VERSION}/{name}:download", query={"alt": "media"}) as opened:
            yield opened


def _shown(file: FileObject) -> RemoteFile:
    """The file. A state that is not known means that it is still being processed."""
    readiness: Readiness = _STATES.get(file.state or "", "processing")
    created_at = time_us(file.create_time) or 0
    expires_at = time_us(file.expiration_time)
    if expires_at is None and created_at:
        expires_at = created_at + int(LIFE_S * 1_000_000)
    why = "" if file.error is None else file.error.message or ""
    filename = file.display_name or ""
    return RemoteFile(
        id=file.name,
        reference=file.uri or file.name,
        filename=filename,
        size_bytes=number(file.size_bytes),
        created_at=created_at,
        expires_at=expires_at,
        mime_type=file.mime_type or "",
        readiness=readiness,
        error=(why or "Google gave no reason") if readiness == "failed" else "",
        planted=file.name == planted_name(filename),  # the display name may be anybody's, the name is derived from ours
    )
