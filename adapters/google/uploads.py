"""Resumable uploads: a file goes to Google in chunks, and goes on where it was after anything that broke it off.

A session at Google is an address that holds its own credential; the network engine adds the key only on the provider's
own host. It is made durable before a byte goes to it; whoever has it asks how much of the file is there and sends the
rest. A session buys nothing: only the last chunk makes a file of it, under the name that was chosen at its start, and
Google makes no second one under a name.

Sources: `contracts/providers.md` section 3.1 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, FetchError, HttpAnswer, HttpRequest, Refused, Unknown
from perdure.actors.remote_files import Upload
from perdure.adapters.answers import created_answer, read_answer, refuse_answer
from perdure.adapters.google.account import VERSION
from perdure.adapters.google.names import planted_name
from perdure.adapters.google.refusals import GONE_STATUSES, is_gone
from perdure.adapters.google.wire import FileObject, UploadedFile
from perdure.adapters.patience import PROCESSING_S, patience_s

CHUNK_BYTES: Final = 8 << 20
"""How much goes in one request: what Google's SDK sends."""

GRANULARITY_BYTES: Final = 256 << 10
"""Every chunk but the last is a multiple of this, unless Google names another granularity."""

DISPLAY_CHARACTERS: Final = 512
"""The longest display name, in characters (`types.File` of the SDK 3.4)."""

_OVER_STATUSES: Final = frozenset({400, 403, 404, 410})
"""What Google may answer for a session that is over."""

_TRIES: Final = 3
"""How often a chunk is sent without a byte of it arriving before the upload breaks off: what Google's SDK tries."""

_FILE: Final = msgspec.json.Decoder(FileObject)
_UPLOADED: Final = msgspec.json.Decoder(UploadedFile)


class _Session(Struct, frozen=True):
    """A place at Google where an upload goes on: its address, how many bytes are there, and the size of a chunk."""

    url: str
    received: int
    chunk_bytes: int


async def send_file(fetch: Fetch, upload: Upload, *, chunk_bytes: int = CHUNK_BYTES) -> FileObject:
    """Stores a file, in chunks of about `chunk_bytes`, or gives the one that was stored under this name before.

    Goes on in `upload.session` where that is still open. Raises `Refused`, `NotSent` and `Unknown`, and what
    `upload.open` and `upload.keep` raise; what arrived until then stays in the session.
    """
    name = planted_name(upload.filename)
    session = await _look(fetch, upload.session, chunk_bytes) if upload.session else None
    if session is None:
        if upload.session and (stored := await read_file(fetch, name)) is not None:
            return stored  # the session is over because it was brought to its end
        session = await _begin(fetch, upload, name, chunk_bytes)
        if session is None:
            return await _stored_before(fetch, name)
        await upload.keep(session.url)
    return await _send(fetch, upload, session, name)


async def read_file(fetch: Fetch, name: str) -> FileObject | None:
    """The file called `name` (`files/<id>`), None where Google has none for us. Raises `Refused`, `NotSent`,
    `Unknown`."""
    answer = await fetch(HttpRequest(method="GET", path=f"/{VERSION}/{name}", safety="read", expected=GONE_STATUSES))
    return None if is_gone(answer) else read_answer(answer, _FILE)


async def _begin(fetch: Fetch, upload: Upload, name: str, chunk_bytes: int) -> _Session | None:
    """A new session; None when there is a file under this name already.

    An answer that did not come is asked for once more: the session that may stand unused costs nothing.
    """
    mime_type = upload.mime_type or "application/octet-stream"
    asked = {
        "name": name,
        "displayName": upload.filename[:DISPLAY_CHARACTERS],
        "mimeType": mime_type,
        "sizeBytes": str(upload.size_bytes),
    }
    request = HttpRequest(
        method="POST",
        path=f"/upload/{VERSION}/files",
        safety="create",
        headers={
            "content-type": "application/json",
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(upload.size_bytes),
            "x-goog-upload-header-content-type": mime_type,
        },
        body=msgspec.json.encode({"file": asked}),
        expected=frozenset({409}),
    )
    try:
        answer = await fetch(request)
    except Unknown:
        answer = await fetch(request)
    if answer.status == 409:
        return None
    url = answer.headers.get("x-goog-upload-url", "")
    if not url:
        refuse_answer(answer.status, answer.headers, "it names no address for the upload")
    return _Session(url, 0, _in_granules(chunk_bytes, answer))


