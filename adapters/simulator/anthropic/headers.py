"""What requests must say in their headers, and what answers say in theirs.

Sources: `contracts/providers.md` section 2 and Anthropic's Python SDK 2.11 (20 November 2026). A request with both
kinds of key is judged by `x-api-key`, as users measured at the API in November 2026.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request

from perdure.adapters.simulator.anthropic.errors import ApiError, invalid
from perdure.adapters.simulator.keys import bearer_key, is_refused
from perdure.adapters.simulator.rates import Admission, retry_after

OLD_VERSION: Final = "2023-06-01"
"""What older SDKs and most other clients send."""

VERSION: Final = "2026-10-21"
"""What SDK 2 sends."""

FILES_BETA: Final = "files-api-2025-04-14"
"""The beta that files once were: with it, lists have their old form."""


def check_key(request: Request) -> None:
    """Raises `ApiError` 401 without a key and for one that is refused."""
    key = request.headers.get("x-api-key", "").strip() or bearer_key(request)
    if not key:
        raise ApiError(401, "There is no API key: send x-api-key, or Authorization with Bearer.")
    if is_refused(key):
        raise ApiError(401, "invalid x-api-key")


def version_of(request: Request) -> str:
    """The version that a request is written for. Raises `ApiError` 400 where none is named, or an unknown one."""
    version = request.headers.get("anthropic-version", "")
    if not version:
        raise invalid("anthropic-version: header is required")
    if version not in (OLD_VERSION, VERSION):
        raise invalid(f"anthropic-version: '{version}' is not a valid version")
    return version


def has_beta(request: Request, beta: str) -> bool:
    """Whether a request asks for a beta; the header may come more than once, with lists in it."""
    asked = ",".join(request.headers.getlist("anthropic-beta")).split(",")
    return beta in (name.strip() for name in asked)


def rate_headers(stands: Admission, now: float) -> dict[str, str]:
    """The headers that tell a client how it stands; the reset in whole seconds, rounded up, as a time.

    One that was refused is told in seconds when to come back, and never in milliseconds: only OpenAI does that.
    """
    return {
        "anthropic-ratelimit-requests-limit": str(stands.per_s),
        "anthropic-ratelimit-requests-remaining": str(stands.remaining),
        "anthropic-ratelimit-requests-reset": shown_time(math.ceil(now + stands.reset_s)),
        **retry_after(stands),
    }


def shown_time(at: float) -> str:
    """A time in seconds since 1970 as answers have it: RFC 3339, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
