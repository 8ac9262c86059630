"""xAI's batches: the `BatchProvider` of `/v1/batches`.

A batch is made of a file, in one call: it is sealed then, and there is no batch that is half filled. Its name carries
the identity. xAI shows no status: it is derived here, see `status_of`.

Sources: `contracts/providers.md` section 4 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.batch.ports import BatchInput, BatchLimits, OutputLine, ProviderBatch, ProviderStatus, Sought
from perdure.actors.fetch import Fetch, HttpAnswer, HttpRequest, Refused
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.answers import created_answer, read_answer, refuse_answer
from perdure.adapters.openai_compatible import bodies, input_lines
from perdure.adapters.openai_compatible.answers import error_of
from perdure.adapters.openai_compatible.content import CHAT, RESPONSES
from perdure.adapters.patience import SETTLE_S
from perdure.adapters.xai.account import NAME
from perdure.adapters.xai.live import xai_shows
from perdure.adapters.xai.remote_files import MAX_BYTES
from perdure.adapters.xai.results import open_results, parse_line, read_line
from perdure.adapters.xai.wire import BatchObject, BatchPage, Counts
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ENDPOINTS: Final[Sequence[str]] = (RESPONSES, CHAT, "/v1/images/generations", "/v1/images/edits")
"""The endpoints whose requests may be batched (section 4). `/v1/videos/generations` is left out: its line answers with
a job that somebody would have to follow, which a batch's results do not do."""

MAX_LINES: Final = 50_000
"""The most lines of one batch. xAI states no number; this is OpenAI's."""

WINDOW_S: Final = 86_400.0
"""Within which time xAI ends a batch: `expire_time` is about 24 hours after its creation (section 5)."""

CANCEL_S: Final = 3_600.0
"""How long after `cancel_time` requests that are still pending are waited for, in seconds. Ours, and long: OpenAI takes
ten minutes, waiting costs nothing, and answers that come too late are paid for."""

BATCHES_A_PAGE: Final = 100
"""How many batches are asked for at a time. xAI states no bound; this is what its clients ask for."""

_BATCH: Final = msgspec.json.Decoder(BatchObject, strict=False)
_PAGE: Final = msgspec.json.Decoder(BatchPage, strict=False)
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})


