"""What Google's simulated models answer to the body of a `GenerateContentRequest`, live and in a batch alike.

Text is answered with text; media must be there and be readable, and are not looked into.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from perdure.adapters.simulator.google.bodies import decode
from perdure.adapters.simulator.google.errors import invalid
from perdure.adapters.simulator.google.images import ImageConfig
from perdure.adapters.simulator.google.speech import SpeechConfig
from perdure.adapters.simulator.media.sales import BLOCKED
from perdure.adapters.simulator.speech import CHARACTERS_PER_TOKEN, count_tokens, speak


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
    response_modalities: Sequence[str] = ()
    image_config: ImageConfig = ImageConfig()
    speech_config: SpeechConfig = SpeechConfig()


class Asked(Struct, frozen=True, rename="camel"):
    """What of a request decides its answer. All else in it is let pass."""

    contents: Sequence[_Turn] = ()
    generation_config: _Settings = _Settings()
    system_instruction: _Turn | None = None

    def prompt(self) -> str:
        """All its texts."""
        return "\n".join(part.text for turn in self.contents for part in turn.parts if part.text)

    def modality(self) -> Literal["TEXT", "IMAGE", "AUDIO"]:
        """What shall come: words, a picture (with words beside it or not), or a recording. Raises `ApiError` 400."""
        modalities = {name.upper() for name in self.generation_config.response_modalities}
        if modalities <= {"TEXT"}:
            return "TEXT"
        if modalities <= {"TEXT", "IMAGE"}:
            return "IMAGE"
        if modalities == {"AUDIO"}:
            return "AUDIO"
        raise invalid(
            f"The response modalities are TEXT, IMAGE, both, or AUDIO, not {', '.join(sorted(modalities))}.",
            "generation_config.response_modalities",
        )

    def pictures(self) -> list[str]:
        """The images that came with it, as base64."""
        return [
            part.inline_data.data
            for turn in self.contents
            for part in turn.parts
            if part.inline_data is not None and part.inline_data.mime_type.startswith("image/")
        ]

    def files(self) -> list[str]:
        """The URIs of the files that it names."""
        return [part.file_data.file_uri for turn in self.contents for part in turn.parts if part.file_data is not None]


def read_request(body: bytes) -> Asked:
    """What a request asks. Raises `ApiError` 400."""
    asked = decode(body, Asked)
    if not asked.contents or not all(turn.parts for turn in asked.contents):
        raise invalid("* GenerateContentRequest.contents: contents is not specified", "contents")
    for turn in asked.contents:
        for part in turn.parts:
            _check_part(part)
    return asked


def is_blocked(asked: Asked) -> bool:
    """Whether it is answered with a reason instead of an answer."""
    return asked.prompt().startswith(BLOCKED)


def blocked(asked: Asked, model: str) -> dict[str, Any]:
    """The answer to what is blocked."""
    read = count_tokens(asked.prompt())
    return {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": read, "totalTokenCount": read},
        "modelVersion": model,
    }


def made(
    parts: list[dict[str, Any]], reason: str, prompt: str, model: str, id_: str, *, kind: str, tokens: int
) -> dict[str, Any]:
    """An answer that holds media, or nothing: `kind` is what they are, `tokens` what they are counted as."""
    read = count_tokens(prompt)
    candidate: dict[str, Any] = {"finishReason": reason, "index": 0}
    if reason == "STOP":
        candidate["content"] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    used: dict[str, Any] = {
        "promptTokenCount": read,
        "totalTokenCount": read + tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": read}],
    }
    if tokens:
        used |= {
            "candidatesTokenCount": tokens,
            "candidatesTokensDetails": [{"modality": kind, "tokenCount": tokens}],
        }
    return {"candidates": [candidate], "usageMetadata": used, "modelVersion": model, "responseId": id_}


def answer(asked: Asked, body: bytes, *, model: str, seed: int, id_: str, salt: str = "") -> dict[str, Any]:
    """The answer to a request, whose body it was; `salt` changes its text."""
    if is_blocked(asked):
        return blocked(asked, model)
    prompt = asked.prompt()
    text = speak(prompt, seed=seed, endpoint=f"models/{model}:generateContent", body=body, salt=salt)
    return _said(text, prompt, model, id_, asked.generation_config.max_output_tokens)


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
