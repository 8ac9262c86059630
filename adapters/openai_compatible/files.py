"""The file routes: store, look at, delete, list. What providers accept and how they are searched is their own.

Sources: `contracts/providers.md` sections 1.1 and 4 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.fetch import BodySource, Fetch, HttpAnswer, HttpRequest
from perdure.actors.remote_files import Readiness, RemoteFile
from perdure.actors.sources.content import Opened
from perdure.adapters.answers import DECODE_ERRORS, created_answer, read_answer, refuse_answer
from perdure.adapters.content import open_content
from perdure.adapters.multipart import file_form
from perdure.adapters.openai_compatible.answers import FILE, FILE_PAGE
from perdure.adapters.openai_compatible.paging import Next, after_last, read_pages
from perdure.adapters.openai_compatible.wire import Deleted, ErrorAnswer, FileObject
from perdure.adapters.patience import PROCESSING_S as PROCESSING_S
from perdure.adapters.patience import SETTLE_S as SETTLE_S
from perdure.adapters.patience import patience_s as patience_s
from perdure.events.errors import InvalidSource, shorten

_deleted: Final = msgspec.json.Decoder(Deleted)
_errors: Final = msgspec.json.Decoder(ErrorAnswer)


async def post_file(
    fetch: Fetch,
    *,
    fields: Sequence[tuple[str, str]],
    filename: str,
    body: BodySource,
    size_bytes: int,
    mime_type: str = "",
) -> FileObject:
    """Stores a file, streamed: a purchase. `fields` go before it. An answer that cannot be read is `Unknown`."""
    form = file_form(
        fields, filename=filename, file=body, file_bytes=size_bytes, mime_type=mime_type or "application/octet-stream"
    )
    request = HttpRequest(
        method="POST",
        path="/files",
        safety="create",
        headers={"content-type": form.content_type},
        body=form.body,
        body_bytes=form.size_bytes,
        deadline_s=patience_s(size_bytes),
        idle_s=PROCESSING_S,
    )
    return created_answer(await fetch(request), FILE)


async def file_info(fetch: Fetch, id: str) -> RemoteFile | None:
    """A file, None when the provider says that there is none with this id."""
    answer = await fetch(HttpRequest(method="GET", path=_path(id), safety="read", expected=frozenset({404})))
    return None if _is_gone(answer) else shown(read_answer(answer, FILE))


async def delete_file(fetch: Fetch, id: str) -> None:
    """Deletes a file; one that is gone already is fine. Raises `Refused`, worth a repeat, when it stays."""
    answer = await fetch(HttpRequest(method="DELETE", path=_path(id), safety="idempotent", expected=frozenset({404})))
    if not _is_gone(answer) and read_answer(answer, _deleted).deleted is False:
        refuse_answer(answer.status, answer.headers, f"the file {id} was not deleted")


async def list_files(
    fetch: Fetch, *, limit: int, following: Next[FileObject] = after_last
) -> AsyncGenerator[RemoteFile]:
    """Every file there is, over all pages of `limit` files (W-55). Raises what `read_pages` raises."""
    pages = read_pages(fetch, "/files", FILE_PAGE, query={"limit": str(limit)}, following=following)
    async with aclosing(pages):
        async for page in pages:
            for file in page.data:
                yield shown(file)


def file_content(fetch: Fetch, reference: str) -> AbstractAsyncContextManager[Opened]:
    """What is in a file: `file-…`, or `<container>/<file>` for one in a container that code ran in (section 3.5 of
    `contracts/media-files-batch.md`). Raises `InvalidSource` for what is neither."""
    container, _, id = reference.rpartition("/")
    if not id or "/" in container or ":" in reference:
        raise InvalidSource(
            f"{shorten(reference)} names no file here: give a file's id, <container>/<file>, or the address as a Url",
            reason="kind",
            field="source.reference",
            value=reference,
        )
    path = f"/containers/{quote(container, safe='')}{_path(id)}" if container else _path(id)
    return open_content(fetch, f"{path}/content")


def shown(file: FileObject, *, filename: str = "", size_bytes: int = 0, mime_type: str = "") -> RemoteFile:
    """The file; what the provider does not tell is what was sent. A status that is not known means ready."""
    readiness: Readiness = "failed" if file.status == "error" else "ready"
    return RemoteFile(
        id=file.id,
        reference=file.id,
        filename=file.filename or filename,
        size_bytes=size_bytes if file.bytes is None else file.bytes,
        created_at=int((file.created_at or 0) * 1_000_000),
        expires_at=None if file.expires_at is None else int(file.expires_at * 1_000_000),
        mime_type=file.mime_type or mime_type,
        readiness=readiness,
        error=(file.status_details or "the provider gave no reason") if readiness == "failed" else "",
    )


def _path(id: str) -> str:
    return f"/files/{quote(id, safe='')}"


def _is_gone(answer: HttpAnswer) -> bool:
    """Whether the provider itself says 404. A page that says so proves nothing: `Refused`, worth a repeat."""
    if answer.status != 404:
        return False
    try:
        said = _errors.decode(answer.body)
    except DECODE_ERRORS:
        said = ErrorAnswer()
    if said.error is None:
        refuse_answer(answer.status, answer.headers, "somebody answers 404 in the provider's place")
    return True
