"""What Google's simulated models answer to the body of a `GenerateContentRequest`, live and in a batch alike.

Text is answered with text; media must be there and be readable, and are not looked into.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from perdure.adapters.simulator.google.bodies import decode
from perdure.adapters.simulator.google.errors import invalid
from perdure.adapters.simulator.speech import CHARACTERS_PER_TOKEN, count_tokens, speak

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


class Asked(Struct, frozen=True, rename="camel"):
    """What of a request decides its answer. All else in it is let pass."""

    contents: Sequence[_Turn] = ()
    generation_config: _Settings = _Settings()
    system_instruction: _Turn | None = None

    def prompt(self) -> str:
        """All its texts."""
        return "\n".join(part.text for turn in self.contents for part in turn.parts if part.text)

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


def answer(asked: Asked, body: bytes, *, model: str, seed: int, id_: str, salt: str = "") -> dict[str, Any]:
    """The answer to a request, whose body it was; `salt` changes its text."""
    prompt = asked.prompt()
    if prompt.startswith(BLOCKED):
        return _blocked(prompt, model)
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


def _blocked(prompt: str, model: str) -> dict[str, Any]:
    read = count_tokens(prompt)
    return {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": read, "totalTokenCount": read},
        "modelVersion": model,
    }
