"""OpenAI's error answers.

Shape and codes as recorded in `docs/simulator.md`: `{"error": {"message", "type", "param", "code"}}`. The wording of
the messages is ours.
"""

from __future__ import annotations

from msgspec import Struct, json
from starlette.responses import Response


class ErrorBody(Struct, frozen=True):
    """What stands under `error`."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Struct, frozen=True):
    """The whole body of an error answer."""

    error: ErrorBody


class ApiError(Exception):
    """Ends a request with an error answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.answer = ErrorAnswer(ErrorBody(message, type_, param, code))


def error_response(error: ApiError) -> Response:
    """The answer for an `ApiError`."""
    return Response(json.encode(error.answer), error.status, media_type="application/json")


def invalid(message: str, param: str, code: str | None = "invalid_value") -> ApiError:
    """400: a parameter has a value that it may not have."""
    return ApiError(400, message, param=param, code=code)


def missing(param: str) -> ApiError:
    """400: a required parameter is not there."""
    return ApiError(400, f"The parameter '{param}' is required.", param=param, code="missing_required_parameter")


def no_such(noun: str, id_: str) -> ApiError:
    """404: there is no object with this id."""
    return ApiError(404, f"There is no {noun} with the id '{id_}'.", param="id")


def model_not_found(model: str) -> ApiError:
    """404: there is no such model."""
    return ApiError(404, f"The model '{model}' does not exist.", param="model", code="model_not_found")


def usual_error(status: int) -> ErrorAnswer:
    """The body of an answer with this status when nothing more is known about it."""
    if status == 429:
        return ErrorAnswer(ErrorBody("Too many requests.", "rate_limit_exceeded", None, None))
    if status >= 500:
        return ErrorAnswer(ErrorBody("The server could not answer.", "server_error", None, None))
    return ErrorAnswer(ErrorBody("The request was refused.", "invalid_request_error", None, None))
