"""OpenAI's files: create, get, list, delete, content."""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.multipart import Form, MultipartError, PartTooLarge, receive_form
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such
from perdure.adapters.simulator.openai.lists import json_response, list_response, page_query
from perdure.adapters.simulator.openai.wire import Deleted, FileObject, FilePurpose
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


class Files:
    """The file routes. `store` is what uploads and batches need of files; a file's tag there is its purpose.

    `containers` are the files that code wrote in the containers where it ran; a file's tag there is its container."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.store = FileStore(world, provider="openai", id_prefix="file-")
        self.containers = FileStore(world, provider="openai", id_prefix="cfile_", kind="openai-container-file")

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/files", self._create, methods=["POST"]),
            Route("/files", self._list, methods=["GET"]),
            Route("/files/{id}", self._get, methods=["GET"]),
            Route("/files/{id}", self._delete, methods=["DELETE"]),
            Route("/files/{id}/content", self._content, methods=["GET"]),
            Route("/containers/{container}/files/{id}/content", self._container_content, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        with self._world.receiving() as path:
            form = await read_form(request, "file", path, MAX_FILE_BYTES, self._world)
            purpose = check_purpose(form.fields.get("purpose"))
            life_s = _life_from_form(form.fields, purpose)
            part = form.part
            if part is None:
                raise missing("file")
            check_file(purpose, part.filename, part.size_bytes)
            file = await self._world.storage.run(
                lambda tables: self.store.add(tables, part, path, tag=purpose, life_s=life_s)
            )
        return json_response(shown(file))

    async def _read(self, id_: str) -> KeptFile:
        file = await self.store.read(id_)
        if file is None:
            raise no_such("file", id_)
        return file

    async def _get(self, request: Request) -> Response:
        return json_response(shown(await self._read(request.path_params["id"])))

    async def _list(self, request: Request) -> Response:
        query = page_query(request, limit=10_000, max_limit=10_000, with_order=True)
        purpose = request.query_params.get("purpose")
        now = self._world.clock.now()
        page = await self._world.storage.run(
            lambda tables: query.read(tables, self.store.kind, now, tag=purpose, noun="file")
        )
        items = [(file.id, json.encode(shown(file))) for file in self.store.listed(page)]
        return list_response(items, has_more=page.has_more)

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        if not await self.store.delete(id_):
            raise no_such("file", id_)
        return json_response(Deleted(id_, "file"))

    async def _content(self, request: Request) -> Response:
        return self.store.download(await self._read(request.path_params["id"]))

    async def _container_content(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        file = await self.containers.read(id_)
        if file is None or file.tag != request.path_params["container"]:
            raise no_such("file", id_)
        return self.containers.download(file, content_type=file.mime_type)


def shown(file: KeptFile) -> FileObject:
    """A file as clients see it."""
    expires_at = None if file.expires_at is None else int(file.expires_at)
    return FileObject(file.id, file.size_bytes, int(file.created_at), file.filename, file.tag, expires_at)


async def read_form(request: Request, part_name: str, path: Path, max_bytes: int, world: World) -> Form:
    """Receives a multipart body; its errors become OpenAI's. Raises `ApiError` 400, or 413 for too long a part."""
    try:
        return await receive_form(request, part_name=part_name, path=path, max_bytes=max_bytes, storage=world.storage)
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
