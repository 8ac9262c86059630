"""OpenAI's speech: a text becomes a recording, as bytes or as server-sent events."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.media.sales import Sales
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.media.sounds import Sound, SoundFormat, makeable
from perdure.adapters.simulator.openai.errors import ApiError, invalid
from perdure.adapters.simulator.openai.given import check_model, check_prompt, read_given
from perdure.adapters.simulator.speech import count_tokens
from perdure.adapters.simulator.world import World

MAX_INPUT: Final = 4_096
"""The longest text, in characters (`contracts/providers.md` section 1.4)."""

TOKENS_A_SECOND: Final = 20
"""How many tokens a second of speech is taken for. Ours."""

CONTENT_TYPES: Final[dict[SoundFormat, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

_EVENT_BYTES: Final = 48 << 10


class _Voice(Struct, frozen=True, forbid_unknown_fields=True):
    id: str


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: str
    input: str
    voice: str | _Voice
    instructions: str = ""
    response_format: SoundFormat = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


class _Delta(Struct, frozen=True, tag_field="type", tag="speech.audio.delta"):
    audio: str


class _Usage(Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class _Done(Struct, frozen=True, tag_field="type", tag="speech.audio.done"):
    usage: _Usage


class Speech:
    """The speech route."""

    def __init__(self, world: World, *, shelf: Shelf, sales: Sales) -> None:
        self._world = world
        self._shelf = shelf
        self._sales = sales

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [Route("/audio/speech", self._speak, methods=["POST"])]

    async def _speak(self, request: Request) -> Response:
        given = await read_given(request)
        if given.body is None:
            raise ApiError(400, "The body must be JSON.")
        asked = given.read(_Asked)
        check_model(asked.model)
        check_prompt(asked.input, MAX_INPUT, "input")
        if not makeable(asked.response_format):
            raise invalid(
                f"The PyAV of this simulator cannot make {asked.response_format}.",
                "response_format",
                "unsupported_value",
            )
        if asked.stream_format == "sse" and asked.model.startswith("tts-1"):
            raise invalid(f"The model '{asked.model}' has no events.", "stream_format")
        identity = request.headers.get("x-client-request-id", "")
        _, mishap = await self._world.storage.run(
            lambda tables: self._sales.sell(
                tables, "audio", id_prefix="speech_", identity=identity, payload=given.payload
            )
        )
        voice = asked.voice if isinstance(asked.voice, str) else asked.voice.id
        sound = Sound(
            seed=self._world.seed,
            text=asked.input,
            voice=f"{voice}\n{asked.instructions}",
            format=asked.response_format,
            speed=asked.speed,
        )
        if mishap.empty:
            made = b""
        elif mishap.wrong is not None:
            made = mishap.wrong.encode()
        else:
            made = await self._shelf.get(sound)
        if asked.stream_format == "sse":
            return Response(_events(made, sound), media_type="text/event-stream")
        return Response(made, headers={"content-type": CONTENT_TYPES[asked.response_format]})


def _events(made: bytes, sound: Sound) -> bytes:
    """A recording as events, with what it used in the last one."""
    pieces = [made[start : start + _EVENT_BYTES] for start in range(0, len(made), _EVENT_BYTES)]
    read, spoken = count_tokens(sound.text), max(1, round(sound.duration_s * TOKENS_A_SECOND))
    events = [*(_Delta(b64encode(piece).decode()) for piece in pieces), _Done(_Usage(read, spoken, read + spoken))]
    return b"".join(b"data: " + json.encode(event) + b"\n\n" for event in events)
