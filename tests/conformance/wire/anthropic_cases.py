"""Anthropic's contract: `contracts/providers.md` section 2. What that leaves open is marked as ours.

The bodies of messages and models stand in no section; they are those of Anthropic's Python SDK 2.11. Limits of tokens
have headers too, which the simulator does not claim: it limits requests only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import httpx

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from tests.conformance.wire.contract import BATCH_S, Case, Contract, Pages, Variant, Wire, given, ok
from tests.conformance.wire.shapes import Shape, rfc3339, said

BETA: Final = {"anthropic-beta": "other-2025-01-01,files-api-2025-04-14"}
DAY_S: Final = 86_400

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


def post_file(w: Wire, data: bytes = b"words", **fields: str) -> httpx.Response:
    """Uploads a file."""
    return w.post("/v1/files", data=fields, files={"file": ("notes.txt", data, "text/plain")})


def file(w: Wire) -> str:
    """A file's id."""
    return str(ok(post_file(w))["id"])


def dated(seconds: int) -> Shape:
    """A file that expires so long after it was made; both are whole seconds."""

    def fits(shown: object) -> bool:
        assert isinstance(shown, dict)
        made, over = (datetime.fromisoformat(shown[name]) for name in ("created_at", "expires_at"))
        return (over - made).total_seconds() == seconds

    return fits


def made_by_a_tool(w: Wire) -> httpx.Response:
    """The bytes of a file that a tool made."""
    made = w.make_file("anthropic", b"0123456789", type="text/csv", filename="a.csv")
    return w.get(f"/v1/files/{made}/content")


def expired_content(w: Wire) -> httpx.Response:
    """The bytes of a file whose time is over."""
    made = ok(post_file(w, expires_in_seconds="3600"))["id"]
    w.simulator.advance(3_600)
    return w.get(f"/v1/files/{made}/content")


def request(custom_id: str = "j1-0001", **changed: object) -> dict[str, object]:
    """A request of a batch."""
    params = {"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **changed}
    return {"custom_id": custom_id, "params": params}


def post_batch(w: Wire, *requests: object) -> httpx.Response:
    """Makes a batch."""
    return w.post("/v1/messages/batches", json={"requests": requests or [request()]})


def batch(w: Wire, *requests: object, after_s: float = 0.0, of: str = "") -> httpx.Response:
    """A batch, or what is below it, looked at so many seconds after it was made."""
    made = ok(post_batch(w, *requests))["id"]
    w.simulator.advance(after_s)
    return w.get(f"/v1/messages/batches/{made}{of}")


def cancelled(w: Wire, of: str) -> httpx.Response:
    """A batch that was cancelled at once and has ended, or what is below it."""
    made = ok(post_batch(w))["id"]
    ok(w.post(f"/v1/messages/batches/{made}/cancel"))
    w.simulator.advance(BATCH_S)
    return w.get(f"/v1/messages/batches/{made}{of}")


def ended(w: Wire) -> str:
    """The id of a batch that has ended."""
    return str(ok(batch(w, after_s=BATCH_S))["id"])


def at_results_url(w: Wire) -> httpx.Response:
    """The results of a batch, from where it says that they are."""
    shown = ok(batch(w, after_s=BATCH_S))
    return w.http.get(shown["results_url"], headers=w.headers)


def ask(w: Wire, **changed: object) -> httpx.Response:
    """Asks a model."""
    return w.post("/v1/messages", json=request("unused", **changed)["params"])


def ask_without(w: Wire, field: str) -> httpx.Response:
    """Asks a model, with a field missing."""
    params = request()["params"]
    assert isinstance(params, dict)
    return w.post("/v1/messages", json={name: value for name, value in params.items() if name != field})


def beta_list(w: Wire, **params: str) -> httpx.Response:
    """The list of files in the form that the beta gave it."""
    return w.with_headers("GET", "/v1/files", BETA, params=params)


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

FILES: Final = [
    Case("POST /v1/files", "stores a file", post_file, body={**FILE, "downloadable": False, "expires_at": None}),
    *(
        Case("POST /v1/files", f"lets it live {s} s", given(post_file, expires_in_seconds=str(s)), body=dated(s))
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
