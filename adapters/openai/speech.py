"""OpenAI's speech: asked in JSON, answered with the bytes of a recording.

Sources: `contracts/providers.md` section 1.4, section 2.8 of `contracts/media-files-batch.md` (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import HttpAnswer, Unknown
from perdure.actors.media.ports import MadeItem, MediaAnswer
from perdure.adapters.answers import media_type
from perdure.adapters.network.answers import request_id
from perdure.adapters.openai.account import NAME
from perdure.events.errors import InvalidRequest, TooLarge, shorten
from perdure.events.media import SpeechRequest

SPEECH: Final = "/audio/speech"

PARAMETERS: Final = frozenset({"voice", "format", "speed", "instructions"})

VOICES: Final[Mapping[str, str]] = {"neutral": "alloy", "warm": "coral", "bright": "shimmer", "deep": "echo"}
"""What neutral words stand for; any other voice is OpenAI's own name for it (section 2.8)."""

DEFAULT_VOICE: Final = "alloy"

LONGEST_TEXT: Final = 4_096
"""Characters (section 1.4)."""

SPEEDS: Final = (0.25, 4.0)
"""The slowest and the fastest (section 1.4)."""

SAMPLE_RATE_HZ: Final = 24_000
"""Of bare samples (section 1.4)."""

TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""What each format is called as a type; mp3 is the usual one (section 1.4)."""

_BYTES: Final = ("", "application/octet-stream", "binary/octet-stream")


class _Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: str
    input: str
    voice: str
    response_format: str | None = None
    speed: float | None = None
    instructions: str | None = None


def check(request: SpeechRequest) -> None:
    """Raises `InvalidRequest`, `TooLarge` for values that OpenAI never takes."""
    if len(request.text) > LONGEST_TEXT:
        size = len(request.text)
        raise TooLarge(
            f"the text has {size} characters: {NAME} takes {LONGEST_TEXT}", limit=LONGEST_TEXT, size=size, field="text"
        )
    if request.format is not None and request.format not in TYPES:
        raise InvalidRequest(
            f"format is {request.format!r}: one of {', '.join(TYPES)}",
            field="format",
            limit=", ".join(TYPES),
            value=request.format,
        )
    slowest, fastest = SPEEDS
    if request.speed is not None and not slowest <= request.speed <= fastest:
        raise InvalidRequest(
            f"speed is {request.speed}: from {slowest} to {fastest}", field="speed", limit=fastest, value=request.speed
        )


def render(request: SpeechRequest, model: str) -> tuple[str, bytes]:
    """Path and body."""
    voice = request.voice or DEFAULT_VOICE
    body = _Body(
        model=model,
        input=request.text,
        voice=VOICES.get(voice, voice),
        response_format=request.format,
        speed=request.speed,
        instructions=request.instructions,
    )
    return SPEECH, msgspec.json.encode(body)


def read(request: SpeechRequest, answer: HttpAnswer) -> MediaAnswer:
    """The recording. No usage comes with it (section 1.4).

    Raises `Unknown` for an answer whose content type is none of audio: it may be paid for all the same (W-43).
    """
    said = media_type(answer.headers)
    if not said.startswith("audio/") and said not in _BYTES:
        raise Unknown(
            f"the provider took the request, but its answer is no audio: its content type is {shorten(said)}; it begins"
            f" {shorten(answer.body[:40])}",
            status=answer.status,
            provider_request_id=request_id(answer.headers),
        )
    # What was asked for is believed over the header: whether it came is judged by the bytes.
    asked = TYPES[request.format or "mp3"]
    rate = SAMPLE_RATE_HZ if request.format == "pcm" else None
    return MediaAnswer(items=[MadeItem(data=answer.body, mime_type=asked, sample_rate_hz=rate)])
