"""Google's resumable uploads: start, upload, query, finalize, cancel; all of them at one route.

A session's address holds its own credential. What came of a chunk that broke off stays, down to a whole number of
granules; a chunk that was refused leaves nothing. Nothing is bought before the file is whole.

Sources: `contracts/providers.md` section 3.1.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.google.app import SESSION, check_version
from perdure.adapters.simulator.google.bodies import decode, read_body
from perdure.adapters.simulator.google.errors import ApiError, invalid
from perdure.adapters.simulator.google.files import base_url, json_response
from perdure.adapters.simulator.google.filestore import GoogleFiles, Session
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

GRANULARITY_BYTES: Final = 256 << 10
"""Every chunk but the last is a multiple of this."""

MAX_FILE_BYTES: Final = 2_000_000_000
"""The longest file: 2 GB."""

MAX_DISPLAY_CHARACTERS: Final = 512
"""The longest display name, in characters (`types.File` of Google's SDK 3.4)."""

SESSION_LIFE_S: Final = 7 * 86_400
"""How long a session stays open: a week, as those of Google's Cloud Storage do; the Gemini API does not state it."""

_OVERTAKEN: Final = "Another request for this upload came after this one."
_SPOOL_BYTES: Final = 1 << 20
_COMMANDS: Final = ({"upload"}, {"finalize"}, {"upload", "finalize"}, {"query"}, {"cancel"})


class _File(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    name: str | None = None
    display_name: str | None = None
    mime_type: str | None = None
    size_bytes: str | int | None = None


class _Start(Struct, frozen=True, forbid_unknown_fields=True):
    file: _File = _File()


class _Overtaken(Exception):
    """Another request for the session came after this one."""


class Uploads:
    """The upload route."""

    def __init__(self, world: World, files: GoogleFiles) -> None:
        self._world = world
        self._files = files

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [Route("/upload/{version}/files", self._answer, methods=["POST"])]

    async def _answer(self, request: Request) -> Response:
        check_version(request)
        words = request.headers.get("x-goog-upload-command", "").lower()
        commands = {word.strip() for word in words.split(",")}
        session_id = request.query_params.get(SESSION)
        if session_id is None:
            if commands != {"start"} or request.headers.get("x-goog-upload-protocol") != "resumable":
                raise invalid("An upload begins with the protocol 'resumable' and the command 'start'.")
            return await self._start(request)
        if commands not in _COMMANDS:
            raise invalid(f"'{words}' is no command of an upload.")
        session = await self._world.storage.run(lambda tables: self._take_turn(tables, session_id))
        if "query" in commands:
            return _told(session)
        if session.is_over:
            raise invalid("The upload is over.")
        if "cancel" in commands:
            await self._world.storage.run(partial(self._end, session=session))
            return _told(replace(session, is_over=True))
        if "upload" in commands:
            session = await self._receive(request, session, is_last="finalize" in commands)
        return await self._finalize(request, session) if "finalize" in commands else _told(session)

    async def _start(self, request: Request) -> Response:
        asked = decode(await read_body(request) or b"{}", _Start).file
        size_bytes = _size(request.headers.get("x-goog-upload-header-content-length") or asked.size_bytes)
        if size_bytes is not None and size_bytes > MAX_FILE_BYTES:
            raise invalid(f"A file may have {MAX_FILE_BYTES} bytes, not {size_bytes}.", "file.size_bytes")
        if len(asked.display_name or "") > MAX_DISPLAY_CHARACTERS:
            raise invalid(f"A display name may have {MAX_DISPLAY_CHARACTERS} characters.", "file.display_name")
        mime_type = asked.mime_type or request.headers.get("x-goog-upload-header-content-type", "")
        if not mime_type:
            raise invalid("The type of the file must be given.", "file.mime_type")
        until = self._world.clock.now() + SESSION_LIFE_S

        def start(tables: Tables) -> Session:
            name = self._files.choose_name(tables, asked.name)
            session = Session(
                id=self._world.new_id(tables, "gupload_"),
                name=name,
                display_name=asked.display_name or name,
                mime_type=mime_type.partition(";")[0].strip(),
                size_bytes=size_bytes,
            )
            self._files.open_session(tables, session, until=until)
            return session

        session = await self._world.storage.run(start)
        address = request.url.replace(query=f"{SESSION}={session.id}&upload_protocol=resumable")
        told = _told(session)
        told.headers["x-goog-upload-url"] = str(address)
        return told

    def _take_turn(self, tables: Tables, session_id: str) -> Session:
        session = self._files.session(tables, session_id)
        if session is None:
            raise ApiError(404, "There is no such upload.")
        session = replace(session, turn=session.turn + 1)
        self._files.keep_session(tables, session)
        return session

    def _keep(self, tables: Tables, *, session: Session) -> None:
        current = self._files.session(tables, session.id)
        if current is None or current.turn != session.turn:
            raise _Overtaken
        self._files.keep_session(tables, session)

    def _end(self, tables: Tables, *, session: Session) -> None:
        self._files.keep_session(tables, replace(session, is_over=True))

    async def _receive(self, request: Request, session: Session, *, is_last: bool) -> Session:
        offset = request.headers.get("x-goog-upload-offset", "")
        if not offset.isdecimal() or int(offset) != session.received:
            raise invalid(f"The upload goes on at byte {session.received}, not at '{offset}'.")
        most = MAX_FILE_BYTES if session.size_bytes is None else session.size_bytes
        path, spool, came = self._world.path(session.id), bytearray(), 0

        async def write() -> None:
            place, written = session.received + came - len(spool), bytes(spool)
            spool.clear()
            await self._world.storage.bulk(lambda: _write(path, place, written))

        try:
            async with aclosing(request.stream()) as chunks:
                async for chunk in chunks:
                    spool += chunk
                    came += len(chunk)
                    if session.received + came > most:
                        raise invalid(f"More came than the {most} bytes that were announced.")
                    if len(spool) >= _SPOOL_BYTES:
                        await write()
        except ClientDisconnect:
            await write()
            came -= came % GRANULARITY_BYTES
            with suppress(_Overtaken):
                await self._world.storage.run(partial(self._keep, session=_longer(session, came)))
            raise
        if not is_last and (came % GRANULARITY_BYTES or not came):
            raise invalid(f"A chunk before the last has a multiple of {GRANULARITY_BYTES} bytes, not {came}.")
        await write()
        session = _longer(session, came)
        try:
            await self._world.storage.run(partial(self._keep, session=session))
        except _Overtaken:
            raise invalid(_OVERTAKEN) from None
        return session

    async def _finalize(self, request: Request, session: Session) -> Response:
        if session.size_bytes is not None and session.received != session.size_bytes:
            raise invalid(f"The upload has {session.received} of {session.size_bytes} bytes and cannot be finalized.")
        path, origin = self._world.path(session.id), base_url(request, check_version(request))
        part = await self._world.storage.bulk(lambda: _measured(path, session))

        def finalize(tables: Tables) -> dict[str, Any]:
            self._keep(tables, session=replace(session, is_over=True))
            file = self._files.store(tables, session, part, path)
            return self._files.show(tables, file, origin)

        try:
            shown = await self._world.storage.run(finalize)
        except _Overtaken:
            raise invalid(_OVERTAKEN) from None
        return json_response({"file": shown}, {"x-goog-upload-status": "final"})


def _longer(session: Session, came: int) -> Session:
    return replace(session, received=session.received + came)


def _told(session: Session) -> Response:
    """An empty answer whose headers say how a session stands."""
    return Response(
        b"",
        headers={
            "x-goog-upload-status": "final" if session.is_over else "active",
            "x-goog-upload-size-received": str(session.received),
            "x-goog-upload-chunk-granularity": str(GRANULARITY_BYTES),
        },
    )


def _size(said: str | int | None) -> int | None:
    if said is None or (isinstance(said, int) and said >= 0):
        return said
    if isinstance(said, int) or not said.isdecimal():
        raise invalid(f"'{said}' is no size in bytes.", "file.size_bytes")
    return int(said)


def _write(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def _measured(path: Path, session: Session) -> ReceivedPart:
    """The whole file, hashed; what a refused or overtaken chunk left behind its end is cut off."""
    sha256, newlines, last = hashlib.sha256(), 0, b"\n"
    with path.open("r+b") as file:
        file.truncate(session.received)
        while piece := file.read(_SPOOL_BYTES):
            sha256.update(piece)
            newlines += piece.count(b"\n")
            last = piece[-1:]
    lines = newlines + (last != b"\n")
    return ReceivedPart(session.display_name, session.received, lines, sha256.hexdigest(), session.mime_type)
