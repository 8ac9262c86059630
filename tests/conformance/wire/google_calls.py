"""What a client says to Google: uploads, files, questions, batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx
import msgspec

from perdure.adapters.simulator.faults import ExpireNow
from tests.conformance.wire.contract import BATCH_S, Wire, ok

DAY_S: Final = 86_400
MODEL: Final = "/{version}/models/gemini-x"
GRANULE: Final = 262_144


def start(w: Wire, size: int, *, headers: Mapping[str, str] | None = None, **file: object) -> httpx.Response:
    """Begins an upload."""
    begun = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(size),
        "x-goog-upload-header-content-type": "text/plain",
        **(headers or {}),
    }
    return w.with_headers("POST", "/upload/{version}/files", begun, json={"file": file})


def command(w: Wire, address: str, words: str, offset: int | None = None, data: bytes = b"") -> httpx.Response:
    """Says something to an upload's address, which needs no key."""
    headers = {"x-goog-upload-command": words}
    if offset is not None:
        headers["x-goog-upload-offset"] = str(offset)
    return w.http.post(address, headers=headers, content=data)


def session(w: Wire, size: int = 5, **file: object) -> str:
    """The address of an upload that has begun."""
    begun = start(w, size, headers=None, **file)
    assert begun.status_code == 200, begun.text
    return begun.headers["x-goog-upload-url"]


def post_file(w: Wire, data: bytes = b"words", **file: object) -> httpx.Response:
    """Uploads a file in one piece."""
    return command(w, session(w, len(data), **file), "upload, finalize", 0, data)


def file(w: Wire, data: bytes = b"words", **said: object) -> str:
    """The name of a file."""
    return str(ok(post_file(w, data, **said))["file"]["name"])


def in_chunks(w: Wire, *, then: str) -> httpx.Response:
    """An upload whose first chunk has come: what is said to it then."""
    address = session(w, GRANULE + 3)
    first = command(w, address, "upload", 0, b"x" * GRANULE)
    assert first.headers["x-goog-upload-status"] == "active"
    data = b"end" if "upload" in then else b""
    return command(w, address, then, GRANULE if data else None, data)


def bad_chunk(w: Wire, size: int, offset: int) -> httpx.Response:
    """A chunk before the last, of another size or at another place."""
    return command(w, session(w, GRANULE * 2), "upload", offset, b"x" * size)


def taken(w: Wire) -> httpx.Response:
    """A second file of one name."""
    name = file(w)
    return start(w, 5, name=name)


def unusable(w: Wire) -> httpx.Response:
    """A question about a film that is still being processed."""
    film = ok(post_file(w, mimeType="video/mp4"))["file"]
    assert film["state"] == "PROCESSING"
    part = {"fileData": {"fileUri": film["uri"], "mimeType": "video/mp4"}}
    return ask(w, contents=[{"parts": [part]}])


def expired(w: Wire) -> httpx.Response:
    """A file that is 48 hours old."""
    name = file(w)
    w.simulator.advance(2 * DAY_S)
    return w.get(f"/{{version}}/{name}")


def download(w: Wire, *, before: str = "", span: str = "", alt: str = "media") -> httpx.Response:
    """The bytes of a file that Google made."""
    name = w.make_file("google", b"0123456789", type="text/csv", filename="a.csv")
    headers = {"range": span} if span else {}
    return w.with_headers("GET", f"{before}/{{version}}/{name}:download", headers, params={"alt": alt})


def download_uploaded(w: Wire, *, before: str) -> httpx.Response:
    """The bytes of a file that was uploaded."""
    return w.get(f"{before}/{{version}}/{file(w)}:download", alt="media")


def ask(w: Wire, model: str = MODEL, **body: object) -> httpx.Response:
    """Asks a model."""
    return w.post(f"{model}:generateContent", json={"contents": [contents()], **body})


def contents(text: str = "hello") -> dict[str, object]:
    """A turn of a conversation."""
    return {"role": "user", "parts": [{"text": text}]}


def inline(*requests: object) -> dict[str, object]:
    """The input of a batch, in the call. An empty request is one that fails."""
    keyed = [
        {"request": {"contents": [contents()]} if request is None else request, "metadata": {"key": f"k{n}"}}
        for n, request in enumerate(requests or (None,))
    ]
    return {"requests": {"requests": keyed}}


def post_batch(w: Wire, config: object = None, model: str = MODEL, **more: object) -> httpx.Response:
    """Makes a batch."""
    made = {"displayName": "perdure-j1", "inputConfig": config or inline(), **more}
    return w.post(f"{model}:batchGenerateContent", json={"batch": made})


def batch(w: Wire, config: object = None, *, after_s: float = 0.0) -> httpx.Response:
    """A batch, looked at so many seconds after it was made."""
    name = ok(post_batch(w, config))["name"]
    w.simulator.advance(after_s)
    return w.get(f"/{{version}}/{name}")


def batch_of_file(w: Wire, data: bytes) -> httpx.Response:
    """A batch over a file, when it has ended."""
    return batch(w, {"fileName": file(w, data, mimeType="application/jsonl")}, after_s=BATCH_S)


def cancelled(w: Wire) -> httpx.Response:
    """A batch that was cancelled, when all is over."""
    name = ok(post_batch(w))["name"]
    assert ok(w.post(f"/{{version}}/{name}:cancel")) == {}
    w.simulator.advance(BATCH_S)
    return w.get(f"/{{version}}/{name}")


def expired_batch(w: Wire) -> httpx.Response:
    """A batch that expired with nothing done."""
    w.simulator.faults.arm(ExpireNow(done=0.0))
    return batch(w, after_s=BATCH_S)


def responses_file(w: Wire) -> httpx.Response:
    """The file with the responses of a batch over a file."""
    made = ok(batch_of_file(w, KEYED))
    name = made["response"]["responsesFile"]
    return w.get(f"/download/{{version}}/{name}:download", alt="media")


KEYED: Final = (
    msgspec.json.encode({"key": "k0", "request": {"contents": [contents()]}}) + b'\n{"key":"k1","request":{}}'
)
