"""OpenAI's files: create, get, list, delete, content.

Bytes go from the socket to the disk and back in chunks; a file is on the account from the moment at which it exists.
"""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path
from typing import Final, get_args
from uuid import uuid4

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.multipart import (
    Form,
    MultipartError,
    PartTooLarge,
    ReceivedPart,
    receive_form,
)
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such
from perdure.adapters.simulator.openai.lists import json_response, list_response, page_query
from perdure.adapters.simulator.openai.wire import Deleted, FileObject, FilePurpose, FileRecord
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

MAX_FILE_BYTES: Final = 512 * 1000 * 1000
"""The longest file of this route: 512 MB (OpenAI's SDK 3.52, documentation of `files.create`)."""

MAX_BATCH_FILE_BYTES: Final = 200 * 1000 * 1000
"""The longest file with the purpose `batch`: 200 MB (same source)."""

BATCH_FILE_LIFE_S: Final = 30 * 86_400
"""How long a file with the purpose `batch` lives: 30 days (same source). Others live until they are deleted."""

MIN_LIFE_S: Final = 3_600
MAX_LIFE_S: Final = 2_592_000
"""The bounds of `expires_after[seconds]`: an hour to 30 days (same source)."""

_PURPOSES: Final = frozenset(get_args(FilePurpose))
_records = json.Decoder(FileRecord)


class Files:
    """The file routes, and what uploads and batches need of files."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/files", self._create, methods=["POST"]),
            Route("/files", self._list, methods=["GET"]),
            Route("/files/{id}", self._get, methods=["GET"]),
            Route("/files/{id}", self._delete, methods=["DELETE"]),
            Route("/files/{id}/content", self._content, methods=["GET"]),
        ]

    def find(self, tables: Tables, id_: str) -> FileRecord | None:
        """The file with this id, if it exists now."""
        doc = tables.get("file", id_, self._world.clock.now())
        return None if doc is None else _records.decode(doc)

    def store(
        self, tables: Tables, part: ReceivedPart, source: Path, *, purpose: str, life_s: int | None, bought: bool
    ) -> FileObject:
        """Makes a file of the bytes at `source`, which must be whole, and moves them to their place.

        `life_s` is how long it lives, in seconds, None for ever. `bought`: a client stored it, so it goes on the
        account with its filename as identity; output files of batches are by-products and do not.
        """
        now = self._world.clock.now()
        id_ = self._world.new_id(tables, "file-")
        expires_at = None if life_s is None else int(now) + life_s
        wire = FileObject(id_, part.size_bytes, int(now), part.filename, purpose, expires_at)
        os.replace(source, self._world.path(id_))
        record = FileRecord(wire, part.lines, part.sha256)
        tables.add("file", id_, json.encode(record), tag=purpose, until=expires_at)
        if bought:
            record_purchase(tables, Purchase("openai", "file", id_, part.filename, 1, now, part.sha256))
        return wire

    async def _create(self, request: Request) -> Response:
        path = self._world.path(f"receiving-{uuid4().hex}")
        try:
            form = await read_form(request, "file", path, MAX_FILE_BYTES, self._world)
            purpose = check_purpose(form.fields.get("purpose"))
            life_s = _life_from_form(form.fields, purpose)
            part = form.part
            if part is None:
                raise missing("file")
            check_file(purpose, part.filename, part.size_bytes)
            file = await self._world.storage.run(
                lambda tables: self.store(tables, part, path, purpose=purpose, life_s=life_s, bought=True)
            )
        finally:
            path.unlink(missing_ok=True)
        return json_response(file)

    async def _read(self, id_: str) -> FileRecord:
        record = await self._world.storage.run(lambda tables: self.find(tables, id_))
        if record is None:
            raise no_such("file", id_)
        return record

    async def _get(self, request: Request) -> Response:
        return json_response((await self._read(request.path_params["id"])).wire)

    async def _list(self, request: Request) -> Response:
        query = page_query(request, limit=10_000, max_limit=10_000, with_order=True)
        purpose = request.query_params.get("purpose")
        now = self._world.clock.now()

        def read(tables: Tables) -> tuple[list[tuple[str, bytes]], bool]:
            page = query.read(tables, "file", now, tag=purpose)
            files = [_records.decode(doc).wire for doc in page.docs]
            return [(file.id, json.encode(file)) for file in files], page.has_more

        items, has_more = await self._world.storage.run(read)
        return list_response(items, has_more=has_more)

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]

        def delete(tables: Tables) -> None:
            if self.find(tables, id_) is None:
                raise no_such("file", id_)
            tables.remove(id_)

        await self._world.storage.run(delete)
        await self._world.storage.bulk(lambda: self._world.path(id_).unlink(missing_ok=True))
        return json_response(Deleted(id_, "file"))

    async def _content(self, request: Request) -> Response:
        record = await self._read(request.path_params["id"])
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": f'attachment; filename="{_plain(record.wire.filename)}"',
        }
        return Download(self._world.path(record.wire.id), record.wire.bytes, self._world.storage, headers=headers)


async def read_form(request: Request, part_name: str, path: Path, max_bytes: int, world: World) -> Form:
    """Receives a multipart body; its errors become OpenAI's. Raises `ApiError` 400, or 413 for too long a part."""
    try:
        async with aclosing(request.stream()) as chunks:
            return await receive_form(
                chunks,
                request.headers.get("content-type", ""),
                part_name=part_name,
                path=path,
                max_bytes=max_bytes,
                storage=world.storage,
            )
    except MultipartError as error:
        raise ApiError(400, f"The body cannot be read: {error}.") from error
    except PartTooLarge as error:
        raise ApiError(413, f"The part is longer than {error.limit} bytes.", param=part_name) from error


