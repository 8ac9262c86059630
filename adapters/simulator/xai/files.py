"""xAI's files: create, get, list, delete, content."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Raw, Struct, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.multipart import Form
from perdure.adapters.simulator.openai.errors import invalid, missing, no_such
from perdure.adapters.simulator.openai.files import check_life, read_form
from perdure.adapters.simulator.openai.lists import PageQuery, json_response, page_query
from perdure.adapters.simulator.openai.wire import Deleted
from perdure.adapters.simulator.world import World

MAX_FILE_BYTES: Final = 48_000_000
"""The longest file, about 48 MB (`contracts/providers.md` section 4)."""

MAX_PAGE: Final = 100
"""The most files of a page, and how many there are unless the client says otherwise. Ours; xAI states none."""


class FileObject(Struct, frozen=True):
    """A file."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None
    object: str = "file"


class Listing(Struct, frozen=True):
    """A page of files. `pagination_token` is null on the last one; `has_more` says the same to OpenAI's clients."""

    data: list[Raw]
    pagination_token: str | None
    has_more: bool
    object: str = "list"


class Files:
    """The file routes. `store` is what messages need of files; `settle` puts into it what is due to be there."""

    def __init__(self, world: World, settle: Callable[[], Awaitable[None]]) -> None:
        self._world = world
        self._settle = settle
        self.store = FileStore(world, provider="xai", id_prefix="file_")

    def routes(self) -> list[Route]:
        """The routes, below `/xai/v1`."""
        return [
            Route("/files", self._create, methods=["POST"]),
            Route("/files", self._list, methods=["GET"]),
            Route("/files/{id}", self._get, methods=["GET"]),
            Route("/files/{id}", self._delete, methods=["DELETE"]),
            Route("/files/{id}/content", self._content, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        with self._world.receiving() as path:
            form = await read_form(request, "file", path, MAX_FILE_BYTES, self._world)
            life_s = _life_s(form)
            part = form.part
            if part is None:
                raise missing("file")
            purpose = form.fields.get("purpose", "")
            file = await self._world.storage.run(
                lambda tables: self.store.add(tables, part, path, tag=purpose, life_s=life_s)
            )
        return json_response(shown(file))

    async def _read(self, request: Request) -> KeptFile:
        id_: str = request.path_params["id"]
        file = await self.store.read(id_)
        if file is None:
            raise no_such("file", id_)
        return file

    async def _get(self, request: Request) -> Response:
        return json_response(shown(await self._read(request)))

    async def _list(self, request: Request) -> Response:
        asked = page_query(request, limit=MAX_PAGE, max_limit=MAX_PAGE, with_order=True)
        after = request.query_params.get("pagination_token") or asked.after
        query = PageQuery(after, asked.limit, asked.newest_first)
        await self._settle()
        now = self._world.clock.now()
        page = await self._world.storage.run(lambda tables: query.read(tables, self.store.kind, now, noun="file"))
        files = self.store.listed(page)
        token = files[-1].id if page.has_more else None
        return json_response(Listing([Raw(json.encode(shown(file))) for file in files], token, page.has_more))

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        if not await self.store.delete(id_):
            raise no_such("file", id_)
        return json_response(Deleted(id_, "file"))

    async def _content(self, request: Request) -> Response:
        return self.store.download(await self._read(request))


def shown(file: KeptFile) -> FileObject:
    """A file as clients see it."""
    expires_at = None if file.expires_at is None else int(file.expires_at)
    return FileObject(file.id, file.size_bytes, int(file.created_at), file.filename, file.tag, expires_at)


def _life_s(form: Form) -> int | None:
    """How long the file shall live, in seconds; None: until it is deleted. Raises `ApiError` 400."""
    seconds = form.fields.get("expires_after")
    if seconds is None:
        return None
    if "expires_after" in form.late:
        raise invalid("'expires_after' must come before the file.", "expires_after")
    if not seconds.isdecimal():
        raise invalid("'expires_after' must be a whole number of seconds.", "expires_after", "invalid_type")
    return check_life(int(seconds), "expires_after")
