"""xAI's speech: bytes, or with timestamps a JSON answer with the bytes in it."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.media.sales import is_blocked
from perdure.adapters.simulator.media.shelf import Recipe
from perdure.adapters.simulator.media.sounds import SAMPLE_RATE, Sound, makeable
from perdure.adapters.simulator.openai.errors import ApiError, invalid
from perdure.adapters.simulator.openai.given import check_prompt, read_given
from perdure.adapters.simulator.openai.lists import json_response
from perdure.adapters.simulator.xai.making import Studio

if TYPE_CHECKING:
    from perdure.adapters.simulator.media.pyav import Encoder, Muxer

MAX_TEXT: Final = 15_000
"""The longest text, in characters. Ours."""

Codec = Literal["mp3", "wav", "pcm", "mulaw", "alaw"]

CONTENT_TYPES: Final[dict[Codec, str]] = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}

SAMPLE_RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
"""Those that all codecs here know, in hertz."""


class _Format(Struct, frozen=True, forbid_unknown_fields=True):
    codec: Codec = "mp3"
    sample_rate: int = SAMPLE_RATE
    bit_rate: int | None = None


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: str
    voice_id: str = "eve"
    language: str = "auto"
    output_format: _Format = _Format()
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    with_timestamps: bool = False


class Timed(Struct, frozen=True):
    """The answer with timestamps: the bytes as base64, and how long they are, in seconds.

    What else xAI tells in it, the times of words among it, no description that is followed here gives.
    """

    audio: str
    content_type: str
    duration: float


class Telephone(Struct, frozen=True):
    """A recording in eight bits a sample, by one of the two laws of G.711."""

    sound: Sound
    law: Literal["mulaw", "alaw"]

    def make(self) -> bytes:
        """The bytes. Blocks."""
        import av

        samples = self.sound.samples()
        out = io.BytesIO()
        with av.open(out, "w", format=self.law) as file:
            muxer = cast("Muxer", file)
            stream = muxer.add_stream(f"pcm_{self.law}", rate=self.sound.sample_rate, layout="mono", options={})
            encoder = cast("Encoder", stream)
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
            frame.planes[0].update(samples)
            frame.sample_rate = self.sound.sample_rate
            muxer.mux(encoder.encode(frame))
            muxer.mux(encoder.encode(None))
        return out.getvalue()


class Speech:
    """The speech route."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._world = studio.world

    def routes(self) -> list[Route]:
        """The routes, below `/xai/v1`."""
        return [Route("/tts", self._speak, methods=["POST"])]

    async def _speak(self, request: Request) -> Response:
        given = await read_given(request)
        if given.body is None:
            raise ApiError(400, "The body must be JSON.")
        asked = given.read(_Asked)
        check_prompt(asked.text, MAX_TEXT, "text")
        codec, rate = asked.output_format.codec, asked.output_format.sample_rate
        if rate not in SAMPLE_RATES:
            raise invalid(
                f"'sample_rate' is one of {', '.join(map(str, SAMPLE_RATES))}, not {rate}.", "output_format.sample_rate"
            )
        if codec == "mp3" and not makeable("mp3"):
            raise invalid("The PyAV of this simulator cannot make mp3.", "output_format.codec", "unsupported_value")
        if is_blocked(asked.text):
            raise ApiError(400, "The text was rejected by moderation.", code="content_moderated")
        identity = request.headers.get("x-client-request-id", "")
        _, mishap = await self._world.storage.run(
            lambda tables: self._studio.sales.sell(
                tables, "audio", id_prefix="speech_", identity=identity, payload=given.payload
            )
        )
        sound = Sound(
            seed=self._world.seed,
            text=asked.text,
            voice=f"{asked.voice_id}\n{asked.language}",
            format="pcm",
            speed=asked.speed,
            sample_rate=rate,
        )
        made = b"" if mishap.empty else await self._studio.make(_recipe(sound, codec), mishap)
        if asked.with_timestamps:
            return json_response(Timed(b64encode(made).decode(), CONTENT_TYPES[codec], sound.duration_s))
        return Response(made, headers={"content-type": CONTENT_TYPES[codec]})


def _recipe(sound: Sound, codec: Codec) -> Recipe:
    """What makes a recording in a codec."""
    match codec:
        case "mulaw" | "alaw":
            return Telephone(sound, codec)
        case "mp3" | "wav" | "pcm":
            return replace(sound, format=codec)
