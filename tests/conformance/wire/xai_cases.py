"""xAI's contract: `contracts/providers.md` section 4. What that leaves open is marked as ours.

Bodies of responses and chat completions are OpenAI's, with what they cost. Rate headers are marked [?] there.
"""

from __future__ import annotations

import re
from typing import Final

from perdure.adapters.simulator import XAI_PREFIX
from tests.conformance.wire.contract import BATCH_S, Case, Contract, Pages, Variant, given, ok
from tests.conformance.wire.openai_cases import DURATION
from tests.conformance.wire.openai_shapes import MODEL
from tests.conformance.wire.shapes import apart, positive, rfc3339, said
from tests.conformance.wire.xai_calls import (
    ASKS,
    added,
    asked,
    batch,
    cancel_ended,
    cancelled,
    expired,
    file,
    filled,
    late_life,
    line,
    open_batch,
    post_file,
    ranged,
    result_page,
    sealed,
)
from tests.conformance.wire.xai_media_cases import KEYLESS, MEDIA, UNPAGED
from tests.conformance.wire.xai_shapes import BATCH, FAILED, FILE, FILE_PAGE, RESULT, counted, error, following

FILES: Final = [
    Case("POST /files", "stores a file, for ever", post_file, body={**FILE, "expires_at": None}),
    Case("POST /files", "takes a purpose", given(post_file, purpose="assistants"), body=FILE),
    *(
        Case("POST /files", f"lets it live {s} s", given(post_file, expires_after=str(s)), body=apart(s))
        for s in (3_600, 2_592_000)
    ),
    *(
        Case("POST /files", f"refuses a life of {s} s", given(post_file, expires_after=s), 400)
        for s in ("3599", "2592001", "soon")
    ),
    Case("POST /files", "refuses a life behind the file", late_life, 400),
    Case("POST /files", "refuses a form without a file", lambda w: w.post("/files", data={"purpose": "x"}), 400),
    Case("GET /files", "lists", lambda w: w.get("/files", limit=2), body=FILE_PAGE),
    Case("GET /files", "refuses an unknown order", lambda w: w.get("/files", order="up"), 400),
    Case("GET /files/{id}", "shows a file", lambda w: w.get(f"/files/{file(w)}"), body=FILE),
    Case("GET /files/{id}", "knows no other", lambda w: w.get("/files/file_none"), 404),
    Case(
        "DELETE /files/{id}",
        "deletes a file",
        lambda w: w.delete(f"/files/{file(w)}"),
        body={"id": said, "object": "file", "deleted": True},
    ),
    Case("DELETE /files/{id}", "knows no other", lambda w: w.delete("/files/file_none"), 404),
    Case(
        "GET /files/{id}/content",
        "gives the bytes",
        lambda w: w.get(f"/files/{file(w)}/content"),
        content=b"words",
        media="application/octet-stream",
    ),
    Case(
        "GET /files/{id}/content",
        "gives a range",
        lambda w: ranged(w, "bytes=7-"),
        206,
        content=b"789",
        media="application/octet-stream",
        head={"content-range": "bytes 7-9/10"},
    ),
    Case("GET /files/{id}/content", "knows no other", lambda w: w.get("/files/file_none/content"), 404),
]
BATCHES: Final = [
    Case(
        "GET /batches",
        "lists",
        lambda w: w.get("/batches", limit=2),
        body={"batches": [BATCH], "pagination_token": (said, None)},
    ),
    Case(
        "POST /batches",
        "makes one that takes requests",
        lambda w: w.post("/batches", json={"name": "perdure-j1"}),
        body={**BATCH, "name": "perdure-j1", "state": counted(), "cancel_time": None},
    ),
    Case(
        "POST /batches",
        "makes one of a file, which may mix endpoints",
        given(sealed, line() + b"\n" + line("/v1/chat/completions").replace(b'"a"', b'"b"', 1)),
        body=BATCH,
    ),
    Case("POST /batches", "needs a name", lambda w: w.post("/batches", json={}), 400),
    *(
        Case("POST /batches", f"refuses {name} (at once: ours)", given(sealed, data), 400)
        for name, data in {
            "a line that is no JSON": b"{",
            "another endpoint": line().replace(b"/v1/responses", b"/v1/none"),
            "an id that is there twice": line() + b"\n" + line(),
        }.items()
    ),
    Case(
        "POST /batches",
        "refuses a file that is not there",
        lambda w: w.post("/batches", json={"name": "j", "input_file_id": "file_none"}),
        400,
    ),
    Case(
        "GET /batches/{id}",
        "is pending",
        given(batch, line(), after_s=BATCH_S / 2),
        body={**BATCH, "state": counted(requests=1, pending=1)},
    ),
    Case(
        "GET /batches/{id}",
        "is finished, and tells what it cost",
        given(batch, line(), after_s=BATCH_S),
        body={
            **BATCH,
            "state": counted(requests=1, success=1),
            "cost_breakdown": {"total_cost_usd_ticks": positive},
        },
    ),
    Case(
        "GET /batches/{id}",
        "is finished with an error",
        given(batch, line(model="nope"), after_s=BATCH_S),
        body={**BATCH, "state": counted(requests=1, error=1), "cost_breakdown": {"total_cost_usd_ticks": 0}},
    ),
    Case(
        "GET /batches/{id}",
        "has expired, by its time; what was not done stays pending (ours)",
        expired,
        body={**BATCH, "state": counted(requests=1, pending=1)},
    ),
    Case(
        "GET /batches/{id}",
        "is cancelled",
        cancelled,
        body={**BATCH, "cancel_time": rfc3339, "state": counted(requests=1, cancelled=1)},
    ),
    Case(
        "GET /batches/{id}",
        "counts what was added",
        given(filled, after_s=BATCH_S),
        body={**BATCH, "state": counted(requests=1, success=1)},
    ),
    Case("GET /batches/{id}", "knows no other", lambda w: w.get("/batches/batch_none"), 404),
    Case(
        "POST /batches/{id}:cancel",
        "cancels",
        lambda w: w.post(f"/batches/{open_batch(w)}:cancel"),
        body={**BATCH, "cancel_time": rfc3339},
    ),
    Case("POST /batches/{id}:cancel", "refuses what has ended (400: ours)", cancel_ended, 400),
    Case("POST /batches/{id}:cancel", "knows no other", lambda w: w.post("/batches/batch_none:cancel"), 404),
    # What an addition is answered with, the contract does not say: nothing is claimed but an object.
    Case("POST /batches/{id}/requests", "adds", lambda w: added(w, open_batch(w)), body={}),
    Case(
        "POST /batches/{id}/requests",
        "refuses a request of another kind",
        lambda w: added(w, open_batch(w), {"sing": {}}),
        400,
    ),
    Case(
        "POST /batches/{id}/requests",
        "refuses additions to what is sealed",
        lambda w: added(w, ok(sealed(w, line()))["batch_id"]),
        400,
    ),
    Case("POST /batches/{id}/requests", "knows no other", lambda w: added(w, "batch_none"), 404),
    *(
        Case("GET /batches/{id}/results", does, call, body={"results": [result], "pagination_token": None})
        for does, call, result in (
            ("gives a response as a chat", given(batch, line(), after_s=BATCH_S, of="/results"), RESULT),
            (
                "gives a chat",
                given(batch, line("/v1/chat/completions"), after_s=BATCH_S, of="/results"),
                RESULT,
            ),
            ("gives what was added", given(filled, after_s=BATCH_S, of="/results"), RESULT),
            ("gives an error", given(batch, line(model="nope"), after_s=BATCH_S, of="/results"), FAILED),
        )
    ),
    Case(
        "GET /batches/{id}/results",
        "has none before the end (ours)",
        given(batch, line(), of="/results"),
        body={"results": [False], "pagination_token": None},
    ),
    Case("GET /batches/{id}/results", "knows no other", lambda w: w.get("/batches/batch_none/results"), 404),
]
LIVE: Final = [
    *(Case(f"POST {path}", "answers", given(asked, path), body=shape) for path, (_, shape) in ASKS.items()),
    *(Case(f"POST {path}", "needs a model", given(asked, path, model=""), 400) for path in ASKS),
    *(Case(f"POST {path}", "knows no other model", given(asked, path, model="nope"), 404) for path in ASKS),
    Case("GET /models", "lists all", lambda w: w.get("/models"), body={"object": "list", "data": [MODEL]}),
    Case("GET /models/{id}", "shows one", lambda w: w.get("/models/grok-5"), body=MODEL),
    Case("GET /models/{id}", "knows no other", lambda w: w.get("/models/nope"), 404),
]
PAGES: Final = [
    Pages(
        route="GET /files",
        make=file,
        page=FILE_PAGE,
        ids=lambda page: [item["id"] for item in page["data"]],
        following=following,
        limit="limit",
        usual=100,
        most=100,  # ours: the contract states none
        nowhere=[{"pagination_token": "file_none"}],
        remove=lambda w, id_: w.delete(f"/files/{id_}"),
    ),
    Pages(
        route="GET /batches",
        make=open_batch,
        page={"batches": [BATCH], "pagination_token": (said, None)},
        ids=lambda page: [item["batch_id"] for item in page["batches"]],
        following=following,
        limit="limit",
        usual=100,
        most=100,  # ours: the contract states none
        nowhere=[{"pagination_token": "batch_none"}],
    ),
    Pages(
        route="GET /batches/{id}/results",
        whole=result_page,
        page={
            "results": [{**RESULT, "batch_request_id": re.compile(r"\d+")}],
            "pagination_token": (said, None),
        },
        ids=lambda page: [item["batch_request_id"] for item in page["results"]],
        following=following,
        limit="limit",
        usual=1_000,
        most=1_000,
        nowhere=[{"pagination_token": "none"}, {"pagination_token": "999999999"}],
        newest_first=False,
    ),
]
XAI: Final = Contract(
    name="xai",
    prefix=XAI_PREFIX,
    variants=[Variant("bearer", lambda key: {"authorization": f"Bearer {key}"})],
    head={"x-trace-id": r"\S+"},
    answered={"date": r".+ GMT"},
    error=error,
    no_key=401,
    bad_key=401,
    rated={
        "x-ratelimit-limit-requests": r"\d+",
        "x-ratelimit-remaining-requests": r"\d+",
        "x-ratelimit-reset-requests": DURATION,
    },
    limited={"retry-after": r"\d+"},
    unsaid=["x-request-id", "request-id", "openai-version", "openai-organization", "openai-processing-ms"],
    unknown=frozenset({404}),
    cases=[*FILES, *BATCHES, *LIVE, *MEDIA],
    pages=PAGES,
    bodyless={"POST /batches/{id}:cancel": "a cancellation has an empty body"},
    unpaged={"GET /models": "as OpenAI's, without pages", "GET /files/{id}/content": "bytes", **UNPAGED},
    keyless=KEYLESS,
)