class XaiBatches:
    """Implements `perdure.actors.batch.ports.BatchProvider`; holds no state.

    `settle_s`: how long a listing may not show a new batch yet, in seconds.
    """

    def __init__(self, *, settle_s: float = SETTLE_S) -> None:
        self.name: str = NAME
        self.endpoints: Sequence[str] = ENDPOINTS
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.window_s: float = WINDOW_S

    def limits(self, endpoint: str) -> BatchLimits:
        """The same for every endpoint: what a file may hold."""
        return BatchLimits(max_lines=MAX_LINES, max_bytes=MAX_BYTES)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `bodies.render`. Raises `Unsupported`."""
        return bodies.render(prompt, endpoint, provider=NAME, endpoints=(RESPONSES, CHAT))

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return bodies.model_of(body)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `xai_shows`."""
        return xai_shows(endpoint)

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """See `input_lines.encode_line`: xAI takes OpenAI's lines."""
        return input_lines.encode_line(line_id, url, body)

    def body_of(self, line: bytes) -> bytes:
        """See `input_lines.body_of`."""
        return input_lines.body_of(line)

    def parse_line(self, raw: bytes) -> OutputLine | None:
        """See `results.parse_line`."""
        return parse_line(raw)

    def answer(self, endpoint: str, raw: bytes) -> Answer | LineError:
        """See `results.read_line`."""
        return read_line(raw)

    def needs_file(self, size_bytes: int) -> bool:
        """Always: with a file a batch is bought in one call; requests that are added to one would be many."""
        return True

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """Buys. An answer that cannot be read is `Unknown`: xAI may have accepted."""
        request = HttpRequest(
            method="POST",
            path="/batches",
            safety="create",
            headers={"content-type": "application/json"},
            body=msgspec.json.encode({"name": identity, "input_file_id": part.file}),
        )
        answer = await fetch(request)
        return _shown(created_answer(answer, _BATCH), answer)

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """All batches with the identity as their name, oldest first. Reads the whole list: how it is sorted is not
        known for sure."""
        async with aclosing(_listing(fetch)) as batches:
            found = [batch async for batch in batches if batch.identity == sought.identity]
        return sorted(found, key=lambda batch: batch.created_at)

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands."""
        answer = await fetch(HttpRequest(method="GET", path=_path(batch_id), safety="read"))
        return _shown(read_answer(answer, _BATCH), answer)

    def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The results of the batch whose id is `source`; see `results.open_results`."""
        return open_results(fetch, source, skip_bytes=skip_bytes)

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks xAI to cancel.

        A batch that has ended, or is being cancelled, may refuse with 400 or 409; whether that is so it tells itself.
        For one that goes on all the same it raises `Refused(kind="server_error", retryable=True)`: ask again.
        """
        request = HttpRequest(
            method="POST", path=f"{_path(batch_id)}:cancel", safety="idempotent", expected=frozenset({400, 409})
        )
        answer = await fetch(request)
        if answer.status < 300:
            return
        standing = await fetch(HttpRequest(method="GET", path=_path(batch_id), safety="read"))
        batch = read_answer(standing, _BATCH)
        if not batch.cancel_time and status_of(batch, _now(standing)) not in _ENDED:
            raise _cannot_cancel(batch_id, answer)


def status_of(batch: BatchObject, now: datetime | None) -> ProviderStatus:
    """How a batch stands at `now`, by the provider's clock; None: it did not say.

    Nothing pending of something: it has ended, and as `completed` where nothing stopped it. Something did when not all
    succeeded and it was cancelled, or its `expire_time` is past: then those without an answer may never have been run,
    whatever they are counted as, and their results tell (see `results.is_unfinished`). Past `expire_time` it has
    expired, whatever is pending. From `cancel_time` on it is cancelled: at once when nothing is pending any more, else
    after `CANCEL_S`, for until then requests may still be answered, and paid for. A batch without requests goes on.
    """
    counts = batch.state or Counts()
    total, error, cancelled = counts.num_requests or 0, counts.num_error or 0, counts.num_cancelled or 0
    cancel_time, expire_time = _time(batch.cancel_time), _time(batch.expire_time)
    is_past_expiry = now is not None and expire_time is not None and expire_time <= now
    if total > 0 and _pending(counts) <= 0:
        if not error and not cancelled:
            return "completed"
        if cancelled >= total or batch.cancel_time:
            return "cancelled"
        if error >= total:
            return "failed"
        return "expired" if is_past_expiry else "completed"
    if is_past_expiry:
        return "expired"
    if batch.cancel_time and (now is None or cancel_time is None or (now - cancel_time).total_seconds() >= CANCEL_S):
        return "cancelled"
    return "processing" if total else "pending"


def _pending(counts: Counts) -> int:
    if counts.num_pending is not None:
        return counts.num_pending
    ended = (counts.num_success or 0) + (counts.num_error or 0) + (counts.num_cancelled or 0)
    return (counts.num_requests or 0) - ended


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"


def _shown(batch: BatchObject, answer: HttpAnswer) -> ProviderBatch:
    # Never without room: xAI does not count batches against its limits (section 4), and a batch that failed gives no
    # reason of its own.
    counts = batch.state or Counts()
    created_at = _time(batch.create_time)
    return ProviderBatch(
        id=batch.batch_id,
        status=status_of(batch, _now(answer)),
        created_at=0 if created_at is None else int(created_at.timestamp() * 1_000_000),
        identity=batch.name or "",
        total=counts.num_requests or 0,
        completed=counts.num_success or 0,
        failed=counts.num_error or 0,
        sources=(batch.batch_id,),
    )


async def _listing(fetch: Fetch) -> AsyncGenerator[ProviderBatch]:
    """Every batch there is, over all pages.

    Whatever makes the reading incomplete is an error, never a short list: a batch that is not found may be bought
    again. Raises `Refused`, worth a repeat, for a page that cannot be read or that does not go on from the one before.
    """
    token = ""
    while True:
        query = {"limit": str(BATCHES_A_PAGE), **({"pagination_token": token} if token else {})}
        answer = await fetch(HttpRequest(method="GET", path="/batches", query=query, safety="read"))
        page = read_answer(answer, _PAGE)
        for batch in page.batches:
            yield _shown(batch, answer)
        behind = page.pagination_token or ""
        if not behind:
            return
        if not page.batches or behind == token:
            refuse_answer(answer.status, answer.headers, "a page of /batches does not go on from the one before")
        token = behind


def _time(text: str | None) -> datetime | None:
    """A time of RFC 3339; None for one that is absent or cannot be read."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _now(answer: HttpAnswer) -> datetime | None:
    """When the provider answered, by its own clock: ours may be another, and whether a batch has expired can only be
    told by comparing."""
    try:
        at = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _cannot_cancel(batch_id: str, answer: HttpAnswer) -> Refused:
    """xAI would not cancel a batch that goes on: not now, so it is worth a repeat."""
    said = error_of(answer.body)
    return Refused(
        f"{NAME} does not cancel the batch {batch_id} now: {said.message or 'it gave no reason'}",
        kind="server_error",
        status=answer.status,
        provider_code=None if said.code in (None, "") else str(said.code),
        provider_request_id=answer.headers.get("x-trace-id"),
        retryable=True,
    )