async def _look(fetch: Fetch, url: str, chunk_bytes: int) -> _Session | None:
    """The session at `url` as it stands; None when it takes nothing more."""
    request = HttpRequest(
        method="POST",
        path=url,
        safety="read",
        headers={"x-goog-upload-command": "query"},
        expected=_OVER_STATUSES,
    )
    answer = await fetch(request)
    if answer.status in _OVER_STATUSES:
        return None
    status = answer.headers.get("x-goog-upload-status", "")
    if not status:
        refuse_answer(answer.status, answer.headers, "it does not say how the upload stands")
    if status != "active":
        return None
    received = answer.headers.get("x-goog-upload-size-received", "")
    if not received.isdecimal():
        refuse_answer(answer.status, answer.headers, "it does not say how much of the upload is there")
    return _Session(url, int(received), _in_granules(chunk_bytes, answer))


async def _send(fetch: Fetch, upload: Upload, session: _Session, name: str) -> FileObject:
    """Sends what the session lacks, chunk by chunk. A chunk that broke off is gone on with where it broke."""
    offset, fruitless = session.received, 0
    while True:
        length = min(session.chunk_bytes, max(upload.size_bytes - offset, 0))
        is_last = offset + length >= upload.size_bytes
        try:
            answer = await fetch(_chunk(upload, session.url, offset, length, is_last=is_last))
            if answer.status == 409:
                return await _stored_before(fetch, name)
            if is_last:
                return created_answer(answer, _UPLOADED).file
            _check_active(answer)
        except (Refused, Unknown) as error:
            if isinstance(error, Refused) and error.kind in ("auth", "quota_exceeded"):
                raise
            looked = await _look_after(fetch, session, error)
            if looked is None:
                stored = await read_file(fetch, name)
                if stored is None:
                    raise
                return stored
            fruitless = 0 if looked.received > offset else fruitless + 1
            if fruitless == _TRIES or (looked.received == offset and not error.retryable):
                raise
            offset = looked.received
        else:
            offset, fruitless = offset + length, 0


def _check_active(answer: HttpAnswer) -> None:
    """Raises `Unknown` where the answer to a chunk does not come from an upload that goes on."""
    if answer.headers.get("x-goog-upload-status") != "active":
        raise Unknown("the answer to a chunk does not say that the upload goes on", status=answer.status)


async def _look_after(fetch: Fetch, session: _Session, failure: FetchError) -> _Session | None:
    """As `_look`. Where that fails too, the first failure says more of what became of the upload."""
    try:
        return await _look(fetch, session.url, session.chunk_bytes)
    except FetchError:
        raise failure from None


async def _stored_before(fetch: Fetch, name: str) -> FileObject:
    """The file that already has this name. Raises `Refused`, worth a repeat, when it cannot be seen (yet)."""
    stored = await read_file(fetch, name)
    if stored is None:
        raise Refused(f"{name} is taken and cannot be read", kind="conflict", status=409, retryable=True)
    return stored


def _chunk(upload: Upload, url: str, offset: int, length: int, *, is_last: bool) -> HttpRequest:
    """One chunk. A `create`: sent twice at one offset it would be refused, so what became of it is asked for first."""

    async def read() -> AsyncIterator[bytes]:
        left = length
        pieces = upload.open(offset)
        try:
            async for piece in pieces:
                yield piece[:left]
                left -= min(len(piece), left)
                if not left:
                    return
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    return HttpRequest(
        method="POST",
        path=url,
        safety="create",
        headers={
            "x-goog-upload-command": "upload, finalize" if is_last else "upload",
            "x-goog-upload-offset": str(offset),
        },
        body=read if length else b"",
        body_bytes=length,
        expected=frozenset({409}),
        deadline_s=patience_s(length),
        idle_s=PROCESSING_S,
    )


def _in_granules(chunk_bytes: int, answer: HttpAnswer) -> int:
    """The smallest multiple of the granularity that Google asks for that has at least `chunk_bytes`."""
    said = answer.headers.get("x-goog-upload-chunk-granularity", "")
    granularity = int(said) if said.isdecimal() and int(said) else GRANULARITY_BYTES
    return -(-chunk_bytes // granularity) * granularity
