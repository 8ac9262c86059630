"""What a client says to Anthropic: files, batches, messages."""

from __future__ import annotations

from typing import Final

import httpx

from perdure.adapters.simulator.faults import ExpireNow
from tests.conformance.wire.contract import BATCH_S, Wire, ok

BETA: Final = {"anthropic-beta": "other-2025-01-01,files-api-2025-04-14"}
DAY_S: Final = 86_400


def post_file(w: Wire, data: bytes = b"words", **fields: str) -> httpx.Response:
    """Uploads a file."""
    return w.post("/v1/files", data=fields, files={"file": ("notes.txt", data, "text/plain")})


def file(w: Wire) -> str:
    """A file's id."""
    return str(ok(post_file(w))["id"])


def made_by_a_tool(w: Wire) -> httpx.Response:
    """The bytes of a file that a tool made."""
    made = w.make_file("anthropic", b"0123456789", type="text/csv", filename="a.csv")
    return w.get(f"/v1/files/{made}/content")


def expired_content(w: Wire) -> httpx.Response:
    """The bytes of a file whose time is over."""
    made = ok(post_file(w, expires_in_seconds="3600"))["id"]
    w.simulator.advance(3_600)
    return w.get(f"/v1/files/{made}/content")


def params(**changed: object) -> dict[str, object]:
    """What a model is asked."""
    return {"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **changed}


def request(custom_id: str = "j1-0001", **changed: object) -> dict[str, object]:
    """A request of a batch."""
    return {"custom_id": custom_id, "params": params(**changed)}


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


def expired(w: Wire, of: str) -> httpx.Response:
    """A batch that expired with nothing done, or what is below it."""
    w.simulator.faults.arm(ExpireNow(done=0.0))
    return batch(w, after_s=BATCH_S, of=of)


def ended(w: Wire) -> str:
    """The id of a batch that has ended."""
    return str(ok(batch(w, after_s=BATCH_S))["id"])


def at_results_url(w: Wire) -> httpx.Response:
    """The results of a batch, from where it says that they are."""
    shown = ok(batch(w, after_s=BATCH_S))
    return w.http.get(shown["results_url"], headers=w.headers)


def ask(w: Wire, **changed: object) -> httpx.Response:
    """Asks a model."""
    return w.post("/v1/messages", json=params(**changed))


def ask_without(w: Wire, field: str) -> httpx.Response:
    """Asks a model, with a field missing."""
    return w.post("/v1/messages", json={name: value for name, value in params().items() if name != field})


def beta_list(w: Wire, **params: str) -> httpx.Response:
    """The list of files in the form that the beta gave it."""
    return w.with_headers("GET", "/v1/files", BETA, params=params)
