"""The parts of messages, as responses and chat completions take them: what is wrong with one, and what it says.

The simulated models read text; of everything else they say that they saw it: `[image]`, `[audio]`, `[file name]`.
Forms: the types of OpenAI's Python SDK 3.52 (`responses/response_input_content_param.py`,
`chat/chat_completion_content_part_param.py`).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing, no_such

HasFile: TypeAlias = Callable[[str], bool]
"""Whether there is a file with this id now."""


class Address(Struct, frozen=True):
    """What stands under `image_url` in a chat."""

    url: str


class Attached(Struct, frozen=True):
    """What stands under `file` in a chat."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class Recording(Struct, frozen=True):
    """What stands under `input_audio` in a chat."""

    data: str
    format: Literal["wav", "mp3"]


class Part(Struct, frozen=True):
    """A part of a message, of whatever type; all else in it is let pass."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    image_url: str | Address | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    file: Attached | None = None
    input_audio: Recording | None = None


def read_part(part: Part, place: str, *, chat: bool, has_file: HasFile) -> str:
    """What a part says. Raises `ApiError`: 400 for a part that the endpoint does not take, 404 for an unknown file.

    `place` names the part in errors. `chat`: in a chat completion, else in a response.
    """
    match part.type, chat:
        case ("text", True) | ("input_text" | "output_text", False):
            if part.text is None:
                raise missing(f"{place}.text")
            return part.text
        case "refusal", _:
            return part.refusal or ""
        case "image_url", True:
            if not isinstance(part.image_url, Address):
                raise invalid(f"'{place}.image_url' must be an object with a 'url'.", f"{place}.image_url")
            _check_image(part.image_url.url, f"{place}.image_url.url")
            return "[image]"
        case "input_image", False:
            _one_of(place, image_url=part.image_url, file_id=part.file_id)
            if part.file_id is not None:
                _check_file(part.file_id, has_file)
            elif not isinstance(part.image_url, str):
                raise invalid(f"'{place}.image_url' must be text.", f"{place}.image_url", "invalid_type")
            else:
                _check_image(part.image_url, f"{place}.image_url")
            return "[image]"
        case "file", True:
            file = part.file
            if file is None:
                raise missing(f"{place}.file")
            return _read_file(
                Part(file_id=file.file_id, file_data=file.file_data, filename=file.filename), place, has_file
            )
        case "input_file", False:
            return _read_file(part, place, has_file)
        case "input_audio", True:
            if part.input_audio is None:
                raise missing(f"{place}.input_audio")
            _check_base64(part.input_audio.data, f"{place}.input_audio.data")
            return "[audio]"
        case _:
            raise invalid(f"'{place}' has a type that this endpoint does not take: '{part.type}'.", f"{place}.type")


def _read_file(part: Part, place: str, has_file: HasFile) -> str:
    _one_of(place, file_id=part.file_id, file_url=part.file_url, file_data=part.file_data)
    if part.file_id is not None:
        _check_file(part.file_id, has_file)
    elif part.file_data is not None:
        if not part.filename:
            raise missing(f"{place}.filename")
        _check_data_url(part.file_data, f"{place}.file_data")
    return f"[file {part.file_id or part.file_url or part.filename}]"


def _one_of(place: str, **given: object) -> None:
    if sum(value is not None for value in given.values()) != 1:
        raise invalid(f"'{place}' must have exactly one of {', '.join(given)}.", place)


def _check_file(file_id: str, has_file: HasFile) -> None:
    if not has_file(file_id):
        raise no_such("file", file_id)


def _check_image(url: str, place: str) -> None:
    if not url.startswith(("https://", "http://")):
        _check_data_url(url, place)


def _check_data_url(url: str, place: str) -> None:
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise invalid(f"'{place}' must be a data: URL in base64.", place)
    _check_base64(data, place)


def _check_base64(data: str, place: str) -> None:
    try:
        b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"'{place}' is not base64: {error}.", param=place, code="invalid_value") from error
