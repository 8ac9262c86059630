"""Google's files: get, list, delete; and download, of what Google made: what was uploaded is not given out again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.errors import invalid, no_such_file
from perdure.adapters.simulator.google.filestore import GoogleFiles
from perdure.adapters.simulator.google.lists import page_query, token_behind
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

GOOGLE_PREFIX: Final = "/google"
"""Where Google's routes are, below the base URL."""


class FileRoutes:
    """The file routes. `download_video` gives what models made, by the id that its address has; None: no such."""

    def __init__(
        self, world: World, files: GoogleFiles, download_video: Callable[[str], Awaitable[Response | None]]
    ) -> None:
        self._world = world
        self._files = files
        self._download_video = download_video

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [
            Route("/{version}/files", self._list, methods=["GET"]),
            Route("/{version}/files/{id}:download", self._download, methods=["GET"]),
            Route("/download/{version}/files/{id}:download", self._download, methods=["GET"]),
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
        query = page_query(request)
        now = self._world.clock.now()

        def read(tables: Tables) -> dict[str, Any]:
            page = query.read(tables, self._files.kind, now)
            files = self._files.listed(page)
            answer: dict[str, Any] = {}
            if files:
                answer["files"] = [self._files.show(tables, file, origin) for file in files]
            if page.has_more:
                answer["nextPageToken"] = token_behind(files[-1].id)
            return answer

        return json_response(await self._world.storage.run(read))

    async def _download(self, request: Request) -> Response:
        check_version(request)
        id_: str = request.path_params["id"]
        if request.query_params.get("alt") != "media":
            raise invalid("The bytes of a file are asked for with 'alt=media'.", "alt")

        file = await self._world.storage.run(lambda tables: self._files.find(tables, id_))
        if file is None:
            video = await self._download_video(id_)
            if video is None:
                raise no_such_file(id_)
            return video
        if not file.generated:
            raise invalid(f"The File {id_} was uploaded and cannot be downloaded.", "name")
        return self._files.download(file, content_type=file.mime_type)

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
