"""Google's models that answer at once: `:generateContent`.

Text is answered with text; media must be there and be readable, and are not looked into.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import decode, read_body
from perdure.adapters.simulator.google.errors import ApiError, invalid, no_such_file
from perdure.adapters.simulator.google.files import json_response
from perdure.adapters.simulator.google.filestore import NAME_PREFIX, GoogleFiles
from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.speech import CHARACTERS_PER_TOKEN, NO_MODEL, count_tokens, speak
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

BLOCKED: Final = "!block"
"""How a prompt begins that is blocked."""


class _Blob(Struct, frozen=True, rename="camel"):
    mime_type: str
    data: str


class _FileData(Struct, frozen=True, rename="camel"):
    file_uri: str
    mime_type: str | None = None


class _Part(Struct, frozen=True, rename="camel"):
    text: str | None = None
    inline_data: _Blob | None = None
    file_data: _FileData | None = None


class _Turn(Struct, frozen=True):
    parts: Sequence[_Part] = ()
    role: Literal["user", "model"] | None = None


class _Settings(Struct, frozen=True, rename="camel"):
    max_output_tokens: int | None = None


class _Asked(Struct, frozen=True, rename="camel"):
    """What of a request decides its answer. All else in it is let pass."""

    contents: Sequence[_Turn] = ()
    generation_config: _Settings = _Settings()
    system_instruction: _Turn | None = None


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
            raise ApiError(404, f"models/{model} is not found for API version {version}.")
        body = await read_body(request)
        asked = decode(body, _Asked)
        if not asked.contents or not all(turn.parts for turn in asked.contents):
            raise invalid("* GenerateContentRequest.contents: contents is not specified", "contents")
        parts = [part for turn in asked.contents for part in turn.parts]
        for part in parts:
            _check_part(part)
        prompt = "\n".join(part.text for part in parts if part.text)
        if prompt.startswith(BLOCKED):
            return json_response(_blocked(prompt, model))

        def buy(tables: Tables) -> dict[str, Any]:
            for part in parts:
                if part.file_data is not None:
                    self._check_file(tables, part.file_data.file_uri)
            now, ordinal = self._world.clock.now(), tables.next_ordinal("google-live")
            id_ = digest(self._world.seed, "google-live", ordinal)[:24]
            endpoint = f"models/{model}:generateContent"
            text = speak(prompt, seed=self._world.seed, endpoint=endpoint, body=body)
            payload = hashlib.sha256(endpoint.encode() + b"\n" + body).hexdigest()
            record_purchase(tables, Purchase("google", "text", id_, "", 1, now, payload))
            return _said(text, prompt, model, id_, asked.generation_config.max_output_tokens)

        return json_response(await self._world.storage.run(buy))

    def _check_file(self, tables: Tables, uri: str) -> None:
        id_ = uri.rpartition(NAME_PREFIX)[2]
        file = self._files.find(tables, id_)
        if file is None:
            raise no_such_file(id_)
        if self._files.state(tables, file)[0] != "ACTIVE":
            raise ApiError(
                400,
                f"The File {id_} is not in an ACTIVE state and usage is not allowed.",
                status="FAILED_PRECONDITION",
            )


def _check_part(part: _Part) -> None:
    given = [value for value in (part.text, part.inline_data, part.file_data) if value is not None]
    if len(given) != 1:
        raise invalid("A part has one of 'text', 'inlineData' and 'fileData'.", "contents.parts")
    if part.inline_data is not None:
        try:
            b64decode(part.inline_data.data, validate=True)
        except binascii.Error as error:
            raise invalid(f"'data' is not base64: {error}.", "contents.parts.inline_data.data") from error


def _said(text: str, prompt: str, model: str, id_: str, max_tokens: int | None) -> dict[str, Any]:
    reason = "STOP"
    if max_tokens is not None and count_tokens(text) > max_tokens:
        text, reason = text[: max_tokens * CHARACTERS_PER_TOKEN], "MAX_TOKENS"
    read, written = count_tokens(prompt), count_tokens(text)
    return {
        "candidates": [
            {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": reason, "index": 0},
        ],
        "usageMetadata": {
            "promptTokenCount": read,
            "candidatesTokenCount": written,
            "totalTokenCount": read + written,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": read}],
        },
        "modelVersion": model,
        "responseId": id_,
    }


def _blocked(prompt: str, model: str) -> dict[str, Any]:
    read = count_tokens(prompt)
    return {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": read, "totalTokenCount": read},
        "modelVersion": model,
    }
