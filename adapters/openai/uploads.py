"""Files too large for one request: an upload is opened, filled part by part, and completed. It becomes a file then.

Sources: `contracts/providers.md` section 1.1, read in OpenAI's Python SDK 3.52 (20 November 2026).

Only completing is a purchase. An upload that is never completed lapses after an hour and costs nothing, and a part that
was taken twice counts only as often as it is named at the end; so opening and sending parts may be repeated. What is
kept after each part is enough for another process to go on behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from perdure.actors.fetch import Fetch, HttpRequest, NotSent, Refused, Unknown
from perdure.actors.remote_files import Upload
from perdure.adapters.answers import DECODE_ERRORS, created_answer, read_answer
from perdure.adapters.multipart import file_form
from perdure.adapters.network.answers import request_id
from perdure.adapters.openai.wire import UploadObject, UploadPart
from perdure.adapters.openai_compatible.files import PROCESSING_S, patience_s
from perdure.adapters.openai_compatible.wire import FileObject
from perdure.events.errors import shorten

MAX_PART_BYTES: Final = 64_000_000
"""The largest part, 64 MB (section 1.1), read as decimal: the smaller of the two readings."""

_UPLOAD: Final = msgspec.json.Decoder(UploadObject)
_PART: Final = msgspec.json.Decoder(UploadPart)

_OVER: Final = frozenset({400, 404, 409, 410})
"""How OpenAI may refuse what is for an upload that it has no longer. It documents none of them; our simulator's is 400
for one that has ended, and 404 for one that never was."""


class Session(Struct, frozen=True):
    """A place at which an upload goes on: its id, the size of its parts, the ids of those that it has, in order."""

    upload_id: str
    part_bytes: int
    part_ids: tuple[str, ...] = ()


_SESSION: Final = msgspec.json.Decoder(Session)


async def upload_in_parts(fetch: Fetch, upload: Upload, *, part_bytes: int = MAX_PART_BYTES) -> FileObject:
    """Stores a file in parts of `part_bytes` bytes. Goes on from `upload.session`, else opens an upload of its own.

    A session whose upload is over is begun again, once. Raises what `fetch` raises, and `Unknown` for completing alone:
    what happens before is `NotSent`. `Refused`, worth a repeat, when the kept upload turns out to be over at its end:
    the session is forgotten then, and the next attempt begins again.
    """
    inherited = _read_session(upload.session)
    try:
        session, inherited = await _fill(fetch, upload, inherited, part_bytes)
    except Unknown as unknown:
        # Whatever became of it, nothing was bought: that is what the caller must know, and the session goes on.
        raise NotSent(
            f"the upload broke off before its end: {unknown}",
            status=unknown.status,
            provider_request_id=unknown.provider_request_id,
            retryable=True,
        ) from unknown
    try:
        return await _complete(fetch, session)
    except Refused as refused:
        if inherited is None or refused.status not in _OVER:
            raise
        await upload.keep("")
        raise Refused(
            f"the upload {session.upload_id} is over, begin again: {refused}",
            kind="conflict",
            status=refused.status or 0,
            provider_code=refused.provider_code,
            provider_request_id=refused.provider_request_id,
            retryable=True,
        ) from refused


async def _fill(
    fetch: Fetch, upload: Upload, inherited: Session | None, part_bytes: int
) -> tuple[Session, Session | None]:
    """An upload with all its parts, and the inherited session if that is where it went on."""
    session = inherited or await _open(fetch, upload, part_bytes)
    try:
        return await _send_parts(fetch, upload, session), inherited
    except Refused as refused:
        if inherited is None or refused.status not in _OVER:
            raise
    return await _send_parts(fetch, upload, await _open(fetch, upload, part_bytes)), None


async def _open(fetch: Fetch, upload: Upload, part_bytes: int) -> Session:
    body = {
        "bytes": upload.size_bytes,
        "filename": upload.filename,
        "mime_type": upload.mime_type or "application/octet-stream",
        "purpose": upload.purpose,
    }
    request = HttpRequest(
        method="POST",
        path="/uploads",
        safety="idempotent",
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(body),
    )
    session = Session(read_answer(await fetch(request), _UPLOAD).id, part_bytes)
    await _keep(upload, session)
    return session


async def _send_parts(fetch: Fetch, upload: Upload, session: Session) -> Session:
    """Sends what the upload has not yet, one part after the other, and keeps the session after each."""
    while (offset := len(session.part_ids) * session.part_bytes) < upload.size_bytes:
        length = min(session.part_bytes, upload.size_bytes - offset)
        part_id = await _send_part(fetch, upload, session, offset, length)
        session = replace(session, part_ids=(*session.part_ids, part_id))
        await _keep(upload, session)
    return session


async def _send_part(fetch: Fetch, upload: Upload, session: Session, offset: int, length: int) -> str:
    form = file_form(
        [],
        part="data",
        filename=f"{session.upload_id}-{offset}",
        file=lambda: _slice(upload.open, offset, length),
        file_bytes=length,
    )
    request = HttpRequest(
        method="POST",
        path=f"/uploads/{session.upload_id}/parts",
        safety="idempotent",
        headers={"content-type": form.content_type},
        body=form.body,
        body_bytes=form.size_bytes,
        deadline_s=patience_s(length),
        idle_s=PROCESSING_S,
    )
    return read_answer(await fetch(request), _PART).id


async def _complete(fetch: Fetch, session: Session) -> FileObject:
    """Makes the file: the purchase. An answer in which there is no file is `Unknown`."""
    request = HttpRequest(
        method="POST",
        path=f"/uploads/{session.upload_id}/complete",
        safety="create",
        headers={"content-type": "application/json"},
        body=msgspec.json.encode({"part_ids": session.part_ids}),
        deadline_s=2 * PROCESSING_S,
        idle_s=PROCESSING_S,
    )
    answer = await fetch(request)
    file = created_answer(answer, _UPLOAD).file
    if file is None:
        raise Unknown(
            f"the upload was completed, but the answer names no file; it begins {shorten(answer.body[:40])}",
            status=answer.status,
            provider_request_id=request_id(answer.headers),
        )
    return file


async def _keep(upload: Upload, session: Session) -> None:
    await upload.keep(msgspec.json.encode(session).decode())


def _read_session(text: str) -> Session | None:
    """The session that was kept; None for none, and for one that cannot be read: then the upload begins again."""
    try:
        session = _SESSION.decode(text)
    except DECODE_ERRORS:
        return None
    return session if session.upload_id and session.part_bytes > 0 else None


async def _slice(source: Callable[[int], AsyncIterator[bytes]], offset: int, length: int) -> AsyncIterator[bytes]:
    """`length` bytes of a source from `offset` on."""
    chunks = source(offset)
    try:
        async for chunk in chunks:
            yield chunk if len(chunk) <= length else chunk[:length]
            length -= min(len(chunk), length)
            if not length:
                return
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
