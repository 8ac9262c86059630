"""What Anthropic's objects look like: `contracts/providers.md` section 2.

The bodies of messages and models stand in no section; they are those of Anthropic's Python SDK 2.11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.conformance.wire.shapes import Shape, rfc3339, said

ERROR_TYPES: Final = {
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
FILE: Final[dict[str, Shape]] = {
    "id": re.compile("file_.+"),
    "type": "file",
    "filename": said,
    "mime_type": said,
    "size_bytes": int,
    "created_at": rfc3339,
    "downloadable": bool,
    "expires_at": (rfc3339, None),
}
USAGE: Final[dict[str, Shape]] = {
    "input_tokens": int,
    "output_tokens": int,
    "cache_creation_input_tokens": int,
    "cache_read_input_tokens": int,
    "cache_creation": {"ephemeral_5m_input_tokens": int, "ephemeral_1h_input_tokens": int},
    "service_tier": "standard",
}
MESSAGE: Final[dict[str, Shape]] = {
    "id": re.compile("msg_.+"),
    "type": "message",
    "role": "assistant",
    "model": said,
    "content": [{"type": "text", "text": said, "citations": None}],
    "stop_reason": ("end_turn", "max_tokens"),
    "stop_sequence": None,
    "usage": USAGE,
}
MODEL: Final[dict[str, Shape]] = {
    "id": said,
    "type": "model",
    "display_name": said,
    "created_at": rfc3339,
    "lifecycle": "active",
}
COUNTS: Final[dict[str, Shape]] = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), int)
BATCH: Final[dict[str, Shape]] = {
    "id": re.compile("msgbatch_.+"),
    "type": "message_batch",
    "processing_status": ("in_progress", "canceling", "ended"),
    "request_counts": COUNTS,
    "created_at": rfc3339,
    "expires_at": rfc3339,
    "ended_at": (rfc3339, None),
    "cancel_initiated_at": (rfc3339, None),
    "archived_at": (rfc3339, None),
    "results_url": (re.compile(r"http://.+/v1/messages/batches/msgbatch_.+/results"), None),
}
LISTING: Final[dict[str, Shape]] = {"has_more": bool, "first_id": (str, None), "last_id": (str, None)}


def error(status: int, code: str = "") -> Shape:
    """The body of an error. `details` may be missing where there is no code to tell (ours)."""
    body: dict[str, Shape] = {"type": ERROR_TYPES.get(status, said), "message": said}
    if code:
        body["details"] = {"error_code": code}
    return {"type": "error", "error": body, "request_id": re.compile("req_.+")}


def counted(**counts: int) -> Shape:
    """How many requests ended how; all others are 0."""
    return {name: counts.get(name, 0) for name in COUNTS}


SUCCEEDED: Final[dict[str, Shape]] = {
    "custom_id": "j1-0001",
    "result": {"type": "succeeded", "message": {**MESSAGE, "usage": {**USAGE, "service_tier": "batch"}}},
}
ERRORED: Final[dict[str, Shape]] = {
    "custom_id": "j1-0001",
    "result": {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {"type": "not_found_error", "message": said},
            # The contract shows an errored result without an id; the SDK's type has one, which may be null.
            "request_id?": (str, None),
        },
    },
}


def ids(page: Any) -> list[str]:
    """The ids on a page, after a look at the two that stand beside them in the older form."""
    found = [str(item["id"]) for item in page["data"]]
    if "has_more" in page:
        assert (page["first_id"], page["last_id"]) == ((found[0], found[-1]) if found else (None, None))
    return found


def next_page(page: Any) -> Mapping[str, str] | None:
    """What asks for the next page of files."""
    token = page["next_page"]
    return {"page": token} if token else None


def after(page: Any) -> Mapping[str, str] | None:
    """What asks for the next page in the older form."""
    return {"after_id": page["last_id"]} if page["has_more"] else None
