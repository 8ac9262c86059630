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
        said = request.query_params
        try:
            id_ = await self.make(
                said.get("provider", ""),
                await read_whole(request),
                filename=said.get("filename", "output.bin"),
                mime_type=said.get("type", "application/octet-stream"),
                container=said.get("container", ""),
            )
        except ValueError as error:
            return Response(json.encode({"error": {"message": str(error)}}), 400, media_type="application/json")
        return Response(json.encode({"id": id_}), media_type="application/json")

    async def make(self, provider: str, content: bytes, *, filename: str, mime_type: str, container: str = "") -> str:
        """Makes the file; its id, as the provider's routes take it. Raises `ValueError` for an unknown provider."""
        store = self._containers if container and provider == self._containers.provider else self._stores.get(provider)
        if store is None:
            raise ValueError(f"'provider' is one of {', '.join(sorted(self._stores))}, not {provider!r}")
        part = ReceivedPart(filename, len(content), content.count(b"\n"), hashlib.sha256(content).hexdigest())
        with self._world.receiving() as path:
            await self._world.storage.bulk(lambda: path.write_bytes(content))

            def add(tables: Tables) -> KeptFile:
                return store.generate(tables, part, path, name=filename, mime_type=mime_type, tag=container)

            file = await self._world.storage.run(add)
        return f"files/{file.tag}" if provider == "google" else file.id
