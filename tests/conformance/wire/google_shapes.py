"""What Google's objects look like: `contracts/providers.md` section 3.

Counts and sizes are texts, and counts that are zero are not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tests.conformance.wire.shapes import Shape, count_text, rfc3339, said

STATUSES: Final = {
    400: ("INVALID_ARGUMENT", "FAILED_PRECONDITION"),
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
RETRY_INFO: Final[dict[str, Shape]] = {
    "@type": "type.googleapis.com/google.rpc.RetryInfo",
    "retryDelay": re.compile(r"\d+(\.\d+)?s"),
}
FILE: Final[dict[str, Shape]] = {
    "name": re.compile(r"files/[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"),
    "displayName?": said,
    "mimeType": said,
    "sizeBytes": count_text,
    "createTime": rfc3339,
    "updateTime": rfc3339,
    "expirationTime": rfc3339,
    "sha256Hash": re.compile(r"[A-Za-z0-9+/]+=*"),
    "uri": re.compile(r"http://.+/(v1|v1beta|v1alpha)/files/.+"),
    "state": ("PROCESSING", "ACTIVE", "FAILED"),
    "source": "UPLOADED",
}
ANSWER: Final[dict[str, Shape]] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": said}]},
            "finishReason": ("STOP", "MAX_TOKENS"),
            "index": int,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": int,
        "candidatesTokenCount": int,
        "totalTokenCount": int,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": int}],
    },
    "modelVersion": said,
    "responseId": said,
}
METADATA: Final[dict[str, Shape]] = {
    "@type": re.compile(r".+\.GenerateContentBatch"),
    "model": re.compile("models/.+"),
    "displayName": str,
    "state": re.compile("BATCH_STATE_(PENDING|RUNNING|SUCCEEDED|FAILED|CANCELLED|EXPIRED)"),
    "createTime": rfc3339,
    "updateTime": rfc3339,
    "name": re.compile("batches/.+"),  # the contract's example has it at the top alone; Google's client reads both
    "endTime?": rfc3339,
    "batchStats": {
        "requestCount?": count_text,
        "successfulRequestCount?": count_text,
        "failedRequestCount?": count_text,
        "pendingRequestCount?": count_text,
    },
    "output?": dict,
}
OPERATION: Final[dict[str, Shape]] = {
    "name": re.compile("batches/.+"),
    "metadata": METADATA,
    "done": bool,
    "response?": dict,
    "error?": {"code": int, "message": said},
}


def error(status: int, reason: str = "", rpc: Shape = None) -> Shape:
    """The body of an error. A 429 says when to come back; `reason` is that of an `ErrorInfo`."""
    body: dict[str, Shape] = {"code": status, "message": said, "status": rpc or STATUSES.get(status, said)}
    if status == 429:
        body["details"] = [RETRY_INFO]
    elif reason:
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, ...: object}]
    else:
        body["details?"] = [{"@type": re.compile(r"type\.googleapis\.com/google\.rpc\..+"), ...: object}]
    return {"error": body}


def operation(state: str, *, done: bool, stats: Mapping[str, str], **more: Shape) -> Shape:
    """A batch in a state, with these counts and no others."""
    metadata = {**METADATA, "state": f"BATCH_STATE_{state}", "batchStats": dict(stats)}
    if done:
        metadata["endTime"] = metadata.pop("endTime?")
    if "output" in more:
        metadata["output"] = more.pop("output")
    return {**OPERATION, "metadata": metadata, "done": done, **more}
