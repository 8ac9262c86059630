"""Anthropic's files: upload, list (in its present form and in that of the beta), metadata, content, deletion.

What clients upload cannot be downloaded. A file whose time is over can still be read about; requests that need its
bytes are answered with 404. Sources: `contracts/providers.md` section 2.1, Anthropic's Python SDK 2.11 (20 November
2026): `types/file_*.py`, `resources/files.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from mimetypes import guess_extension
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.anthropic.errors import ApiError, file_expired, invalid, no_such_file
from perdure.adapters.simulator.anthropic.headers import FILES_BETA, has_beta, shown_time
from perdure.adapters.simulator.anthropic.lists import Listing, asked_limit, read_around, read_page
from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.multipart import Form, MultipartError, PartTooLarge, ReceivedPart, receive_form
from perdure.adapters.simulator.world import World

MAX_FILE_BYTES: Final = 500 * 1000 * 1000
"""The largest file: 500 MB (section 2.1)."""

MIN_LIFE_S: Final = 3_600
MAX_LIFE_S: Final = 7_776_000
"""The bounds of `expires_in_seconds`: an hour to ninety days (SDK, `types/file_upload_params.py`)."""

MAX_IDS: Final = 100
"""How many files may be asked for by `ids` (SDK, `types/file_list_params.py`)."""

_PAGE_PREFIX: Final = "page_"


class FileObject(Struct, frozen=True):
    """A file."""

    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    expires_at: str | None
    downloadable: bool = False
    type: Literal["file"] = "file"


class Deleted(Struct, frozen=True):
    """The answer to a deletion."""

    id: str
    type: Literal["file_deleted"] = "file_deleted"


class TokenListing(Struct, frozen=True):
    """A page. `next_page` is None for the last one."""

    data: Sequence[FileObject]
    next_page: str | None


class Files:
    """The file routes. `store` is what messages need of files."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.store = FileStore(world, provider="anthropic", id_prefix="file_", shows_expired=True)

    def routes(self) -> list[Route]:
        """The routes, below `/anthropic`."""
        return [
            Route("/v1/files", self._create, methods=["POST"]),
            Route("/v1/files", self._list, methods=["GET"]),
            Route("/v1/files/{id}", self._get, methods=["GET"]),
            Route("/v1/files/{id}", self._delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self._content, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        with self._world.receiving() as path:
            form = await self._receive(request, path)
            life_s = _life(form.fields)
            if form.part is None:
                raise invalid("file: Field required")
            part = _named(form.part)
            file = await self._world.storage.run(lambda tables: self.store.add(tables, part, path, life_s=life_s))
        return _answer(shown(file))

    async def _receive(self, request: Request, path: Path) -> Form:
        try:
            return await receive_form(
                request, part_name="file", path=path, max_bytes=MAX_FILE_BYTES, storage=self._world.storage
            )
        except MultipartError as error:
            raise invalid(f"The body cannot be read: {error}.") from error
        except PartTooLarge as error:
            raise ApiError(413, f"file: a file may have {error.limit} bytes.") from error

    async def _list(self, request: Request) -> Response:
        ids = [*request.query_params.getlist("ids"), *request.query_params.getlist("ids[]")]
        if ids:
            return _answer(await self._by_ids(request, set(ids)))
        if has_beta(request, FILES_BETA):
            return _answer(await self._beta_page(request))
        limit = asked_limit(request)
        token = request.query_params.get("page", "")
        if token and not token.startswith(_PAGE_PREFIX):
            raise invalid(f"page: '{token}' is no page of this list")
        page = await read_page(self._world, self.store.kind, "page", token.removeprefix(_PAGE_PREFIX), limit)
        files = [shown(file) for file in self.store.listed(page)]
        return _answer(TokenListing(files, f"{_PAGE_PREFIX}{files[-1].id}" if page.has_more else None))

    async def _by_ids(self, request: Request, ids: set[str]) -> TokenListing:
        if len(ids) > MAX_IDS:
            raise invalid(f"ids: at most {MAX_IDS}, not {len(ids)}")
        if "page" in request.query_params or "limit" in request.query_params:
            raise invalid("ids: cannot be combined with page or limit")
        found = await self._world.storage.run(lambda tables: [self.store.find(tables, id_) for id_ in sorted(ids)])
        files = sorted((file for file in found if file is not None), key=lambda file: file.created_at, reverse=True)
        return TokenListing([shown(file) for file in files], None)

    async def _beta_page(self, request: Request) -> Listing:
        page = await read_around(request, self._world, self.store.kind)
        files = [shown(file) for file in self.store.listed(page)]
        first, last = (files[0].id, files[-1].id) if files else (None, None)
        return Listing(files, page.has_more, first, last)

    async def _get(self, request: Request) -> Response:
        return _answer(shown(await self._read(request)))

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        if not await self.store.delete(id_):
            raise no_such_file(id_)
        return _answer(Deleted(id_))

    async def _content(self, request: Request) -> Response:
        file = await self._read(request)
        if self.store.is_expired(file):
            raise file_expired(file.id)
        if file.generated:
            return self.store.download(file, content_type=file.mime_type)
        raise ApiError(400, "Files that were uploaded cannot be downloaded.", error_code="file_not_downloadable")

    async def _read(self, request: Request) -> KeptFile:
        id_: str = request.path_params["id"]
        file = await self.store.read(id_)
        if file is None:
            raise no_such_file(id_)
        return file


def shown(file: KeptFile) -> FileObject:
    """A file as clients see it."""
    expires_at = None if file.expires_at is None else shown_time(file.expires_at)
    return FileObject(
        file.id,
        file.filename,
        file.mime_type,
        file.size_bytes,
        shown_time(file.created_at),
        expires_at,
        downloadable=file.generated,
    )


def _named(part: ReceivedPart) -> ReceivedPart:
    """The part under the name and type that are kept: the last component of a path; a name of ours where there is
    none (SDK, `types/file_upload_params.py`)."""
    mime_type = part.mime_type or "application/octet-stream"
    filename = part.filename.rpartition("/")[2] or "unnamed" + (guess_extension(mime_type) or "")
    return replace(part, filename=filename, mime_type=mime_type)


def _life(fields: dict[str, str]) -> int | None:
    text = fields.get("expires_in_seconds")
    if text is None:
        return None
    if not text.isdecimal() or not MIN_LIFE_S <= int(text) <= MAX_LIFE_S:
        raise invalid(f"expires_in_seconds: must be between {MIN_LIFE_S} and {MAX_LIFE_S}, not '{text}'")
    return int(text)


def _answer(value: object) -> Response:
    return Response(json.encode(value), media_type="application/json")
