"""Files that a provider's hosted tools would have made: put there by `POST /_sim/files`, for clients to fetch.

The query says `provider`, `filename`, `type` (the MIME type) and, at OpenAI, `container` (a file in a container of that
id); the body is the content. It is answered with the file's `id`. Like all control routes this one needs no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.bodies import read_whole
from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World


class Generated:
    """The route. `stores` are the providers' file stores, `containers` that of OpenAI's containers."""

    def __init__(self, world: World, stores: Sequence[FileStore], containers: FileStore) -> None:
        self._world = world
        self._stores = {store.provider: store for store in stores}
        self._containers = containers

    def routes(self) -> list[Route]:
        """The routes."""
        return [Route("/_sim/files", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        provider = request.query_params.get("provider", "")
        container = request.query_params.get("container", "")
        store = self._containers if container and provider == "openai" else self._stores.get(provider)
        if store is None:
            message = f"'provider' is one of {', '.join(sorted(self._stores))}, not {provider!r}"
            return Response(json.encode({"error": {"message": message}}), 400, media_type="application/json")
        file = await self.make(
            store,
            await read_whole(request),
            filename=request.query_params.get("filename", "output.bin"),
            mime_type=request.query_params.get("type", "application/octet-stream"),
            container=container,
        )
        named = f"files/{file.tag}" if provider == "google" else file.id
        return Response(json.encode({"id": named}), media_type="application/json")

    async def make(
        self, store: FileStore, content: bytes, *, filename: str, mime_type: str, container: str
    ) -> KeptFile:
        """Makes the file."""
        part = ReceivedPart(filename, len(content), content.count(b"\n"), hashlib.sha256(content).hexdigest())

        with self._world.receiving() as path:
            await self._world.storage.bulk(lambda: path.write_bytes(content))

            def add(tables: Tables) -> KeptFile:
                return store.generate(tables, part, path, name=filename, mime_type=mime_type, tag=container)

            return await self._world.storage.run(add)
