"""OpenAI's contract: `contracts/providers.md` section 1. What that leaves open is marked as ours.

Limits of tokens have headers too, which the simulator does not claim: it limits requests only.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from perdure.adapters.simulator import OPENAI_PREFIX
from tests.conformance.wire.contract import BATCH_S, Case, Contract, Pages, Variant, Wire, given, ok
from tests.conformance.wire.openai_calls import (
    ASKS,
    BAD_LINES,
    JSONL,
    NOPE_LINE,
    asked,
    batch,
    cancel_twice,
    cancelled_batch,
    complete,
    container_file,
    expired,
    expiring,
    file,
    lines,
    part,
    post_batch,
    post_file,
    ranged,
    upload,
)
from tests.conformance.wire.openai_media_cases import MEDIA, MEDIA_PAGES
from tests.conformance.wire.openai_shapes import (
    BATCH,
    EMBEDDINGS,
    ERROR_LINE,
    FILE,
    LINE,
    LINE_ERROR,
    MODEL,
    UNRUN_LINE,
    UPLOAD,
    error,
    following,
    ids,
    page,
)
from tests.conformance.wire.shapes import apart, said, unix_time

DAY_S: Final = 86_400
NO_BODY: Final = "a cancellation has an empty body"
FILES: Final = [
    Case("POST /files", "stores a file", post_file, body={**FILE, "expires_at": None, "purpose": "user_data"}),
    Case(
        "POST /files",
        "keeps a batch's input for thirty days",
        lambda w: post_file(w, JSONL, "in.jsonl", purpose="batch"),
        body={**FILE, "expires_at": unix_time, "purpose": "batch"},
    ),
    Case("POST /files", "takes the shortest life", lambda w: expiring(w, "3600"), body=apart(3_600)),
    Case("POST /files", "takes the longest life", lambda w: expiring(w, "2592000"), body=apart(2_592_000)),
    Case("POST /files", "refuses a life too short", lambda w: expiring(w, "3599"), 400),
    Case("POST /files", "refuses a life too long", lambda w: expiring(w, "2592001"), 400),
    Case(
        "POST /files", "takes JSONL that is none", lambda w: post_file(w, b"{", "in.jsonl", purpose="batch"), body=FILE
    ),
    Case(
        "POST /files", "refuses another name for a batch", lambda w: post_file(w, JSONL, "a.txt", purpose="batch"), 400
    ),
    *(
        Case("POST /files", f"takes the purpose {purpose}", given(post_file, purpose=purpose), body=FILE)
        for purpose in ("assistants", "fine-tune", "vision", "evals")
    ),
    *(
        Case("POST /files", f"refuses the purpose {purpose}", given(post_file, purpose=purpose), 400)
        for purpose in ("batch_output", "assistants_output", "nothing", "")
    ),
    Case("POST /files", "refuses a form without a file", lambda w: w.post("/files", data={"purpose": "vision"}), 400),
    Case("GET /files", "lists by purpose", lambda w: w.get("/files", purpose="vision", limit=1), body=page(FILE)),
    Case("GET /files", "refuses an unknown order", lambda w: w.get("/files", order="up"), 400),
    Case("GET /files/{id}", "shows a file", lambda w: w.get(f"/files/{file(w)}"), body=FILE),
    Case("GET /files/{id}", "knows no other", lambda w: w.get("/files/file-none"), 404),
    Case(
        "DELETE /files/{id}",
        "deletes a file",
        lambda w: w.delete(f"/files/{file(w)}"),
        body={"id": re.compile("file-.+"), "object": "file", "deleted": True},
    ),
    Case("DELETE /files/{id}", "knows no other", lambda w: w.delete("/files/file-none"), 404),
    Case(
        "GET /files/{id}/content",
        "gives the bytes, whatever is accepted",
        lambda w: w.with_headers("GET", f"/files/{file(w)}/content", {"accept": "application/binary"}),
        content=b"words",
        media="application/octet-stream",
    ),
    Case(
        "GET /files/{id}/content",
        "gives a range",
        lambda w: ranged(w, "bytes=2-4"),
        206,
        content=b"234",
        media="application/octet-stream",
        head={"content-range": "bytes 2-4/10"},
    ),
    Case(
        "GET /files/{id}/content",
        "has nothing behind the end",
        lambda w: ranged(w, "bytes=10-"),
        416,
        content=b"",
        media="application/octet-stream",
        head={"content-range": r"bytes \*/10"},
    ),
    Case("GET /files/{id}/content", "knows no other", lambda w: w.get("/files/file-none/content"), 404),
    Case(
        "GET /containers/{container}/files/{id}/content",
        "gives what a tool wrote",
        container_file,
        content=b"0123456789",
        media="text/csv",
    ),
    Case(
        "GET /containers/{container}/files/{id}/content",
        "gives a range",
        lambda w: container_file(w, range="bytes=-3"),
        206,
        content=b"789",
        media="text/csv",
    ),
    Case(
        "GET /containers/{container}/files/{id}/content",
        "knows no other",
        lambda w: w.get("/containers/cntr_1/files/cfile_none/content"),
        404,
    ),
]
UPLOADS: Final = [
    Case(
        "POST /uploads",
        "opens for an hour",
        lambda w: w.post(
            "/uploads", json={"bytes": 10, "filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
        ),
        body={**UPLOAD, "status": "pending", "file": None},
    ),
    Case("POST /uploads", "refuses half of it", lambda w: w.post("/uploads", json={"bytes": 10}), 400),
    Case(
        "POST /uploads",
        "refuses more than 8 GB",
        lambda w: w.post(
            "/uploads", json={"bytes": 8_000_000_001, "filename": "a", "mime_type": "a/b", "purpose": "user_data"}
        ),
        400,
    ),
    Case(
        "POST /uploads/{id}/parts",
        "takes a part",
        lambda w: part(w, upload(w), b"01234"),
        body={
            "id": re.compile("part_.+"),
            "object": "upload.part",
            "created_at": unix_time,
            "upload_id": re.compile("upload_.+"),
        },
    ),
    Case(
        "POST /uploads/{id}/parts",
        "refuses another field",
        lambda w: w.post(f"/uploads/{upload(w)}/parts", files={"file": ("blob", b"x")}),
        400,
    ),
    Case("POST /uploads/{id}/parts", "knows no other upload", lambda w: part(w, "upload_none", b"x"), 404),
    Case(
        "POST /uploads/{id}/complete",
        "joins the parts in the order that is named",
        lambda w: complete(w, md5=hashlib.md5(b"0123456789", usedforsecurity=False).hexdigest()),
        body={**UPLOAD, "status": "completed", "bytes": 10, "file": {**FILE, "bytes": 10}},
    ),
    Case("POST /uploads/{id}/complete", "refuses another MD5", lambda w: complete(w, md5="0" * 32), 400),
    Case(
        "POST /uploads/{id}/complete",
        "refuses what is not all",
        lambda w: w.post(f"/uploads/{upload(w)}/complete", json={"part_ids": []}),
        400,
    ),
    Case(
        "POST /uploads/{id}/complete",
        "knows no other upload",
        lambda w: w.post("/uploads/upload_none/complete", json={"part_ids": []}),
        404,
    ),
    Case(
        "POST /uploads/{id}/cancel",
        "cancels",
        lambda w: w.post(f"/uploads/{upload(w)}/cancel"),
        body={**UPLOAD, "status": "cancelled", "file": None},
    ),
    Case("POST /uploads/{id}/cancel", "knows no other upload", lambda w: w.post("/uploads/upload_none/cancel"), 404),
]
BATCHES: Final = [
    Case(
        "POST /batches",
        "makes a batch, with metadata",
        lambda w: post_batch(
            w, metadata={"perdure_job": "j1"}, output_expires_after={"anchor": "created_at", "seconds": 3_600}
        ),
        body={**BATCH, "status": "validating", "metadata": {"perdure_job": "j1"}},
    ),
    *(
        Case("POST /batches", f"refuses {name}", given(post_batch, **{field: value}), 400)
        for name, (field, value) in {
            "another window": ("completion_window", "1h"),
            "another endpoint": ("endpoint", "/v1/none"),
            "17 pairs of metadata": ("metadata", {f"k{n}": "v" for n in range(17)}),
            "a key of 65 characters": ("metadata", {"k" * 65: "v"}),
            "a value of 513 characters": ("metadata", {"k": "v" * 513}),
            "an output that lives too short": ("output_expires_after", {"anchor": "created_at", "seconds": 3_599}),
            "a file that is not there": ("input_file_id", "file-none"),
        }.items()
    ),
    Case(
        "POST /batches",
        "takes 16 pairs at their longest",
        lambda w: post_batch(w, metadata={f"{n:0>64}": "v" * 512 for n in range(16)}),
        body=BATCH,
    ),
    Case("GET /batches", "lists twenty", lambda w: w.get("/batches", limit=20), body=page(BATCH)),
    *(
        Case(
            "GET /batches/{id}",
            f"is {status} in its turn",
            given(batch, after_s=BATCH_S * share),
            body={**BATCH, "status": status, "output_file_id": said if status == "completed" else None},
            head={"openai-poll-after-ms": r"\d+"},
        )
        for status, share in (("validating", 0.05), ("in_progress", 0.5), ("finalizing", 0.95), ("completed", 1))
    ),
    Case(
        "GET /batches/{id}",
        "tells by failing what is wrong with its input",
        lambda w: batch(w, after_s=BATCH_S, data=BAD_LINES),
        body={
            **BATCH,
            "status": "failed",
            "failed_at": unix_time,
            "errors": {"object": "list", "data": [{**LINE_ERROR, "code": "invalid_json_line", "line": 2}]},
        },
    ),
    Case(
        "GET /batches/{id}",
        "completes without output where every line failed",
        lambda w: batch(w, after_s=BATCH_S, data=NOPE_LINE),
        body={
            **BATCH,
            "status": "completed",
            "output_file_id": None,
            "error_file_id": said,
            "request_counts": {"total": 1, "completed": 0, "failed": 1},
        },
    ),
    Case("GET /batches/{id}", "expires", expired, body={**BATCH, "status": "expired", "expired_at": unix_time}),
    Case(
        "GET /files/{id}/content",
        "says of lines that they were not run",
        given(expired, lines=True),
        lines=UNRUN_LINE,
        media="application/octet-stream",
    ),
    Case("GET /batches/{id}", "is cancelled", cancelled_batch, body={**BATCH, "status": "cancelled"}),
    Case("GET /batches/{id}", "knows no other", lambda w: w.get("/batches/batch_none"), 404),
    Case(
        "GET /files/{id}/content",
        "gives a batch's output",
        lambda w: lines(w, "output_file_id", JSONL),
        lines=LINE,
        media="application/octet-stream",
    ),
    Case(
        "GET /files/{id}/content",
        "gives a batch's errors",
        lambda w: lines(w, "error_file_id", NOPE_LINE),
        lines=ERROR_LINE,
        media="application/octet-stream",
    ),
    Case(
        "POST /batches/{id}/cancel",
        "cancels",
        lambda w: w.post(f"/batches/{ok(post_batch(w))['id']}/cancel"),
        body={**BATCH, "status": "cancelling", "cancelling_at": unix_time},
    ),
    Case("POST /batches/{id}/cancel", "refuses what has ended (409: ours)", cancel_twice, 409),
    Case("POST /batches/{id}/cancel", "knows no other", lambda w: w.post("/batches/batch_none/cancel"), 404),
]
LIVE: Final = [
    *(Case(f"POST {path}", "answers", given(asked, path), body=shape) for path, (_, shape) in ASKS.items()),
    *(Case(f"POST {path}", "needs a model", given(asked, path, model=""), 400) for path in ASKS),
    *(Case(f"POST {path}", "refuses no JSON", given(Wire.post, path, content=b"{"), 400) for path in ASKS),
    *(Case(f"POST {path}", "knows no other model", given(asked, path, model="nope"), 404) for path in ASKS),
    Case(
        "POST /embeddings",
        "answers in base64",
        given(asked, "/embeddings", encoding_format="base64"),
        body={**EMBEDDINGS, "data": [{"object": "embedding", "index": int, "embedding": said}]},
    ),
    Case("GET /models", "lists all", lambda w: w.get("/models"), body={"object": "list", "data": [MODEL]}),
    Case("GET /models/{id}", "shows one", lambda w: w.get("/models/gpt-6-astra"), body=MODEL),
    Case("GET /models/{id}", "knows no other", lambda w: w.get("/models/nope"), 404),
]
PAGES: Final = [
    Pages(
        route="GET /files",
        make=file,
        page=page(FILE),
        ids=ids,
        following=following,
        limit="limit",
        usual=10_000,
        most=10_000,
        nowhere=[{"after": "file-none"}],
        remove=lambda w, id_: w.delete(f"/files/{id_}"),
    ),
    Pages(
        route="GET /files",
        make=file,
        page=page(FILE),
        ids=ids,
        following=following,
        limit="limit",
        usual=10_000,
        most=10_000,
        nowhere=[{"order": "up"}],
        params={"order": "asc", "purpose": "user_data"},
        newest_first=False,
    ),
    Pages(
        route="GET /batches",
        make=lambda w: str(ok(post_batch(w))["id"]),
        page=page(BATCH),
        ids=ids,
        following=following,
        limit="limit",
        usual=20,
        most=100,
        nowhere=[{"after": "batch_none"}],
    ),
]
DURATION: Final = r"(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?"
OPENAI: Final = Contract(
    name="openai",
    prefix=OPENAI_PREFIX,
    variants=[Variant("bearer", lambda key: {"authorization": f"Bearer {key}"})],
    head={"x-request-id": r"\S+"},
    answered={"openai-processing-ms": r"\d+", "openai-version": r"\S+", "openai-organization": r"\S+"},
    error=error,
    no_key=401,
    bad_key=401,
    rated={
        "x-ratelimit-limit-requests": r"\d+",
        "x-ratelimit-remaining-requests": r"\d+",
        "x-ratelimit-reset-requests": DURATION,
    },
    limited={"retry-after": r"\d+", "retry-after-ms": r"\d+"},
    unsaid=["request-id", "x-trace-id", "anthropic-ratelimit-requests-limit"],
    unknown=frozenset({404}),
    cases=[*FILES, *UPLOADS, *BATCHES, *LIVE, *MEDIA],
    pages=[*PAGES, *MEDIA_PAGES],
    key_code="invalid_api_key",
    bodyless={
        "POST /uploads/{id}/cancel": NO_BODY,
        "POST /batches/{id}/cancel": NO_BODY,
    },
    unpaged={
        "GET /models": "OpenAI's list of models has no pages",
        "GET /files/{id}/content": "bytes",
        "GET /videos/{id}/content": "bytes",
        "GET /containers/{container}/files/{id}/content": "bytes",
    },
)
