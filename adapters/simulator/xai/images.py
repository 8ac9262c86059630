"""xAI's images: generations and edits, both in JSON. They are JPEGs, as base64 or under an address."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.media.pictures import Picture
from perdure.adapters.simulator.media.sales import is_blocked
from perdure.adapters.simulator.media.sizes import NotARatio, picture_size
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing
from perdure.adapters.simulator.openai.given import Given, check_model, check_prompt, read_given
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.xai.making import (
    IMAGE_TICKS,
    RESULT_LIFE_S,
    RESULTS,
    Cost,
    FileOutput,
    Source,
    StorageOptions,
    Studio,
    gone,
    result_url,
)

MAX_PROMPT: Final = 32_000
"""The longest prompt, in characters. Ours; xAI states none."""

MAX_SOURCES: Final = 5
"""How many images an edit may have. Ours."""

EDGES: Final = {"1k": 1_024, "2k": 2_048}
"""The edge of a square, in pixels, by the word that asks for it."""

_KIND: Final = "xai-result"


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: str
    model: str = "grok-imagine-image"
    n: Annotated[int, Meta(ge=1, le=10)] = 1
    aspect_ratio: str = "1:1"
    resolution: Literal["1k", "2k"] = "1k"
    response_format: Literal["url", "b64_json"] = "url"
    storage_options: StorageOptions | None = None
    user: str = ""


class _AskedEdit(_Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    image: Source | None = None
    images: tuple[Source, ...] = ()


class ImageItem(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One picture of an answer. What moderation holds back has neither bytes nor an address."""

    respect_moderation: bool
    revised_prompt: str = ""
    b64_json: str | None = None
    url: str | None = None
    file_output: FileOutput | None = None


class ImagesAnswer(Struct, frozen=True):
    """The answer of both routes."""

    data: list[ImageItem]
    usage: Cost


class _Result(Struct, frozen=True):
    """What is kept of a picture that is given out under an address. `wrong` is sent instead of it."""

    picture: Picture
    wrong: str | None


_decode: Final = json.Decoder(_Result).decode


class Images:
    """The image routes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._world = studio.world

    def routes(self) -> list[Route]:
        """The routes, below `/xai/v1`."""
        return [
            Route("/images/generations", self._generate, methods=["POST"]),
            Route("/images/edits", self._edit, methods=["POST"]),
            Route(RESULTS + "{id}.jpeg", self._result, methods=["GET"]),
        ]

    async def _generate(self, request: Request) -> Response:
        given = await _read_json(request)
        asked = given.read(_Asked)
        return await self._answer(request, given, asked, self._picture(asked))

    async def _edit(self, request: Request) -> Response:
        given = await _read_json(request)
        asked = given.read(_AskedEdit)
        picture = self._picture(asked)
        sources = ([] if asked.image is None else [asked.image]) + list(asked.images)
        if not sources:
            raise missing("image")
        if len(sources) > MAX_SOURCES:
            raise invalid(f"There may be {MAX_SOURCES} images at most.", "images")
        first, *others = [await self._studio.picture(source, "image") for source in sources]
        salts = [hashlib.sha256(data or b"").hexdigest() for data in others]
        picture = replace(picture, under=first or b"", salt="".join(salts))
        return await self._answer(request, given, asked, picture)

    def _picture(self, asked: _Asked) -> Picture:
        """The picture that is asked for. Raises `ApiError` 400 and 404."""
        check_model(asked.model)
        check_prompt(asked.prompt, MAX_PROMPT)
        if asked.storage_options is not None:
            asked.storage_options.check()
        try:
            width, height = picture_size(asked.aspect_ratio, EDGES[asked.resolution])
        except NotARatio as error:
            raise invalid(f"{error}.", "aspect_ratio") from error
        return Picture(seed=self._world.seed, prompt=asked.prompt, width=width, height=height, format="jpeg")

    async def _answer(self, request: Request, given: Given, asked: _Asked, picture: Picture) -> Response:
        identity = request.headers.get("x-client-request-id", "")
        if asked.storage_options is not None:
            identity = asked.storage_options.filename
        id_, mishap = await self._world.storage.run(
            lambda tables: self._studio.sales.sell(
                tables, "image", id_prefix="image_", identity=identity, payload=given.payload
            )
        )
        items = (
            []
            if mishap.empty
            else [
                await self._item(
                    request, asked, replace(picture, salt=f"{picture.salt}{n or ''}"), f"{id_}-{n}", mishap
                )
                for n in range(asked.n)
            ]
        )
        return json_response(ImagesAnswer(items, Cost(IMAGE_TICKS * asked.n)))

    async def _item(self, request: Request, asked: _Asked, picture: Picture, id_: str, mishap: Mishap) -> ImageItem:
        if is_blocked(asked.prompt):
            return ImageItem(respect_moderation=False)
        made = await self._studio.make(picture, mishap)
        kept = None
        if asked.storage_options is not None:
            kept = await self._studio.keep(made, "image/jpeg", asked.storage_options)
        item = ImageItem(respect_moderation=True, revised_prompt=asked.prompt, file_output=kept)
        if asked.response_format == "b64_json":
            return replace(item, b64_json=b64encode(made).decode())
        until = self._world.clock.now() + RESULT_LIFE_S

        def add(tables: Tables) -> None:
            tables.add(_KIND, id_, json.encode(_Result(picture, mishap.wrong)), until=until)

        await self._world.storage.run(add)
        return replace(item, url=result_url(request, f"{id_}.jpeg"))

    async def _result(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        now = self._world.clock.now()
        doc = await self._world.storage.run(lambda tables: tables.get(_KIND, id_, now))
        if doc is None:
            raise gone()
        result = _decode(doc)
        made = await self._studio.make(result.picture, Mishap(wrong=result.wrong))
        return self._studio.download(made, "image/jpeg")


async def _read_json(request: Request) -> Given:
    given = await read_given(request)
    if given.body is None:
        raise ApiError(400, "The body must be JSON.")
    return given
