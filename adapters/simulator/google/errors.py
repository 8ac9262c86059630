"""Google's error answers: `{"error": {"code", "message", "status", "details"}}`, with the details of `google.rpc`.

Shape and codes: `contracts/providers.md` section 3. Where Google's wording is known it is used, as clients read it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import json
from starlette.responses import Response

from perdure.adapters.simulator.rates import Admission

STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The `google.rpc.Code` that each HTTP status stands for, unless an error names another."""

_RPC_CODES: Final = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}

RETRY_DELAY_S: Final = 1
"""What an answer of 429 says about when to come back, in seconds: rates are counted over one second here."""

_TYPES: Final = "type.googleapis.com/google.rpc."


class ApiError(Exception):
    """Ends a request with an error answer. `details` are JSON objects with an `@type`."""

    def __init__(self, http_status: int, message: str, *, status: str = "", details: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status or STATUSES.get(http_status, "UNKNOWN")
        self.details = details


def rpc_code(status: str, *, otherwise: int = 3) -> int:
    """The number of a `google.rpc.Code`, as it stands in the errors of operations and of their results; `otherwise` is
    that of a word that is none."""
    return _RPC_CODES.get(status, otherwise)


def error_body(error: ApiError) -> bytes:
    """The body of the answer for an `ApiError`."""
    said: dict[str, Any] = {"code": error.http_status, "message": str(error), "status": error.status}
    if error.details:
        said["details"] = error.details
    return json.encode({"error": said})


def error_response(error: ApiError) -> Response:
    """The answer for an `ApiError`."""
    return Response(error_body(error), error.http_status, media_type="application/json")


def invalid(message: str, field: str = "") -> ApiError:
    """400: a field has a value that it may not have."""
    violation = {"field": field, "description": message}
    details = ({"@type": _TYPES + "BadRequest", "fieldViolations": [violation]},) if field else ()
    return ApiError(400, message, details=details)


def bad_key() -> ApiError:
    """400, not 401: the key is not one of Google's."""
    info = {
        "@type": _TYPES + "ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    }
    return ApiError(400, "API key not valid. Please pass a valid API key.", details=(info,))


def no_key() -> ApiError:
    """403: there is no key."""
    return ApiError(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other"
        " form of API consumer identity to call this API.",
    )


def no_such_model(model: str, version: str) -> ApiError:
    """404: there is no such model."""
    return ApiError(404, f"models/{model} is not found for API version {version}.")


def no_such_file(id_: str) -> ApiError:
    """403, not 404: a file is missing, expired or somebody else's."""
    return ApiError(403, f"You do not have permission to access the File {id_} or it may not exist.")


def usual_error(http_status: int, request_id: str) -> bytes:
    """The body of an answer with this status when nothing more is known about it. It does not name the request."""
    details: tuple[Any, ...] = ()
    if http_status == 429:
        details = ({"@type": _TYPES + "RetryInfo", "retryDelay": f"{RETRY_DELAY_S}s"},)
    words = "The server could not answer." if http_status >= 500 else "The request was refused."
    return error_body(ApiError(http_status, words, details=details))


def rate_headers(admission: Admission, now: float) -> dict[str, str]:
    """None: Google tells no limits, and when to come back in the body."""
    return {}
