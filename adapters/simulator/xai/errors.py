"""xAI's error answers: `{"code": "…", "error": "text"}`. The wording is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, json
from starlette.responses import Response

from perdure.adapters.simulator.openai.errors import ApiError

CODES: Final[Mapping[int, str]] = {
    400: "invalid-argument",
    401: "unauthenticated",
    404: "not-found",
    405: "unimplemented",
    413: "resource-exhausted",
}
"""What stands under `code` for a status, where the error has none of its own. Ours, after the names of gRPC, on which
xAI's service runs."""


class ErrorAnswer(Struct, frozen=True):
    """The whole body of an error answer."""

    code: str
    error: str


def error_response(error: ApiError) -> Response:
    """The answer for an error."""
    said = error.answer.error
    body = ErrorAnswer(CODES.get(error.status, said.code or said.type), said.message)
    return Response(json.encode(body), error.status, media_type="application/json")
