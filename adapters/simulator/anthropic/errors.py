"""Anthropic's error answers.

Shape, types and codes: `contracts/providers.md` section 2 and the types of Anthropic's Python SDK 2.11 (20 November
2026): `{"type": "error", "error": {"type", "message", "details"}, "request_id"}`. The wording of messages is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct, json
from starlette.responses import Response

TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type of an error by its status; others are `invalid_request_error`, and `api_error` from 500 up."""


class Details(Struct, frozen=True):
    """What a program may go by: a code that stays the same whatever the message says."""

    error_code: str


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """What stands under `error`."""

    type: str
    message: str
    details: Details | None = None


class ErrorAnswer(Struct, frozen=True):
    """The whole body of an error answer."""

    error: ErrorBody
    request_id: str
    type: Literal["error"] = "error"


class ApiError(Exception):
    """Ends a request with an error answer. `error_code` stands in its details, "" for an answer without."""

    def __init__(self, status: int, message: str, *, error_code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(error_type(status), message, Details(error_code) if error_code else None)


def error_type(status: int) -> str:
    """The type of the errors with this status."""
    return TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def error_response(error: ApiError, request_id: str) -> Response:
    """The answer for an `ApiError` to the request with this id."""
    return Response(json.encode(ErrorAnswer(error.body, request_id)), error.status, media_type="application/json")


def invalid(message: str) -> ApiError:
    """400: the request is wrong. Messages begin with the place, such as `messages.0.content: …`."""
    return ApiError(400, message)


def no_such_file(id_: str) -> ApiError:
    """404: there is no file with this id, or none of this account's."""
    return ApiError(404, f"File not found: {id_}")


def file_expired(id_: str) -> ApiError:
    """404: the file's time is over, so its bytes are gone."""
    return ApiError(404, f"The file {id_} has expired.", error_code="file_expired")


def usual_error(status: int, request_id: str) -> bytes:
    """The body of an answer with this status when nothing more is known about it."""
    messages = {429: "Too many requests.", 529: "Overloaded"}
    message = messages.get(status, "Internal server error" if status >= 500 else "The request was refused.")
    return json.encode(ErrorAnswer(ErrorBody(error_type(status), message), request_id))
