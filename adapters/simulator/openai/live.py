"""Live endpoints of OpenAI's wire that a batch line may name (responses, chat completions, embeddings), and models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.openai.answers import Answer, AnswerBody, answer
from perdure.adapters.simulator.openai.bodies import read_body
from perdure.adapters.simulator.openai.errors import ApiError, ErrorAnswer, model_not_found
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.openai.wire import PLAYED_ENDPOINTS
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

LISTED_MODELS: Final = ("gpt-6-astra", "gpt-6-astra-mini", "text-embedding-3-large", "text-embedding-3-small")
"""The models in the list. Any other name but `nope` is taken too."""

MODELS_SINCE: Final = 1_767_225_600
"""When the listed models were made: 1 January 2026, in seconds since 1970. Ours."""


class ModelObject(Struct, frozen=True):
    """A model."""

    id: str
    created: int = MODELS_SINCE
    object: Literal["model"] = "model"
    owned_by: str = "simulator"


class ModelList(Struct, frozen=True):
    """All models; this list has no pages."""

    data: tuple[ModelObject, ...]
    object: Literal["list"] = "list"


class Live:
    """The live endpoints and the model routes.

    Args:
        files: those that messages may name.
        provider: the name on the account.
        endpoints: which of `PLAYED_ENDPOINTS` there are.
        models: the names in the list.
        priced: gives an answer with what it cost, where the provider says so.
    """

    def __init__(
        self,
        world: World,
        files: FileStore,
        *,
        provider: str = "openai",
        endpoints: Sequence[str] = PLAYED_ENDPOINTS,
        models: Sequence[str] = LISTED_MODELS,
        priced: Callable[[AnswerBody], AnswerBody] = lambda body: body,
    ) -> None:
        self._world = world
        self._files = files
        self._provider = provider
        self._endpoints = endpoints
        self._models_listed = models
        self._priced = priced

    def routes(self) -> list[Route]:
        """The routes, below `/v1`."""
        return [
            *(Route(endpoint.removeprefix("/v1"), self._call, methods=["POST"]) for endpoint in self._endpoints),
            Route("/models", self._models, methods=["GET"]),
            Route("/models/{id}", self._model, methods=["GET"]),
        ]

    async def _call(self, request: Request) -> Response:
        body = await read_body(request)
        endpoint = request.url.path[request.url.path.index("/v1/") :]
        client_mark = request.headers.get("x-client-request-id", "")
        now = self._world.clock.now()

        def buy(tables: Tables) -> Answer:
            ordinal = tables.next_ordinal("live")
            given = answer(
                endpoint,
                body,
                seed=self._world.seed,
                name=f"live/{ordinal}",
                at=int(now),
                has_file=lambda id_: self._files.find(tables, id_) is not None,
            )
            if given.status < 400:
                id_ = getattr(given.body, "id", "") or f"embeddings_{ordinal}"
                payload = hashlib.sha256(endpoint.encode() + b"\n" + body).hexdigest()
                identity = given.identity or client_mark
                record_purchase(tables, Purchase(self._provider, "text", id_, identity, 1, now, payload))
            return given

        given = await self._world.storage.run(buy)
        if isinstance(given.body, ErrorAnswer):
            error = given.body.error
            raise ApiError(given.status, error.message, type_=error.type, param=error.param, code=error.code)
        return json_response(self._priced(given.body), given.status)

    async def _models(self, request: Request) -> Response:
        return json_response(ModelList(tuple(map(ModelObject, self._models_listed))))

    async def _model(self, request: Request) -> Response:
        name: str = request.path_params["id"]
        if name == NO_MODEL:
            raise model_not_found(name)
        return json_response(ModelObject(name))
