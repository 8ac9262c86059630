"""Anthropic's models: two in the list, any other name but `nope` is taken too."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.anthropic.errors import ApiError
from perdure.adapters.simulator.speech import NO_MODEL

LISTED_MODELS: Final = ("claude-sonnet-5-5", "claude-haiku-5-5")

MODELS_SINCE: Final = "2026-01-01T00:00:00Z"
"""When the models were made. Ours."""


class ModelObject(Struct, frozen=True):
    """A model."""

    id: str
    display_name: str
    created_at: str = MODELS_SINCE
    lifecycle: Literal["active"] = "active"
    type: Literal["model"] = "model"


class ModelList(Struct, frozen=True):
    """All models, as one page."""

    data: tuple[ModelObject, ...]
    first_id: str
    last_id: str
    has_more: bool = False


def models_routes() -> list[Route]:
    """The routes, below `/anthropic`."""
    return [Route("/v1/models", _list, methods=["GET"]), Route("/v1/models/{id}", _get, methods=["GET"])]


def no_such_model(model: str) -> ApiError:
    """404: there is no such model."""
    return ApiError(404, f"model: {model}")


async def _list(request: Request) -> Response:
    models = tuple(ModelObject(name, name) for name in LISTED_MODELS)
    return Response(json.encode(ModelList(models, models[0].id, models[-1].id)), media_type="application/json")


async def _get(request: Request) -> Response:
    name: str = request.path_params["id"]
    if name == NO_MODEL:
        raise no_such_model(name)
    return Response(json.encode(ModelObject(name, name)), media_type="application/json")
