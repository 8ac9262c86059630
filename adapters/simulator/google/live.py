"""Google's models that answer at once: `:generateContent`."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.google.answers import answer, is_blocked, read_request
from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import read_body
from perdure.adapters.simulator.google.errors import no_such_model
from perdure.adapters.simulator.google.files import json_response
from perdure.adapters.simulator.google.filestore import GoogleFiles
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World


class Live:
    """The live route."""

    def __init__(self, world: World, files: GoogleFiles) -> None:
        self._world = world
        self._files = files

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [Route("/{version}/models/{model}:generateContent", self._generate, methods=["POST"])]

    async def _generate(self, request: Request) -> Response:
        version = check_version(request)
        model: str = request.path_params["model"]
        if model == NO_MODEL:
            raise no_such_model(model, version)
        body = await read_body(request)
        asked = read_request(body)
        if is_blocked(asked):
            return json_response(answer(asked, body, model=model, seed=self._world.seed, id_=""))

        def buy(tables: Tables) -> dict[str, Any]:
            for uri in asked.files():
                self._files.find_active(tables, uri)
            now, ordinal = self._world.clock.now(), tables.next_ordinal("google-live")
            id_ = digest(self._world.seed, "google-live", ordinal)[:24]
            payload = hashlib.sha256(f"models/{model}:generateContent\n".encode() + body).hexdigest()
            record_purchase(tables, Purchase("google", "text", id_, "", 1, now, payload))
            return answer(asked, body, model=model, seed=self._world.seed, id_=id_)

        return json_response(await self._world.storage.run(buy))
