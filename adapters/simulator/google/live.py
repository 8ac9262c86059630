"""Google's live requests: `:generateContent`, answered with words, a picture or a recording."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.google.answers import Asked, answer, blocked, is_blocked, made, read_request
from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import read_body
from perdure.adapters.simulator.google.errors import no_such_model
from perdure.adapters.simulator.google.files import json_response
from perdure.adapters.simulator.google.filestore import GoogleFiles
from perdure.adapters.simulator.google.images import IMAGE_TOKENS, drawn
from perdure.adapters.simulator.google.making import Studio, check_libraries, identity_of, payload_of
from perdure.adapters.simulator.google.speech import MIME_TYPE, speech_tokens, spoken
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.media.faults import MediaKind
from perdure.adapters.simulator.media.operations import Mishap
from perdure.adapters.simulator.media.sales import BLOCKED
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World


class Live:
    """The live route."""

    def __init__(self, world: World, files: GoogleFiles, studio: Studio) -> None:
        self._world = world
        self._files = files
        self._studio = studio

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
        modality = asked.modality()
        if modality == "IMAGE":
            return await self._draw(request, asked, body, model)
        if modality == "AUDIO":
            return await self._say(request, asked, body, model)
        if is_blocked(asked):
            return json_response(blocked(asked, model))

        def buy(tables: Tables) -> dict[str, Any]:
            for uri in asked.files():
                self._files.find_active(tables, uri)
            now, ordinal = self._world.clock.now(), tables.next_ordinal("google-live")
            id_ = digest(self._world.seed, "google-live", ordinal)[:24]
            payload = hashlib.sha256(f"models/{model}:generateContent\n".encode() + body).hexdigest()
            record_purchase(tables, Purchase("google", "text", id_, identity_of(request), 1, now, payload))
            return answer(asked, body, model=model, seed=self._world.seed, id_=id_)

        return json_response(await self._world.storage.run(buy))

    async def _draw(self, request: Request, asked: Asked, body: bytes, model: str) -> Response:
        check_libraries()
        prompt = asked.prompt()
        picture = drawn(prompt, asked.generation_config.image_config, self._world.seed)
        salts = [await self._studio.check_picture(data, "contents") for data in asked.pictures()]
        picture = replace(picture, salt="".join(salts))
        if is_blocked(asked):
            return json_response(blocked(asked, model))
        id_, mishap = await self._world.storage.run(self._sold(request, asked, body, "image"))
        if BLOCKED in prompt:
            return json_response(made([], "IMAGE_SAFETY", prompt, model, id_, kind="IMAGE", tokens=0))
        parts: list[dict[str, Any]] = []
        if "TEXT" in {name.upper() for name in asked.generation_config.response_modalities}:
            parts.append({"text": "Here it is."})
        if not mishap.empty:
            data = b64encode(await self._studio.make(picture, mishap)).decode()
            parts.append({"inlineData": {"mimeType": "image/png", "data": data}})
        return json_response(made(parts, "STOP", prompt, model, id_, kind="IMAGE", tokens=IMAGE_TOKENS))

    async def _say(self, request: Request, asked: Asked, body: bytes, model: str) -> Response:
        check_libraries()
        prompt = asked.prompt()
        sound = spoken(prompt, asked.generation_config.speech_config, self._world.seed)
        if is_blocked(asked):
            return json_response(blocked(asked, model))
        id_, mishap = await self._world.storage.run(self._sold(request, asked, body, "audio"))
        if BLOCKED in prompt:
            return json_response(made([], "PROHIBITED_CONTENT", prompt, model, id_, kind="AUDIO", tokens=0))
        parts: list[dict[str, Any]] = []
        if not mishap.empty:
            data = b64encode(await self._studio.make(sound, mishap)).decode()
            parts.append({"inlineData": {"mimeType": MIME_TYPE, "data": data}})
        return json_response(made(parts, "STOP", prompt, model, id_, kind="AUDIO", tokens=speech_tokens(sound)))

    def _sold(
        self, request: Request, asked: Asked, body: bytes, kind: MediaKind
    ) -> Callable[[Tables], tuple[str, Mishap]]:
        """What sells one thing, in a transaction: its id, and what goes wrong with it."""

        def sell(tables: Tables) -> tuple[str, Mishap]:
            for uri in asked.files():
                self._files.find_active(tables, uri)
            return self._studio.sales.sell(
                tables, kind, id_prefix=f"{kind}-", identity=identity_of(request), payload=payload_of(request, body)
            )

        return sell
