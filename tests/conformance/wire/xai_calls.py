"""What a client says to xAI: files, batches, questions."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import msgspec

from perdure.adapters.simulator.faults import ExpireNow
from tests.conformance.wire.contract import BATCH_S, Wire, ok
from tests.conformance.wire.openai_shapes import RESPONSE, TOKENS
from tests.conformance.wire.shapes import Shape
from tests.conformance.wire.xai_shapes import COST, PRICED_CHAT

ASKS: Final[dict[str, tuple[dict[str, object], Shape]]] = {
    "/responses": ({"model": "grok-5", "input": "hello"}, {**RESPONSE, "usage": {**TOKENS, **COST}}),
    "/chat/completions": ({"model": "grok-5", "messages": [{"role": "user", "content": "hello"}]}, PRICED_CHAT),
}


def line(url: str = "/v1/responses", model: str = "m") -> bytes:
    """A line of a batch's input."""
    body: dict[str, object] = {"model": model}
    body |= {"input": "hello"} if url == "/v1/responses" else {"messages": [{"role": "user", "content": "hello"}]}
    return msgspec.json.encode({"custom_id": "a", "method": "POST", "url": url, "body": body})


def post_file(w: Wire, data: bytes = b"words", **fields: str) -> httpx.Response:
    """Uploads a file."""
    return w.post("/files", data=fields, files={"file": ("a.txt", data)})


def file(w: Wire, data: bytes = b"words") -> str:
    """A file's id."""
    return str(ok(post_file(w, data))["id"])


def late_life(w: Wire) -> httpx.Response:
    """Uploads a file with its life behind it."""
    return w.post("/files", files={"file": ("a.txt", b"x"), "expires_after": (None, b"3600")})


def ranged(w: Wire, span: str) -> httpx.Response:
    """A part of a file. xAI's contract says nothing about ranges; `docs/simulator.md` claims one."""
    return w.with_headers("GET", f"/files/{file(w, b'0123456789')}/content", {"range": span})


def sealed(w: Wire, data: bytes) -> httpx.Response:
    """Makes a batch of a file."""
    return w.post("/batches", json={"name": "perdure-j1", "input_file_id": file(w, data)})


def batch(w: Wire, data: bytes, *, after_s: float = 0.0, of: str = "") -> httpx.Response:
    """A sealed batch, or what is below it, looked at so many seconds after it was made."""
    made = ok(sealed(w, data))["batch_id"]
    w.simulator.advance(after_s)
    return w.get(f"/batches/{made}{of}")


def open_batch(w: Wire) -> str:
    """The id of a batch that takes requests."""
    return str(ok(w.post("/batches", json={"name": "perdure-j1"}))["batch_id"])


def added(w: Wire, to: str, asked: object = None) -> httpx.Response:
    """Adds a request to a batch."""
    usual = {"chat_get_completion": {"model": "m", "messages": [{"role": "user", "content": "hello"}]}}
    requests = [{"batch_request_id": "a", "batch_request": usual if asked is None else asked}]
    return w.post(f"/batches/{to}/requests", json={"batch_requests": requests})


def filled(w: Wire, *, after_s: float, of: str = "") -> httpx.Response:
    """A batch to which a request was added, or what is below it, so many seconds later."""
    made = open_batch(w)
    ok(added(w, made))
    w.simulator.advance(after_s)
    return w.get(f"/batches/{made}{of}")


def cancelled(w: Wire) -> httpx.Response:
    """A batch that was cancelled at once, when all is over."""
    made = ok(sealed(w, line()))["batch_id"]
    w.simulator.advance(BATCH_S * 0.2)
    ok(w.post(f"/batches/{made}:cancel"))
    w.simulator.advance(BATCH_S)
    return w.get(f"/batches/{made}")


def expired(w: Wire) -> httpx.Response:
    """A batch whose time is over before anything was done."""
    w.simulator.faults.arm(ExpireNow(done=0.0))
    shown = batch(w, line(), after_s=BATCH_S)
    assert datetime.fromisoformat(ok(shown)["expire_time"]) < parsedate_to_datetime(shown.headers["date"])
    return shown


def cancel_ended(w: Wire) -> httpx.Response:
    """Cancels a batch that has ended."""
    made = ok(batch(w, line(), after_s=BATCH_S))["batch_id"]
    return w.post(f"/batches/{made}:cancel")


def result_page(w: Wire, count: int) -> str:
    """The path of the results of a finished batch that has so many."""
    lines = b"\n".join(line().replace(b'"a"', b'"%d"' % n, 1) for n in range(count))
    return f"/batches/{ok(batch(w, lines, after_s=BATCH_S))['batch_id']}/results"


def asked(w: Wire, path: str, **changed: object) -> httpx.Response:
    """Asks a model what `ASKS` says, with other fields."""
    return w.post(path, json={**ASKS[path][0], **changed})
