"""JSON request bodies, decoded strictly into structs; what is wrong with them becomes OpenAI's error answers."""

from __future__ import annotations

import re
from typing import TypeVar

from msgspec import DecodeError, Struct, ValidationError, json
from starlette.requests import Request

from perdure.adapters.simulator.bodies import BodyTooLong, read_whole
from perdure.adapters.simulator.openai.errors import ApiError, invalid, missing

S = TypeVar("S", bound=Struct)

_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_REQUIRED = re.compile(r"required field `([^`]*)`")
_PLACE = re.compile(r"`\$\.([^`]*)`")


async def read_body(request: Request) -> bytes:
    """The whole body. Raises `ApiError` 413 when it is longer than is read."""
    try:
        return await read_whole(request)
    except BodyTooLong as error:
        raise ApiError(413, f"The body is longer than {error.limit} bytes.") from error


def decode(body: bytes, type_: type[S]) -> S:
    """Decodes a JSON body. Raises `ApiError` 400 that names the parameter, where one can be named."""
    try:
        return json.decode(body, type=type_)
    except ValidationError as error:
        raise explain(str(error)) from error
    except DecodeError as error:
        raise ApiError(400, f"The body is not JSON: {error}.") from error


def explain(text: str) -> ApiError:
    """What msgspec says of a body or form that does not fit, as OpenAI would say it."""
    if unknown := _UNKNOWN.search(text):
        return invalid(f"There is no parameter '{unknown[1]}'.", unknown[1], "unknown_parameter")
    if required := _REQUIRED.search(text):
        return missing(required[1])
    if place := _PLACE.search(text):
        return invalid(f"The parameter '{place[1]}' is wrong: {text}.", place[1], "invalid_type")
    return ApiError(400, f"The body is wrong: {text}.")
