"""What a status and an error body mean: our kinds, from the provider's codes first. Pure.

The table is explicit. A status that it does not name is never tried again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

import msgspec
from msgspec import Struct

from perdure.actors.fetch import RefusalKind
from perdure.adapters.network.rate_headers import parse_duration_s


class Fault(Struct, frozen=True):
    """A provider's own error body: its message, its codes from the most telling to the most general, and the seconds
    after which it wants to be asked again (Google's `RetryInfo`)."""

    message: str
    codes: tuple[str, ...]
    retry_after_s: float | None = None


STATUS_KINDS: Final[Mapping[int, RefusalKind]] = MappingProxyType(
    {
        400: "invalid_request",
        401: "auth",
        402: "quota_exceeded",
        403: "auth",
        404: "not_found",
        405: "unsupported",
        408: "server_error",
        409: "conflict",
        410: "not_found",
        413: "invalid_request",
        415: "unsupported",
        422: "invalid_request",
        429: "rate_limit",
        500: "server_error",
        501: "unsupported",
        502: "server_error",
        503: "server_error",
        504: "server_error",
        529: "server_error",  # Anthropic: overloaded
    }
)
"""The kind of a status whose body says nothing better. Others below 500 are `invalid_request`, and `server_error` from
500 up, without a retry."""

RETRIED_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504, 529})
"""The statuses after which a call may be tried again at all (kind, policy and safety permitting)."""

CODE_KINDS: Final[Mapping[str, RefusalKind]] = MappingProxyType(
    {
        # OpenAI, and those that speak its dialect (contracts/providers.md 1 and 4)
        "invalid_api_key": "auth",
        "insufficient_quota": "quota_exceeded",
        "billing_hard_limit_reached": "quota_exceeded",
        "billing_not_active": "quota_exceeded",
        "rate_limit_exceeded": "rate_limit",
        "context_length_exceeded": "context_overflow",
        "model_not_found": "model_not_found",
        "content_filter": "content_filter",
        "content_policy_violation": "content_filter",
        "moderation_blocked": "content_filter",
        "unsupported_parameter": "unsupported",
        "unsupported_value": "unsupported",
        # Anthropic (contracts/providers.md 2)
        "authentication_error": "auth",
        "permission_error": "auth",
        "billing_error": "quota_exceeded",
        "enforced_spend_limit_reached": "quota_exceeded",
        "ramp_limit_exceeded": "rate_limit",
        "rate_limit_error": "rate_limit",
        "not_found_error": "not_found",
        "conflict_error": "conflict",
        "request_too_large": "invalid_request",
        "api_error": "server_error",
        "timeout_error": "server_error",
        "overloaded_error": "server_error",
        # Google (contracts/providers.md 3)
        "API_KEY_INVALID": "auth",
        "UNAUTHENTICATED": "auth",
        "PERMISSION_DENIED": "auth",
        "NOT_FOUND": "not_found",
        "ALREADY_EXISTS": "conflict",
        "RESOURCE_EXHAUSTED": "rate_limit",
        "UNIMPLEMENTED": "unsupported",
        "INTERNAL": "server_error",
        "UNAVAILABLE": "server_error",
    }
)
"""Our kind for a provider's code. Codes as general as `invalid_request_error` are left out on purpose: with them the
status and, last of all, the wording decide."""

_MODEL_MISSING: Final = re.compile(r"\bmodels?\b.*\b(does not exist|not found)\b|^model: ", re.IGNORECASE | re.DOTALL)
_TOO_LONG: Final = re.compile(
    r"maximum context length|context window|context length|prompt is too long|input is too long", re.IGNORECASE
)


def parse_fault(body: bytes) -> Fault | None:
    """The error body, where it is one: a JSON object with `error`, `detail` or `message` (Google may wrap it into a
    list). None for HTML, plain text, an empty body or other JSON: then somebody else may have answered."""
    try:
        decoded: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    outer = _object(next(iter(_items(decoded)), decoded))
    inner = _object(outer.get("error"))
    message = (
        _text(inner.get("message"))
        or _text(outer.get("error"))
        or _text(outer.get("detail"))
        or _text(outer.get("message"))
    )
    if not message and not inner:
        return None
    details = inner.get("details")
    extra = [_object(item) for item in _items(details) or [details]]
    candidates: list[object] = [
        *(detail.get("error_code") for detail in extra),
        *(detail.get("reason") for detail in extra),
        _text(inner.get("status")),  # Google's code in words; its `code` repeats the HTTP status
        inner.get("code"),
        inner.get("type"),
        outer.get("code"),
        outer.get("type"),
    ]
    codes = tuple(dict.fromkeys(str(code) for code in candidates if isinstance(code, (str, int)) and code != ""))
    delays = (parse_duration_s(_text(detail.get("retryDelay"))) for detail in extra)
    return Fault(message, codes, next((delay for delay in delays if delay is not None), None))


def kind_of(status: int, fault: Fault | None) -> RefusalKind:
    """Why the provider refused: by its codes, else by the status, else (400 and 404 only) by its wording."""
    otherwise: RefusalKind = "server_error" if status >= 500 else "invalid_request"
    by_status = STATUS_KINDS.get(status, otherwise)
    if fault is None or status >= 500:
        return by_status
    by_code: RefusalKind | None = next((CODE_KINDS[code] for code in fault.codes if code in CODE_KINDS), None)
    if by_code is not None and by_code != "not_found":  # "not found" leaves open what: it may be the model
        return by_code
    if status in (400, 404):
        if _MODEL_MISSING.search(fault.message):
            return "model_not_found"
        if _TOO_LONG.search(fault.message):
            return "context_overflow"
    return by_code or by_status


def provider_code(fault: Fault | None) -> str | None:
    """The most telling code that the provider gave."""
    return fault.codes[0] if fault is not None and fault.codes else None


def proves_refusal(status: int, fault: Fault | None) -> bool:
    """Whether this answer to a `create` proves that nothing was accepted.

    401 and 429 refuse by definition, whoever in the chain says so. Other 4xx, 503 and 529 count only with the
    provider's own error body. 408, 499, redirects and the rest of 5xx leave it open.
    """
    if status in (401, 429):
        return True
    if status in (408, 499) or fault is None:
        return False
    return 400 <= status < 500 or status in (503, 529)


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _object(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