def check_purpose(purpose: str | None) -> str:
    """The purpose, if it is one that a client may give. Raises `ApiError` 400."""
    if not purpose:
        raise missing("purpose")
    if purpose not in _PURPOSES:
        raise invalid(f"'purpose' must be one of {', '.join(sorted(_PURPOSES))}, not '{purpose}'.", "purpose")
    return purpose


def check_file(purpose: str, filename: str, size_bytes: int) -> None:
    """Checks what a batch's input file must be. Raises `ApiError`: 400 for a name but `.jsonl`, 413 for its size."""
    if purpose != "batch":
        return
    if not filename.lower().endswith(".jsonl"):
        raise invalid(f"A file for a batch must be called *.jsonl, not '{filename}'.", "file", "invalid_file_format")
    if size_bytes > MAX_BATCH_FILE_BYTES:
        raise ApiError(413, f"A file for a batch may have {MAX_BATCH_FILE_BYTES} bytes.", param="file")


def usual_life_s(purpose: str) -> int | None:
    """How long a file lives when its maker did not say, in seconds; None: until deleted."""
    return BATCH_FILE_LIFE_S if purpose == "batch" else None


def check_life(seconds: int, param: str) -> int:
    """Checks a life in seconds. Raises `ApiError` 400 when it is out of bounds."""
    if not MIN_LIFE_S <= seconds <= MAX_LIFE_S:
        raise invalid(
            f"'{param}' must be between {MIN_LIFE_S} and {MAX_LIFE_S}, not {seconds}.", param, "integer_out_of_range"
        )
    return seconds


def _life_from_form(fields: dict[str, str], purpose: str) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return usual_life_s(purpose)
    if anchor != "created_at":
        raise invalid("'expires_after[anchor]' must be 'created_at'.", "expires_after[anchor]")
    if seconds is None or not seconds.isdecimal():
        raise invalid("'expires_after[seconds]' must be a whole number.", "expires_after[seconds]", "invalid_type")
    return check_life(int(seconds), "expires_after[seconds]")


def _plain(filename: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
