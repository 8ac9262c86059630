"""OpenAI's uploads in parts: create, add parts in any order, complete in the order that is named then, cancel.

An upload buys nothing; the file that it becomes goes on the account like any other. A pending upload is over an hour
after its creation.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.openai.bodies import decode, read_body
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such
from perdure.adapters.simulator.openai.files import (
    Files,
    check_file,
    check_life,
    check_purpose,
    read_form,
    shown,
    usual_life_s,
)
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.openai.wire import PartObject, PartRecord, UploadObject, UploadRecord
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

MAX_UPLOAD_BYTES: Final = 8 * 1000 * 1000 * 1000
"""The largest upload: 8 GB (OpenAI's SDK 3.52, documentation of `uploads.create`)."""

MAX_PART_BYTES: Final = 64 * 1000 * 1000
"""The largest part: 64 MB (same source)."""

UPLOAD_LIFE_S: Final = 3_600
"""How long an upload may stay pending: an hour (same source)."""

_COPY_BYTES: Final = 1 << 20
_uploads = json.Decoder(UploadRecord)
_parts = json.Decoder(PartRecord)


class ExpiresAfter(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a file shall live, in seconds."""

    anchor: Literal["created_at"]
    seconds: int


class _CreateUpload(Struct, frozen=True, forbid_unknown_fields=True):
    bytes: int
    filename: str
    mime_type: str
    purpose: str
    expires_after: ExpiresAfter | None = None


class _CompleteUpload(Struct, frozen=True, forbid_unknown_fields=True):
    part_ids: list[str]
    md5: str | None = None


class Uploads:
    """The upload routes."""

    def __init__(self, world: World, files: Files) -> None:
        self._world = world
        self._files = files

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/uploads", self._create, methods=["POST"]),
            Route("/uploads/{id}/parts", self._add_part, methods=["POST"]),
            Route("/uploads/{id}/complete", self._complete, methods=["POST"]),
            Route("/uploads/{id}/cancel", self._cancel, methods=["POST"]),
        ]

    async def _create(self, request: Request) -> Response:
        asked = decode(await read_body(request), _CreateUpload)
        check_purpose(asked.purpose)
        if not 1 <= asked.bytes <= MAX_UPLOAD_BYTES:
            raise invalid(f"'bytes' must be between 1 and {MAX_UPLOAD_BYTES}.", "bytes", "integer_out_of_range")
        check_file(asked.purpose, asked.filename, asked.bytes)
        life_s = usual_life_s(asked.purpose)
        if asked.expires_after is not None:
            life_s = check_life(asked.expires_after.seconds, "expires_after.seconds")
        now = int(self._world.clock.now())

        def create(tables: Tables) -> UploadObject:
            id_ = self._world.new_id(tables, "upload_")
            upload = UploadObject(id_, asked.bytes, now, asked.filename, asked.purpose, "pending", now + UPLOAD_LIFE_S)
            tables.add("upload", id_, json.encode(UploadRecord(upload, life_s)))
            return upload

        return json_response(await self._world.storage.run(create))

    async def _add_part(self, request: Request) -> Response:
        upload_id: str = request.path_params["id"]
        await self._world.storage.run(lambda tables: self._pending(tables, upload_id))
        with self._world.receiving() as path:
            form = await read_form(request, "data", path, MAX_PART_BYTES, self._world)
            received = form.part
            if received is None:
                raise missing("data")
            size_bytes = received.size_bytes
            part = await self._world.storage.run(lambda tables: self._keep_part(tables, upload_id, size_bytes, path))
        return json_response(part)

    def _keep_part(self, tables: Tables, upload_id: str, size_bytes: int, source: Path) -> PartObject:
        self._pending(tables, upload_id)
        id_ = self._world.new_id(tables, "part_")
        source.replace(self._world.path(id_))
        part = PartObject(id_, int(self._world.clock.now()), upload_id)
        tables.add("part", id_, json.encode(PartRecord(part, size_bytes)), tag=upload_id)
        return part

    async def _complete(self, request: Request) -> Response:
        upload_id: str = request.path_params["id"]
        asked = decode(await read_body(request), _CompleteUpload)

        def check(tables: Tables) -> UploadRecord:
            record = self._pending(tables, upload_id)
            announced = record.wire.bytes
            if len(set(asked.part_ids)) != len(asked.part_ids):
                raise invalid("'part_ids' names a part twice.", "part_ids")
            found = sum(self._part(tables, upload_id, part_id).size_bytes for part_id in asked.part_ids)
            if found != announced:
                raise invalid(f"The parts have {found} bytes and {announced} were announced.", "part_ids")
            return record

        record = await self._world.storage.run(check)
        with self._world.receiving() as path:
            sources = [self._world.path(part_id) for part_id in asked.part_ids]
            whole = await self._world.storage.bulk(lambda: _join(sources, path, record.wire.filename, asked.md5))
            upload = await self._world.storage.run(lambda tables: self._become_file(tables, upload_id, whole, path))
        await self._drop_parts(upload_id)
        return json_response(upload)

    def _become_file(self, tables: Tables, upload_id: str, whole: ReceivedPart, source: Path) -> UploadObject:
        record = self._pending(tables, upload_id)
        file = self._files.store.add(tables, whole, source, tag=record.wire.purpose, life_s=record.expires_after_s)
        done = replace(record, wire=replace(record.wire, status="completed", file=shown(file)))
        tables.replace(upload_id, json.encode(done))
        return done.wire

    async def _cancel(self, request: Request) -> Response:
        upload_id: str = request.path_params["id"]

        def cancel(tables: Tables) -> UploadObject:
            record = self._pending(tables, upload_id)
            done = replace(record, wire=replace(record.wire, status="cancelled"))
            tables.replace(upload_id, json.encode(done))
            return done.wire

        upload = await self._world.storage.run(cancel)
        await self._drop_parts(upload_id)
        return json_response(upload)

    def _pending(self, tables: Tables, upload_id: str) -> UploadRecord:
        now = self._world.clock.now()
        doc = tables.get("upload", upload_id, now)
        if doc is None:
            raise no_such("upload", upload_id)
        record = _uploads.decode(doc)
        expired = record.wire.status == "pending" and now >= record.wire.expires_at
        status = "expired" if expired else record.wire.status
        if status != "pending":
            raise ApiError(400, f"The upload '{upload_id}' is {status}, not pending.", code="invalid_upload_status")
        return record

    def _part(self, tables: Tables, upload_id: str, part_id: str) -> PartRecord:
        doc = tables.get("part", part_id, self._world.clock.now())
        part = None if doc is None else _parts.decode(doc)
        if part is None or part.wire.upload_id != upload_id:
            raise invalid(f"The upload has no part '{part_id}'.", "part_ids")
        return part

    async def _drop_parts(self, upload_id: str) -> None:
        def drop(tables: Tables) -> list[str]:
            page = tables.page("part", now=self._world.clock.now(), limit=100_000, newest_first=False, tag=upload_id)
            ids = [_parts.decode(doc).wire.id for doc in page.docs]
            for id_ in ids:
                tables.remove(id_)
            return ids

        ids = await self._world.storage.run(drop)

        def unlink() -> None:
            for id_ in ids:
                self._world.path(id_).unlink(missing_ok=True)

        await self._world.storage.bulk(unlink)


def _join(sources: list[Path], target: Path, filename: str, md5: str | None) -> ReceivedPart:
    sha256, check = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size_bytes = newlines = 0
    last = b"\n"
    with target.open("wb") as whole:
        for source in sources:
            with source.open("rb") as part:
                while chunk := part.read(_COPY_BYTES):
                    whole.write(chunk)
                    sha256.update(chunk)
                    check.update(chunk)
                    size_bytes += len(chunk)
                    newlines += chunk.count(b"\n")
                    last = chunk[-1:]
    if md5 is not None and md5.lower() != check.hexdigest():
        raise invalid("The MD5 of the joined parts is another one.", "md5")
    return ReceivedPart(filename, size_bytes, newlines + (last != b"\n"), sha256.hexdigest())
