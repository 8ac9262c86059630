"""What xAI's objects look like: `contracts/providers.md` section 4.

Bodies of responses and chat completions are OpenAI's, with what they cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.conformance.wire import openai_shapes
from tests.conformance.wire.openai_shapes import CHAT
from tests.conformance.wire.shapes import Shape, rfc3339, said, unix_time

DAY_S: Final = 86_400
FILE: Final[dict[str, Shape]] = {
    "id": re.compile("file_.+"),
    "object": "file",
    "bytes": int,
    "created_at": unix_time,
    "expires_at": (unix_time, None),
    "filename": said,
    "purpose": str,  # the contract says that none is needed; OpenAI's client wants the field
}
FILE_PAGE: Final[dict[str, Shape]] = {
    "object": "list",
    "data": [FILE],
    "has_more": bool,  # ours, for OpenAI's client; the contract has no form of this list
    "pagination_token": (said, None),
}
COUNTS: Final = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")
BATCH: Final[dict[str, Shape]] = {
    "batch_id": said,
    "name": said,
    "create_time": rfc3339,
    "expire_time": rfc3339,
    "cancel_time": (rfc3339, None),
    "cancel_by_xai_message": (str, None),
    "state": dict.fromkeys(COUNTS, int),
    "cost_breakdown": {"total_cost_usd_ticks": int},
}
COST: Final[dict[str, Shape]] = {"cost_in_usd_ticks": int}
PRICED_CHAT: Final[dict[str, Shape]] = {
    **CHAT,
    "usage": {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int, **COST},
}
RESULT: Final[dict[str, Shape]] = {
    "batch_request_id": "a",
    "batch_result": {"response": {"chat_get_completion": PRICED_CHAT}, "error": {"code": 0, "message": ""}},
    "error_message": "",
}
FAILED: Final[dict[str, Shape]] = {
    "batch_request_id": "a",
    "batch_result": {"response?": None, "error": {"code": int, "message": said}},
    "error_message": said,
}


def error(status: int) -> Shape:
    """The body of an error, in either of the two forms that the contract has."""
    return ({"code": said, "error": said}, openai_shapes.error(status))


def counted(**counts: int) -> Shape:
    """How the requests of a batch stand; all others are 0."""
    return {name: counts.get(name.removeprefix("num_"), 0) for name in COUNTS}


def following(page: Any) -> Mapping[str, str] | None:
    """What asks for the next page."""
    token = page["pagination_token"]
    if "has_more" in page:
        assert page["has_more"] is (token is not None)
    return {"pagination_token": token} if token else None
