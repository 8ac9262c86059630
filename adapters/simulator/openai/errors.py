"""OpenAI's error answers.

Shape and codes as recorded in `docs/simulator.md`: `{"error": {"message", "type", "param", "code"}}`. The wording of
the messages is ours.
"""

from __future__ import annotations

import math

from msgspec import Struct, json
from starlette.responses import Response

from perdure.adapters.simulator.rates import Admission, retry_after, retry_after_ms


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


def usual_error(status: int, request_id: str) -> bytes:
    """The body of an answer with this status when nothing more is known about it. It does not name the request."""
    if status == 429:
        error = ErrorBody("Too many requests.", "rate_limit_exceeded", None, None)
    elif status >= 500:
        error = ErrorBody("The server could not answer.", "server_error", None, None)
    else:
        error = ErrorBody("The request was refused.", "invalid_request_error", None, None)
    return json.encode(ErrorAnswer(error))


def rate_headers(admission: Admission, now: float) -> dict[str, str]:
    """The headers that tell a client how it stands: limit, rest, and in what time all is free again.

    One that was refused is told when to come back, too.
    """
    return {
        "x-ratelimit-limit-requests": str(admission.per_s),
        "x-ratelimit-remaining-requests": str(admission.remaining),
        "x-ratelimit-reset-requests": f"{math.ceil(admission.reset_s * 1000)}ms",
        **retry_after(admission),
        **retry_after_ms(admission),
    }
