"""Anthropic's contract: `contracts/providers.md` section 2. What that leaves open is marked as ours.

The bodies of messages and models stand in no section; they are those of Anthropic's Python SDK 2.11. Limits of tokens
have headers too, which the simulator does not claim: it limits requests only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from tests.conformance.wire.anthropic_calls import (
    BETA,
    DAY_S,
    ask,
    ask_without,
    at_results_url,
    batch,
    beta_list,
    cancelled,
    ended,
    expired,
    expired_content,
    file,
    made_by_a_tool,
    post_batch,
    post_file,
    request,
)
from tests.conformance.wire.anthropic_shapes import (
    BATCH,
    ERRORED,
    FILE,
    LISTING,
    MESSAGE,
    MODEL,
    SUCCEEDED,
    after,
    counted,
    error,
    ids,
    next_page,
)
from tests.conformance.wire.contract import BATCH_S, Case, Contract, Pages, Variant, Wire, given, ok
from tests.conformance.wire.shapes import apart, rfc3339, said

FILES: Final = [
    Case("POST /v1/files", "stores a file", post_file, body={**FILE, "downloadable": False, "expires_at": None}),
    *(
        Case("POST /v1/files", f"lets it live {s} s", given(post_file, expires_in_seconds=str(s)), body=apart(s))
        for s in (3_600, 7_776_000)
    ),
    *(
        Case("POST /v1/files", f"refuses a life of {s} s", given(post_file, expires_in_seconds=s), 400)
        for s in ("3599", "7776001", "soon")
    ),
    Case("POST /v1/files", "refuses a form without a file", lambda w: w.post("/v1/files", data={"a": "b"}), 400),
    Case("GET /v1/files", "lists", lambda w: w.get("/v1/files", limit=2), body={"data": [FILE], "next_page": object}),
    Case(
        "GET /v1/files",
        "lists by ids, of which some may be gone",
        lambda w: w.get("/v1/files", ids=[file(w), "file_none"]),
        body={"data": [FILE], "next_page": None},
    ),
    Case(
        "GET /v1/files",
        "takes no more than 100 ids",
        lambda w: w.get("/v1/files", ids=[f"file_{n}" for n in range(101)]),
        400,
    ),
    Case("GET /v1/files", "tolerates the beta's flag", beta_list, body={"data": [FILE], **LISTING}),
    Case("GET /v1/files/{id}", "shows a file", lambda w: w.get(f"/v1/files/{file(w)}"), body=FILE),
    Case("GET /v1/files/{id}", "knows no other", lambda w: w.get("/v1/files/file_none"), 404),
    Case(
        "DELETE /v1/files/{id}",
        "deletes a file",
        lambda w: w.delete(f"/v1/files/{file(w)}"),
        body={"id": re.compile("file_.+"), "type": "file_deleted"},
    ),
    Case("DELETE /v1/files/{id}", "knows no other", lambda w: w.delete("/v1/files/file_none"), 404),
    Case(
        "GET /v1/files/{id}/content",
        "gives what a tool made",
        made_by_a_tool,
        content=b"0123456789",
        media="text/csv",
    ),
    Case(
        "GET /v1/files/{id}/content",
        "does not give what was uploaded",
        lambda w: w.get(f"/v1/files/{file(w)}/content"),
        400,
        body=error(400, "file_not_downloadable"),
    ),
    Case(
        "GET /v1/files/{id}/content",
        "does not give what has expired",
        expired_content,
        404,
        body=error(404, "file_expired"),
    ),
    Case("GET /v1/files/{id}/content", "knows no other", lambda w: w.get("/v1/files/file_none/content"), 404),
]
BATCHES: Final = [
    Case(
        "POST /v1/messages/batches",
        "makes a batch",
        post_batch,
        body={
            **BATCH,
            "processing_status": "in_progress",
            "request_counts": counted(processing=1),
            "results_url": None,
        },
    ),
    *(
        Case("POST /v1/messages/batches", f"refuses {name}", given(post_batch, *requests), 400)
        for name, requests in {
            "a custom id that is there twice": [request(), request()],
            "a custom id of other characters": [request("a b")],
            "a custom id of 65 characters": [request("a" * 65)],
            "an empty custom id": [request("")],
        }.items()
    ),
    Case(
        "POST /v1/messages/batches",
        "refuses no requests",
        lambda w: w.post("/v1/messages/batches", json={"requests": []}),
        400,
    ),
    Case(
        "POST /v1/messages/batches",
        "takes the longest custom id",
        given(post_batch, request("aZ_-" * 16)),
        body=BATCH,
    ),
    Case(
        "GET /v1/messages/batches",
        "lists",
        lambda w: w.get("/v1/messages/batches", limit=3),
        body={"data": [BATCH], **LISTING},
    ),
    Case(
        "GET /v1/messages/batches/{id}",
        "shows no progress before the end",
        given(batch, request("a"), request("b"), after_s=BATCH_S * 0.8),
        body={**BATCH, "processing_status": "in_progress", "request_counts": counted(processing=2), "ended_at": None},
    ),
    Case(
        "GET /v1/messages/batches/{id}",
        "has ended",
        given(batch, request("a"), request("b", model="nope"), after_s=BATCH_S),
        body={
            **BATCH,
            "processing_status": "ended",
            "ended_at": rfc3339,
            "results_url": said,
            "request_counts": counted(succeeded=1, errored=1),
        },
    ),
    Case(
        "GET /v1/messages/batches/{id}",
        "has ended when cancelled",
        given(cancelled, ""),
        body={
            **BATCH,
            "processing_status": "ended",
            "cancel_initiated_at": rfc3339,
            "request_counts": counted(canceled=1),
        },
    ),
    Case(
        "GET /v1/messages/batches/{id}",
        "has ended when expired",
        given(expired, ""),
        body={**BATCH, "processing_status": "ended", "request_counts": counted(expired=1)},
    ),
    Case(
        "GET /v1/messages/batches/{id}/results",
        "says what expired",
        given(expired, "/results"),
        lines={"custom_id": said, "result": {"type": "expired"}},
        media="application/x-jsonl",
    ),
    Case(
        "GET /v1/messages/batches/{id}",
        "is archived after 29 days",
        given(batch, after_s=29 * DAY_S),
        body={**BATCH, "archived_at": rfc3339, "results_url": None},
    ),
    Case("GET /v1/messages/batches/{id}", "knows no other", lambda w: w.get("/v1/messages/batches/msgbatch_none"), 404),
    Case(
        "POST /v1/messages/batches/{id}/cancel",
        "cancels",
        lambda w: w.post(f"/v1/messages/batches/{ok(post_batch(w))['id']}/cancel"),
        body={**BATCH, "processing_status": "canceling", "cancel_initiated_at": rfc3339, "ended_at": None},
    ),
    Case(
        "POST /v1/messages/batches/{id}/cancel",
        "refuses what has ended (400: ours)",
        lambda w: w.post(f"/v1/messages/batches/{ended(w)}/cancel"),
        400,
    ),
    Case(
        "POST /v1/messages/batches/{id}/cancel",
        "knows no other",
        lambda w: w.post("/v1/messages/batches/msgbatch_none/cancel"),
        404,
    ),
    Case(
        "DELETE /v1/messages/batches/{id}",
        "deletes what has ended",
        lambda w: w.delete(f"/v1/messages/batches/{ended(w)}"),
        body={"id": re.compile("msgbatch_.+"), "type": "message_batch_deleted"},
    ),
    Case(
        "DELETE /v1/messages/batches/{id}",
        "refuses what has not ended",
        lambda w: w.delete(f"/v1/messages/batches/{ok(post_batch(w))['id']}"),
        400,
    ),
    Case(
        "DELETE /v1/messages/batches/{id}",
        "knows no other",
        lambda w: w.delete("/v1/messages/batches/msgbatch_none"),
        404,
    ),
    *(
        # The contract calls them JSONL and names no content type; this one is ours.
        Case("GET /v1/messages/batches/{id}/results", does, call, lines=line, media="application/x-jsonl")
        for does, call, line in (
            ("gives an answer", at_results_url, SUCCEEDED),
            ("gives an error", given(batch, request(model="nope"), after_s=BATCH_S, of="/results"), ERRORED),
            (
                "says what was cancelled",
                given(cancelled, "/results"),
                {"custom_id": said, "result": {"type": "canceled"}},
            ),
        )
    ),
    Case("GET /v1/messages/batches/{id}/results", "has none before the end", given(batch, of="/results"), 400),
    Case(
        "GET /v1/messages/batches/{id}/results",
        "has none after 29 days",
        given(batch, after_s=29 * DAY_S, of="/results"),
        404,
    ),
    Case(
        "GET /v1/messages/batches/{id}/results",
        "knows no other",
        lambda w: w.get("/v1/messages/batches/msgbatch_none/results"),
        404,
    ),
]
LIVE: Final = [
    Case("POST /v1/messages", "answers", ask, body={**MESSAGE, "stop_reason": "end_turn"}),
    Case("POST /v1/messages", "stops", given(ask, max_tokens=1), body={**MESSAGE, "stop_reason": "max_tokens"}),
    Case("POST /v1/messages", "refuses no JSON", given(Wire.post, "/v1/messages", content=b"{"), 400),
    *(
        Case("POST /v1/messages", f"needs {field}", given(ask_without, field), 400)
        for field in ("model", "max_tokens", "messages")
    ),
    Case("POST /v1/messages", "refuses what it does not know", given(ask, surprise=1), 400),
    Case("POST /v1/messages", "knows no other model", given(ask, model="nope"), 404),
    Case("GET /v1/models", "lists all", lambda w: w.get("/v1/models"), body={"data": [MODEL], **LISTING}),
    Case("GET /v1/models/{id}", "shows one", lambda w: w.get("/v1/models/claude-sonnet-5-5"), body=MODEL),
    Case("GET /v1/models/{id}", "knows no other", lambda w: w.get("/v1/models/nope"), 404),
]
PAGES: Final = [
    Pages(
        route="GET /v1/files",
        make=file,
        page={"data": [FILE], "next_page": (re.compile("page_.+"), None)},
        ids=ids,
        following=next_page,
        limit="limit",
        usual=20,
        most=1_000,
        nowhere=[{"page": "page_none"}, {"page": "none"}],
        remove=lambda w, id_: w.delete(f"/v1/files/{id_}"),
    ),
    Pages(
        route="GET /v1/files",
        make=file,
        page={"data": [FILE], **LISTING},
        ids=ids,
        following=after,
        limit="limit",
        usual=20,
        most=1_000,
        nowhere=[{"after_id": "file_none"}, {"before_id": "file_none"}],
        remove=lambda w, id_: w.delete(f"/v1/files/{id_}"),
        headers=BETA,
        backwards="before_id",
    ),
    Pages(
        route="GET /v1/messages/batches",
        make=lambda w: str(ok(post_batch(w))["id"]),
        page={"data": [BATCH], **LISTING},
        ids=ids,
        following=after,
        limit="limit",
        usual=20,
        most=1_000,
        nowhere=[{"after_id": "msgbatch_none"}, {"before_id": "msgbatch_none"}],
        backwards="before_id",
    ),
]
VERSIONS: Final = ("2026-10-21", "2023-06-01")


def _variant(name: str, version: str) -> Variant:
    def headers(key: str) -> Mapping[str, str]:
        keyed = {"x-api-key": key} if name == "x-api-key" else {"authorization": f"Bearer {key}"}
        return {**keyed, "anthropic-version": version}

    return Variant(f"{name} {version}", headers)


ANTHROPIC: Final = Contract(
    name="anthropic",
    prefix=ANTHROPIC_PREFIX,
    variants=[_variant(name, version) for version in VERSIONS for name in ("bearer", "x-api-key")],
    head={"request-id": "req_.+"},
    answered={},
    error=error,
    no_key=401,
    bad_key=401,
    rated={
        "anthropic-ratelimit-requests-limit": r"\d+",
        "anthropic-ratelimit-requests-remaining": r"\d+",
        "anthropic-ratelimit-requests-reset": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    },
    limited={"retry-after": r"\d+"},
    unsaid=["x-request-id", "x-trace-id", "x-ratelimit-limit-requests", "retry-after-ms", "openai-version"],
    unknown=frozenset({404}),
    cases=[*FILES, *BATCHES, *LIVE],
    pages=PAGES,
    bodyless={"POST /v1/messages/batches/{id}/cancel": "a cancellation has an empty body"},
    unpaged={
        "GET /v1/models": "ours: two models, which are one page",
        "GET /v1/files/{id}/content": "bytes",
        "GET /v1/messages/batches/{id}/results": "lines, all of them at once",
    },
)
