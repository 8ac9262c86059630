"""Google's contract: `contracts/providers.md` section 3. What that leaves open is marked as ours.

Every case is tried in all three versions. Google sends no headers about rates and no request id; counts and sizes are
texts, and what is empty or zero is not there.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from perdure.adapters.simulator import GOOGLE_PREFIX
from tests.conformance.wire.contract import BATCH_S, Case, Contract, Pages, Variant, Wire, given, ok
from tests.conformance.wire.google_calls import (
    GRANULE,
    KEYED,
    MODEL,
    ask,
    bad_chunk,
    batch,
    batch_of_file,
    cancelled,
    command,
    contents,
    download,
    download_uploaded,
    expired,
    expired_batch,
    file,
    in_chunks,
    inline,
    post_batch,
    post_file,
    responses_file,
    session,
    start,
    taken,
    unusable,
)
from tests.conformance.wire.google_media_cases import MEDIA
from tests.conformance.wire.google_shapes import ANSWER, FILE, OPERATION, error, operation
from tests.conformance.wire.shapes import Shape, said

SESSION_HEAD: Final = {"x-goog-upload-status": "active", "x-goog-upload-chunk-granularity": "262144"}
HASH: Final = re.compile(re.escape(b64encode(sha256(b"words").digest()).decode()))
UPLOADS: Final = [
    Case(
        "POST /upload/{version}/files",
        "begins",
        given(start, 5),
        content=b"",
        media="",
        head={**SESSION_HEAD, "x-goog-upload-url": r"http://127\.0\.0\.1:\d+/.+"},
    ),
    *(
        Case("POST /upload/{version}/files", f"refuses the name {name}", given(start, 5, name=name), 400)
        for name in ("files/" + "a" * 41, "files/-a", "files/a-", "files/A", "files/")
    ),
    Case("POST /upload/{version}/files", "refuses a name that is taken", taken, 409),
    Case(
        "POST /upload/{version}/files",
        "refuses another command",
        given(start, 5, headers={"x-goog-upload-command": "stop"}),
        400,
    ),
    Case("POST /upload/{version}/files", "refuses more than 2 GB", given(start, 2_000_000_001), 400),
    Case(
        "POST /upload/{version}/files",
        "ends in one piece",
        given(post_file, displayName="notes"),
        body={"file": {**FILE, "displayName": "notes", "sizeBytes": "5", "state": "ACTIVE", "sha256Hash": HASH}},
        head={"x-goog-upload-status": "final"},
    ),
    Case(
        "POST /upload/{version}/files",
        "ends in chunks",
        given(in_chunks, then="upload, finalize"),
        body={"file": {**FILE, "sizeBytes": str(GRANULE + 3)}},
        head={"x-goog-upload-status": "final"},
    ),
    Case(
        "POST /upload/{version}/files",
        "says where to go on",
        given(in_chunks, then="query"),
        content=b"",
        media="",
        head={**SESSION_HEAD, "x-goog-upload-size-received": str(GRANULE)},
    ),
    Case(
        "POST /upload/{version}/files",
        "is cancelled",
        given(in_chunks, then="cancel"),
        content=b"",
        media="",
        head={"x-goog-upload-status": r"final|cancelled"},  # the contract does not say which
    ),
    Case("POST /upload/{version}/files", "refuses half a granule", given(bad_chunk, GRANULE // 2, 0), 400),
    Case("POST /upload/{version}/files", "refuses another place", given(bad_chunk, GRANULE, GRANULE), 400),
    Case(
        "POST /upload/{version}/files",
        "processes films",
        given(post_file, mimeType="video/mp4"),
        body={"file": {**FILE, "state": "PROCESSING", "mimeType": "video/mp4"}},
        head={"x-goog-upload-status": "final"},
    ),
    Case(
        "POST /upload/{version}/files",
        "knows no other upload",
        lambda w: command(w, session(w).partition("?")[0] + "?upload_id=none", "query"),
        404,
    ),
]
FILES: Final = [
    Case(
        "GET /{version}/files",
        "lists",
        lambda w: ok(post_file(w)) and w.get("/{version}/files", pageSize=1),
        body={"files": [{**FILE, "source": ("UPLOADED", "GENERATED"), "downloadUri?": said}], "nextPageToken?": said},
    ),
    Case("GET /{version}/files/{id}", "shows a file", lambda w: w.get(f"/{{version}}/{file(w)}"), body=FILE),
    Case("GET /{version}/files/{id}", "knows no other: 403", lambda w: w.get("/{version}/files/none"), 403),
    Case("GET /{version}/files/{id}", "has none after 48 hours: 403", expired, 403),
    Case("DELETE /{version}/files/{id}", "deletes", lambda w: w.delete(f"/{{version}}/{file(w)}"), body={}),
    Case("DELETE /{version}/files/{id}", "knows no other: 403", lambda w: w.delete("/{version}/files/none"), 403),
    *(
        case
        for before in ("", "/download")
        for case in (
            Case(
                f"GET {before}/{{version}}/files/{{id}}:download",
                "gives what Google made",
                given(download, before=before),
                content=b"0123456789",
                media="text/csv",
            ),
            Case(
                f"GET {before}/{{version}}/files/{{id}}:download",
                "gives a range (ours)",
                given(download, before=before, span="bytes=0-1"),
                206,
                content=b"01",
                media="text/csv",
                head={"content-range": "bytes 0-1/10"},
            ),
            Case(
                f"GET {before}/{{version}}/files/{{id}}:download",
                "wants alt=media (ours)",
                given(download, before=before, alt="json"),
                400,
            ),
            Case(
                f"GET {before}/{{version}}/files/{{id}}:download",
                "gives nothing that was uploaded",
                given(download_uploaded, before=before),
                400,
            ),
            Case(
                f"GET {before}/{{version}}/files/{{id}}:download",
                "knows no other: 403",
                given(Wire.get, f"{before}/{{version}}/files/none:download", alt="media"),
                403,
            ),
        )
    ),
]
GENERATE: Final = "POST /{version}/models/{model}:generateContent"
LIVE: Final = [
    Case(GENERATE, "answers", ask, body=ANSWER),
    Case(GENERATE, "stops", given(ask, generationConfig={"maxOutputTokens": 1}), body=ANSWER),
    Case(
        GENERATE,
        "is blocked",
        given(ask, contents=[contents("!block it")]),
        body={
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            "usageMetadata": {"promptTokenCount": int, "totalTokenCount": int},
            "modelVersion": said,
        },
    ),
    Case(GENERATE, "needs contents", given(ask, contents=[]), 400),
    Case(GENERATE, "refuses no JSON", given(Wire.post, f"{MODEL}:generateContent", content=b"{"), 400),
    Case(GENERATE, "uses no file before its time", unusable, 400, body=error(400, rpc="FAILED_PRECONDITION")),
    Case(
        GENERATE,
        "uses no file that is not there",
        given(ask, contents=[{"parts": [{"fileData": {"fileUri": "files/none"}}]}]),
        403,
    ),
    Case(GENERATE, "knows no other model", given(ask, "/{version}/models/nope"), 404),
]
CREATE: Final = "POST /{version}/models/{model}:batchGenerateContent"
INLINED: Final[dict[str, Shape]] = {
    "inlinedResponses": {
        "inlinedResponses": [
            {"response?": ANSWER, "error?": {"code": int, "message": said}, "metadata": {"key": re.compile("k.")}}
        ]
    }
}
LINE: Final[dict[str, Shape]] = {
    "key": re.compile("k."),
    "response?": ANSWER,
    "error?": {"code": int, "message": said},
}
TYPED: Final[dict[str, Shape]] = {"@type": re.compile(r".+\.GenerateContentBatchOutput")}
BATCHES: Final = [
    Case(
        CREATE,
        "makes a batch",
        given(post_batch, webhookConfig={"uris": ["https://me.example/hook"], "userMetadata": {"job": "j1"}}),
        body=operation("PENDING", done=False, stats={"requestCount": "1", "pendingRequestCount": "1"}),
    ),
    Case(CREATE, "refuses no input", lambda w: w.post(f"{MODEL}:batchGenerateContent", json={"batch": {}}), 400),
    Case(CREATE, "uses no file that is not there: 403", given(post_batch, {"fileName": "files/none"}), 403),
    Case(CREATE, "knows no other model", given(post_batch, model="/{version}/models/nope"), 404),
    Case(
        "GET /{version}/batches",
        "lists",
        lambda w: ok(post_batch(w)) and w.get("/{version}/batches", pageSize=1),
        body={"operations": [OPERATION], "nextPageToken?": said},
    ),
    Case(
        "GET /{version}/batches/{id}",
        "is running",
        given(batch, inline(None, None), after_s=BATCH_S / 4),
        body=operation("RUNNING", done=False, stats={"requestCount": "2", "pendingRequestCount": "2"}),
    ),
    Case(
        "GET /{version}/batches/{id}",
        "has succeeded in place, one having failed",
        given(batch, inline(None, {}), after_s=BATCH_S),
        body=operation(
            "SUCCEEDED",
            done=True,
            stats={"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"},
            output=INLINED,
            response={**TYPED, **INLINED},
        ),
    ),
    Case(
        "GET /{version}/batches/{id}",
        "has succeeded in a file",
        given(batch_of_file, KEYED),
        body=operation(
            "SUCCEEDED",
            done=True,
            stats={"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"},
            output={"responsesFile": FILE["name"]},
            response={**TYPED, "responsesFile": FILE["name"]},
        ),
    ),
    Case(
        "GET /{version}/batches/{id}",
        "has failed",
        given(batch_of_file, b"{"),
        body={**OPERATION, "done": True, "error": {"code": int, "message": said}},
    ),
    Case(
        "GET /{version}/batches/{id}",
        "is expired",
        expired_batch,
        body=operation("EXPIRED", done=True, stats={"requestCount": "1", "pendingRequestCount": "1"}),
    ),
    Case(
        "GET /{version}/batches/{id}",
        "is cancelled",
        cancelled,
        body=operation("CANCELLED", done=True, stats={"requestCount": "1", "pendingRequestCount": "1"}),
    ),
    Case("GET /{version}/batches/{id}", "knows no other", lambda w: w.get("/{version}/batches/none"), 404),
    Case(
        "POST /{version}/batches/{id}:cancel",
        "answers with nothing",
        lambda w: w.post(f"/{{version}}/{ok(post_batch(w))['name']}:cancel"),
        body={},
    ),
    Case(
        "POST /{version}/batches/{id}:cancel",
        "knows no other",
        lambda w: w.post("/{version}/batches/none:cancel"),
        404,
    ),
    Case(
        "DELETE /{version}/batches/{id}",
        "deletes",
        lambda w: w.delete(f"/{{version}}/{ok(post_batch(w))['name']}"),
        body={},
    ),
    Case("DELETE /{version}/batches/{id}", "knows no other", lambda w: w.delete("/{version}/batches/none"), 404),
    Case(
        "GET /download/{version}/files/{id}:download",
        "gives a batch's responses",
        responses_file,
        lines=LINE,
        media="application/jsonl",  # ours: the contract says JSONL and names no content type
    ),
]


def following(page: Any) -> Mapping[str, str] | None:
    """What asks for the next page."""
    return {"pageToken": page["nextPageToken"]} if "nextPageToken" in page else None


PAGES: Final = [
    Pages(
        route="GET /{version}/files",
        make=file,
        page={"files?": [FILE], "nextPageToken?": said},
        ids=lambda page: [item["name"] for item in page.get("files", [])],
        following=following,
        limit="pageSize",
        usual=10,
        most=100,
        none_is_usual=True,
        nowhere=[{"pageToken": "none"}],
        remove=lambda w, name: w.delete(f"/{{version}}/{name}"),
    ),
    Pages(
        route="GET /{version}/batches",
        make=lambda w: str(ok(post_batch(w))["name"]),
        page={"operations?": [OPERATION], "nextPageToken?": said},
        ids=lambda page: [item["name"] for item in page.get("operations", [])],
        following=following,
        limit="pageSize",
        usual=10,  # the contract says it of files
        most=100,
        none_is_usual=True,
        nowhere=[{"pageToken": "none"}],
        remove=lambda w, name: w.delete(f"/{{version}}/{name}"),
    ),
]
GOOGLE: Final = Contract(
    name="google",
    prefix=GOOGLE_PREFIX,
    variants=[
        Variant(version, lambda key: {"x-goog-api-key": key}, version) for version in ("v1", "v1beta", "v1alpha")
    ],
    head={},
    answered={},
    error=error,
    no_key=403,  # ours: the contract lists PERMISSION_DENIED and UNAUTHENTICATED and does not say which
    bad_key=400,
    rated={},
    limited={},
    unsaid=[
        *("x-request-id", "request-id", "x-trace-id", "retry-after", "retry-after-ms"),
        *("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit", "openai-version"),
    ],
    unknown=frozenset({403, 404}),
    cases=[*UPLOADS, *FILES, *LIVE, *BATCHES, *MEDIA],
    pages=PAGES,
    key_code="API_KEY_INVALID",
    bodyless={
        "POST /{version}/batches/{id}:cancel": "a cancellation has an empty body",
        "POST /{version}/interactions/{id}/cancel": "a cancellation has an empty body",
    },
    unpaged={
        "GET /{version}/files/{id}:download": "bytes",
        "GET /download/{version}/files/{id}:download": "bytes",
    },
)
