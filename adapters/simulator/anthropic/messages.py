"""Anthropic's messages: one answer to a conversation, whole. Streams are not played.

Sources: Anthropic's Python SDK 2.11 (20 November 2026), `types/message_create_params.py`, `types/message.py`; for what
version 2026-10-21 refuses, its migration guide (21 October 2026).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import DecodeError, Struct, ValidationError, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.anthropic.content import Block, Reader, Turn
from perdure.adapters.simulator.anthropic.errors import ApiError, invalid
from perdure.adapters.simulator.anthropic.files import Files
from perdure.adapters.simulator.anthropic.headers import OLD_VERSION, version_of
from perdure.adapters.simulator.anthropic.models import no_such_model
from perdure.adapters.simulator.bodies import BodyTooLong, read_whole
from perdure.adapters.simulator.speech import CHARACTERS_PER_TOKEN, NO_MODEL, count_tokens, speak
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

MAX_REQUEST_BYTES: Final = 32 << 20
"""The longest request, 32 MB (Anthropic's documentation of errors, read as binary)."""

ENDPOINT: Final = "/v1/messages"

FIELDS: Final = frozenset(
    {
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
    }
)
"""The fields of a request."""

OLD_FIELDS: Final = frozenset({"temperature", "top_k", "top_p"})
"""Fields that only the old version has; with the new one they are refused, whatever their value."""


ServiceTier = Literal["standard", "batch"]
"""How an answer was bought."""


class _Asked(Struct, frozen=True):
    """What of a request decides its answer."""

    model: str
    max_tokens: int
    messages: list[Turn]
    system: str | list[Block] | None = None
    stream: bool | None = None


class CacheCreation(Struct, frozen=True):
    """How much was written into the cache: never anything."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class Usage(Struct, frozen=True):
    """Tokens."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation = CacheCreation()
    service_tier: ServiceTier = "standard"


class TextBlock(Struct, frozen=True):
    """A text of an answer."""

    text: str
    citations: None = None
    type: Literal["text"] = "text"


class MessageBody(Struct, frozen=True):
    """An answer."""

    id: str
    model: str
    content: Sequence[TextBlock]
    stop_reason: Literal["end_turn", "max_tokens"]
    usage: Usage
    stop_sequence: None = None
    role: Literal["assistant"] = "assistant"
    type: Literal["message"] = "message"


class Messages:
    """The route of messages."""

    def __init__(self, world: World, files: Files) -> None:
        self._world = world
        self._files = files

    def routes(self) -> list[Route]:
        """The routes, below `/anthropic`."""
        return [Route(ENDPOINT, self._create, methods=["POST"])]

    async def _create(self, request: Request) -> Response:
        version = version_of(request)
        try:
            body = await read_whole(request, max_bytes=MAX_REQUEST_BYTES)
        except BodyTooLong as error:
            raise ApiError(413, f"The request is longer than {error.limit} bytes.") from error
        mark = request.headers.get("x-client-request-id", "")
        now = self._world.clock.now()

        def buy(tables: Tables) -> MessageBody:
            store = self._files.store
            reader = Reader(lambda id_: store.find(tables, id_), store.is_expired, version)
            id_ = self._world.new_id(tables, "msg_")
            message = answered(body, id_, reader=reader, version=version, seed=self._world.seed)
            payload = hashlib.sha256(ENDPOINT.encode() + b"\n" + body).hexdigest()
            record_purchase(tables, Purchase("anthropic", "text", message.id, mark, 1, now, payload))
            return message

        message = await self._world.storage.run(buy)
        return Response(json.encode(message), media_type="application/json")


def answered(
    body: bytes, id_: str, *, reader: Reader, version: str, seed: int, tier: ServiceTier = "standard", salt: str = ""
) -> MessageBody:
    """The answer called `id_` to the body of a request, whose turns `reader` reads; `salt` changes its text.

    Raises `ApiError` for what is refused.
    """
    asked = _decode(body, version)
    prompt = reader.prompt(asked.messages)
    text = speak(prompt, seed=seed, endpoint=ENDPOINT, body=body, salt=salt)
    cut = count_tokens(text) > asked.max_tokens
    if cut:
        text = text[: asked.max_tokens * CHARACTERS_PER_TOKEN]
    return MessageBody(
        id_,
        asked.model,
        (TextBlock(text),),
        "max_tokens" if cut else "end_turn",
        Usage(count_tokens(_system(asked) + prompt), count_tokens(text), service_tier=tier),
    )


def _decode(body: bytes, version: str) -> _Asked:
    try:
        fields: dict[str, Any] = json.decode(body, type=dict[str, Any])
    except (DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The request body is not a JSON object: {error}.") from error
    known = FIELDS | OLD_FIELDS if version == OLD_VERSION else FIELDS
    for name in sorted(fields.keys() - known):
        raise invalid(f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if name not in fields:
            raise invalid(f"{name}: Field required")
    try:
        asked = json.decode(body, type=_Asked)
    except ValidationError as error:
        raise invalid(str(error)) from error
    if asked.max_tokens < 1:
        raise invalid("max_tokens: must be greater than or equal to 1")
    if asked.model == NO_MODEL:
        raise no_such_model(asked.model)
    if asked.stream:
        raise invalid("stream: this simulator does not stream answers")
    return asked


def _system(asked: _Asked) -> str:
    if isinstance(asked.system, str):
        return asked.system
    return "\n".join(block.text or "" for block in asked.system or ())
