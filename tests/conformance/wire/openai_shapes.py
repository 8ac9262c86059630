"""What OpenAI's objects look like: `contracts/providers.md` section 1.

The bodies of responses, chat completions, embeddings and models stand in no section; they are those of OpenAI's Python
SDK 3.52.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.conformance.wire.shapes import Shape, said, unix_time

FILE: Final[dict[str, Shape]] = {
    "id": re.compile("file-.+"),
    "object": "file",
    "bytes": int,
    "created_at": unix_time,
    "filename": said,
    "purpose": said,
    "status": ("uploaded", "processed", "error"),
    "expires_at": (unix_time, None),
    "status_details": (str, None),
}
UPLOAD: Final[dict[str, Shape]] = {
    "id": re.compile("upload_.+"),
    "object": "upload",
    "bytes": int,
    "created_at": unix_time,
    "expires_at": unix_time,
    "filename": said,
    "purpose": said,
    "status": ("pending", "completed", "cancelled", "expired"),
    "file": (FILE, None),
}
LINE_ERROR: Final[dict[str, Shape]] = {"code": said, "message": said, "line": (int, None), "param": (str, None)}
TOKENS: Final[dict[str, Shape]] = {
    "input_tokens": int,
    "input_tokens_details": {"cached_tokens": int},
    "output_tokens": int,
    "output_tokens_details": {"reasoning_tokens": int},
    "total_tokens": int,
}
BATCH: Final[dict[str, Shape]] = {
    "id": re.compile("batch_.+"),
    "object": "batch",
    "endpoint": re.compile("/v1/.+"),
    "errors": ({"object": "list", "data": [LINE_ERROR]}, None),
    "input_file_id": re.compile("file-.+"),
    "completion_window": "24h",
    "status": (
        *("validating", "in_progress", "finalizing", "completed"),
        *("failed", "expired", "cancelling", "cancelled"),
    ),
    "output_file_id": (re.compile("file-.+"), None),
    "error_file_id": (re.compile("file-.+"), None),
    "created_at": unix_time,
    "expires_at": unix_time,
    **{
        f"{status}_at": (unix_time, None)
        for status in ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    },
    "request_counts": {"total": int, "completed": int, "failed": int},
    "metadata": ({...: str}, None),
    "model": (str, None),
    "usage": TOKENS,
}
RESPONSE: Final[dict[Any, Shape]] = {
    "id": said,
    "object": "response",
    "created_at": unix_time,
    "model": said,
    "status": "completed",
    "output": [
        {
            "id": said,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": said, "annotations": [object]}],
        }
    ],
    "usage": TOKENS,
    "metadata": {...: str},
    **dict.fromkeys(("error", "incomplete_details", "instructions", "max_output_tokens?", "previous_response_id?")),
    "parallel_tool_calls": bool,
    "tool_choice": "auto",
    "tools": [object],
    "temperature": float,
    "top_p": float,
    "text?": {"format": {"type": "text"}},
    "truncation?": "disabled",
}
CHAT: Final[dict[str, Shape]] = {
    "id": said,
    "object": "chat.completion",
    "created": unix_time,
    "model": said,
    "choices": [
        {
            "index": int,
            "message": {"role": "assistant", "content": said, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int},
}
EMBEDDINGS: Final[dict[str, Shape]] = {
    "object": "list",
    "data": [{"object": "embedding", "index": int, "embedding": [float]}],
    "model": said,
    "usage": {"prompt_tokens": int, "total_tokens": int},
}
MODEL: Final[dict[str, Shape]] = {"id": said, "object": "model", "created": unix_time, "owned_by": said}


def error(status: int) -> Shape:
    """The body of an error. A code may be a number."""
    type_: Shape = said
    if status == 429:
        type_ = "rate_limit_exceeded"
    elif status < 500:
        type_ = "invalid_request_error"
    code: Shape = (str, int, None)
    return {"error": {"message": said, "type": type_, "param": (str, None), "code": code}}


def page(item: Shape) -> Shape:
    """The body of a list."""
    return {"object": "list", "data": [item], "has_more": bool, "first_id": (str, None), "last_id": (str, None)}


def ids(page: Any) -> list[str]:
    """The ids on a page, after a look at the two that stand beside them."""
    found = [str(item["id"]) for item in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((found[0], found[-1]) if found else (None, None))
    return found


def following(page: Any) -> Mapping[str, str] | None:
    """What asks for the next page."""
    return {"after": page["last_id"]} if page["has_more"] else None


LINE: Final[dict[str, Shape]] = {
    "id": re.compile("batch_req_.+"),
    "custom_id": "a",
    "response": {"status_code": 200, "request_id": said, "body": RESPONSE},
    "error": None,
}
UNRUN_LINE: Final[dict[str, Shape]] = {
    **LINE,
    "response": None,
    "error": {"code": ("batch_expired", "batch_cancelled"), "message": said},
}
ERROR_LINE: Final[dict[str, Shape]] = {
    **LINE,
    "response": {"status_code": 404, "request_id": said, "body": error(404)},
    "error": (None, {"code": said, "message": said}),
}
