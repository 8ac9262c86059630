"""JSON request bodies; what is wrong with them becomes Google's error answers.

As everywhere at Google a field may be spelled in camel case or in snake case (protobuf's JSON mapping); its own client
sends both.
"""

from __future__ import annotations

import re
from typing import TypeVar, cast

from msgspec import DecodeError, Struct, ValidationError, convert, json
from starlette.requests import Request

from perdure.adapters.simulator.bodies import MAX_BODY_BYTES, BodyTooLong, read_whole
from perdure.adapters.simulator.google.errors import ApiError, invalid

S = TypeVar("S", bound=Struct)

_SNAKE = re.compile(r"_([a-z0-9])")


async def read_body(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body. Raises `ApiError` 400 when it is too long."""
    try:
        return await read_whole(request, max_bytes=max_bytes)
    except BodyTooLong as error:
        raise ApiError(400, f"Request payload size exceeds the limit: {error.limit} bytes.") from error


def decode(body: bytes, type_: type[S], *, any_case: bool = True) -> S:
    """Decodes a JSON body; the names of the fields of `type_` are in camel case, or exactly those of the body without
    `any_case`. Raises `ApiError` 400."""
    try:
        if not any_case or b"_" not in body:  # no name can be in snake case
            return json.decode(body, type=type_)
        return convert(_in_camel_case(json.decode(body)), type_)
    except ValidationError as error:
        raise invalid(f"Invalid JSON payload received. {error}", "body") from error
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"Invalid JSON payload received. {error}") from error


def camel_case(name: str) -> str:
    """A field's name in camel case."""
    return _SNAKE.sub(_upper, name)


def _in_camel_case(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {camel_case(name): _in_camel_case(inner) for name, inner in fields.items()}
    if isinstance(value, list):
        return [_in_camel_case(inner) for inner in cast("list[object]", value)]
    return value


def _upper(found: re.Match[str]) -> str:
    return found[1].upper()
