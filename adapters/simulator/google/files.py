"""Google's files: get, list, delete. What was uploaded cannot be downloaded again."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.errors import invalid, no_such_file
from perdure.adapters.simulator.google.filestore import GoogleFiles
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

GOOGLE_PREFIX: Final = "/google"
"""Where Google's routes are, below the base URL."""

DEFAULT_PAGE: Final = 10
MAX_PAGE: Final = 100
"""How many files are on a page, unless fewer are asked for, and at most (`contracts/providers.md` section 3.1)."""


class FileRoutes:
    """The file routes."""

    def __init__(self, world: World, files: GoogleFiles) -> None:
        self._world = world
        self._files = files

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [
            Route("/{version}/files", self._list, methods=["GET"]),
            Route("/{version}/files/{id}", self._get, methods=["GET"]),
            Route("/{version}/files/{id}", self._delete, methods=["DELETE"]),
        ]

    async def _get(self, request: Request) -> Response:
        origin = base_url(request, check_version(request))
        id_: str = request.path_params["id"]

        def read(tables: Tables) -> dict[str, Any]:
            file = self._files.find(tables, id_)
            if file is None:
                raise no_such_file(id_)
            return self._files.show(tables, file, origin)

        return json_response(await self._world.storage.run(read))

    async def _list(self, request: Request) -> Response:
        origin = base_url(request, check_version(request))
        limit = _page_size(request.query_params.get("pageSize"))
        token = request.query_params.get("pageToken", "")
        now = self._world.clock.now()

        def read(tables: Tables) -> dict[str, Any]:
            after = None
            if token:
                after = tables.place(self._files.kind, _last_id(token))
                if after is None:
                    raise invalid("The page token is not valid.", "page_token")
            page = tables.page(self._files.kind, now=now, limit=limit, newest_first=True, after=after)
            files = self._files.listed(page)
            answer: dict[str, Any] = {}
            if files:
                answer["files"] = [self._files.show(tables, file, origin) for file in files]
            if page.has_more:
                answer["nextPageToken"] = urlsafe_b64encode(files[-1].id.encode()).decode()
            return answer

        return json_response(await self._world.storage.run(read))

    async def _delete(self, request: Request) -> Response:
        check_version(request)
        id_: str = request.path_params["id"]
        if not await self._files.delete(id_):
            raise no_such_file(id_)
        return json_response({})


def base_url(request: Request, version: str) -> str:
    """The base of all addresses that an answer names: origin, prefix and version."""
    return f"{request.url.scheme}://{request.url.netloc}{GOOGLE_PREFIX}/{version}"


def json_response(value: object, headers: dict[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(json.encode(value), headers=headers, media_type="application/json")


def _page_size(said: str | None) -> int:
    if not said or said == "0":
        return DEFAULT_PAGE
    if not said.isdecimal() or int(said) > MAX_PAGE:
        raise invalid(f"'pageSize' is a number up to {MAX_PAGE}, not '{said}'.", "page_size")
    return int(said)


def _last_id(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except ValueError:
        return ""
