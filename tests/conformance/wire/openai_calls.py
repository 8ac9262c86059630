"""What a client says to OpenAI: files, uploads, batches, questions."""

from __future__ import annotations

from typing import Final

import httpx
import msgspec

from perdure.adapters.simulator.faults import ExpireNow
from tests.conformance.wire.contract import BATCH_S, Wire, ok
from tests.conformance.wire.openai_shapes import CHAT, EMBEDDINGS, RESPONSE
from tests.conformance.wire.shapes import Shape

ASKS: Final[dict[str, tuple[dict[str, object], Shape]]] = {
    "/responses": ({"model": "gpt-6-astra", "input": "hello", "metadata": {"a": "b"}}, RESPONSE),
    "/chat/completions": ({"model": "gpt-6-astra", "messages": [{"role": "user", "content": "hello"}]}, CHAT),
    "/embeddings": ({"model": "m", "input": ["a", "b"], "encoding_format": "float"}, EMBEDDINGS),
}
JSONL: Final = msgspec.json.encode(
    {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "hello"}}
)
BAD_LINES: Final = JSONL + b"\n{no json\n"
NOPE_LINE: Final = JSONL.replace(b'"m"', b'"nope"')


def post_file(w: Wire, data: bytes = b"words", name: str = "a.txt", **fields: str) -> httpx.Response:
    """Uploads a file."""
    return w.post("/files", data={"purpose": "user_data", **fields}, files={"file": (name, data)})


def file(w: Wire, data: bytes = b"words", name: str = "a.txt", **fields: str) -> str:
    """A file's id."""
    return str(ok(post_file(w, data, name, **fields))["id"])


def post_batch(w: Wire, data: bytes = JSONL, **fields: object) -> httpx.Response:
    """Uploads input and makes a batch of it."""
    input_file_id = file(w, data, "in.jsonl", purpose="batch")
    asked = {"input_file_id": input_file_id, "endpoint": "/v1/responses", "completion_window": "24h", **fields}
    return w.post("/batches", json=asked)


def batch(w: Wire, *, after_s: float = 0.0, data: bytes = JSONL) -> httpx.Response:
    """A batch that was made so many seconds ago, looked at."""
    made = ok(post_batch(w, data))["id"]
    w.simulator.advance(after_s)
    return w.get(f"/batches/{made}")


def cancelled_batch(w: Wire) -> httpx.Response:
    """A batch that was cancelled and has come to its end, looked at."""
    made = ok(post_batch(w))["id"]
    assert ok(w.post(f"/batches/{made}/cancel"))["cancelling_at"] is not None
    w.simulator.advance(BATCH_S)
    return w.get(f"/batches/{made}")


def expired(w: Wire, *, lines: bool = False) -> httpx.Response:
    """A batch that expired with nothing done, or the file with what it says of its lines."""
    w.simulator.faults.arm(ExpireNow(done=0.0))
    shown = batch(w, after_s=BATCH_S)
    return w.get(f"/files/{ok(shown)['error_file_id']}/content") if lines else shown


def cancel_twice(w: Wire) -> httpx.Response:
    """Cancels a batch that has ended."""
    made = ok(batch(w, after_s=BATCH_S))["id"]
    return w.post(f"/batches/{made}/cancel")


def lines(w: Wire, which: str, data: bytes) -> httpx.Response:
    """The output or the error file of a batch over `data`."""
    return w.get(f"/files/{ok(batch(w, after_s=BATCH_S, data=data))[which]}/content")


def upload(w: Wire, size: int = 10) -> str:
    """An upload's id."""
    asked = {"bytes": size, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    return str(ok(w.post("/uploads", json=asked))["id"])


def part(w: Wire, of: str, data: bytes) -> httpx.Response:
    """Adds a part to an upload."""
    return w.post(f"/uploads/{of}/parts", files={"data": ("blob", data)})


def complete(w: Wire, **fields: object) -> httpx.Response:
    """Completes an upload of two parts, which came in another order."""
    made = upload(w)
    second, first = (str(ok(part(w, made, data))["id"]) for data in (b"56789", b"01234"))
    return w.post(f"/uploads/{made}/complete", json={"part_ids": [first, second], **fields})


def container_file(w: Wire, **headers: str) -> httpx.Response:
    """The bytes of a file that code wrote in a container."""
    made = w.make_file("openai", b"0123456789", container="cntr_1", type="text/csv", filename="a.csv")
    return w.with_headers("GET", f"/containers/cntr_1/files/{made}/content", headers)


def ranged(w: Wire, span: str) -> httpx.Response:
    """A part of a file. OpenAI's contract says nothing about ranges; `docs/simulator.md` claims one."""
    return w.with_headers("GET", f"/files/{file(w, b'0123456789')}/content", {"range": span})


def expiring(w: Wire, seconds: str) -> httpx.Response:
    """A file with a life of its own."""
    return post_file(w, b"words", **{"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds})


def asked(w: Wire, path: str, **changed: object) -> httpx.Response:
    """Asks a model what `ASKS` says, with other fields."""
    return w.post(path, json={**ASKS[path][0], **changed})
