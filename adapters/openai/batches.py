"""OpenAI's batches: the `BatchProvider` of `/v1/batches`.

Sources: `contracts/providers.md` section 1.2 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.batch.ports import (
    BatchInput,
    BatchLimits,
    InputProblem,
    OutputLine,
    ProviderBatch,
    ProviderStatus,
    Sought,
)
from perdure.actors.fetch import Fetch, HttpAnswer, HttpRequest, Refused
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.answers import created_answer, read_answer
from perdure.adapters.openai import lines, requests
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai.download import open_lines
from perdure.adapters.openai.wire import BatchObject, Counts, Problem
from perdure.adapters.openai_compatible import bodies, showing
from perdure.adapters.openai_compatible.answers import error_of
from perdure.adapters.openai_compatible.files import SETTLE_S
from perdure.adapters.openai_compatible.paging import read_back
from perdure.adapters.openai_compatible.wire import Page
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

IDENTITY_KEY: Final = "perdure_identity"
"""The metadata key that carries a batch's identity. Keys may have 64 and values 512 characters (section 0)."""

WINDOW_S: Final = 86_400.0
"""Within which time OpenAI ends a batch: `24h` is the only window that there is (section 1.2)."""

STATUSES: Final[Mapping[str, ProviderStatus]] = {
    "validating": "pending",
    "in_progress": "processing",
    "finalizing": "processing",
    "cancelling": "processing",
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
"""OpenAI's words for a batch's status (section 1.2) and ours (section 4.6); a word that is not here is `pending`."""

_BATCH: Final = msgspec.json.Decoder(BatchObject)
_BATCH_PAGE: Final = msgspec.json.Decoder(Page[BatchObject])
_BATCHES_A_PAGE: Final = 100  # the most that OpenAI gives (section 1.2)
_NOTHING_TO_CANCEL: Final = frozenset({"cancelling", "cancelled", "completed", "failed", "expired"})
_NO_ROOM: Final = "token_limit_exceeded"
"""How OpenAI fails a batch whose tokens do not fit into what may be enqueued for its model (section 1.2)."""
_POLL_HEADER: Final = "openai-poll-after-ms"


class OpenAIBatches:
    """Implements `perdure.actors.batch.ports.BatchProvider`; holds no state.

    `settle_s`: how long a listing may not show a new batch yet, in seconds.
    """

    def __init__(self, *, settle_s: float = SETTLE_S) -> None:
        self.name: str = NAME
        self.endpoints: Sequence[str] = requests.ENDPOINTS
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.window_s: float = WINDOW_S

    def limits(self, endpoint: str) -> BatchLimits:
        """The same for every endpoint."""
        return BatchLimits(max_lines=requests.MAX_LINES, max_bytes=requests.MAX_INPUT_BYTES)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `bodies.render`. Raises `Unsupported`."""
        return bodies.render(prompt, endpoint, provider=NAME)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return bodies.model_of(body)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing.shows`."""
        return showing.shows(endpoint, provider=NAME)

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """See `requests.encode_line`."""
        return requests.encode_line(line_id, url, body)

    def body_of(self, line: bytes) -> bytes:
        """See `requests.body_of`."""
        return requests.body_of(line)

    def parse_line(self, raw: bytes) -> OutputLine | None:
        """See `lines.parse_line`."""
        return lines.parse_line(raw)

    def answer(self, endpoint: str, raw: bytes) -> Answer | LineError:
        """See `lines.read_line`."""
        return lines.read_line(raw)

    def needs_file(self, size_bytes: int) -> bool:
        """Always: OpenAI takes lines as a file only."""
        return True

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """Buys. An answer that cannot be read is `Unknown`: OpenAI may have accepted."""
        body = {
            "input_file_id": part.file,
            "endpoint": endpoint,
            "completion_window": "24h",
            "metadata": {IDENTITY_KEY: identity},
        }
        request = HttpRequest(
            method="POST",
            path="/batches",
            safety="create",
            headers={"content-type": "application/json"},
            body=msgspec.json.encode(body),
        )
        answer = await fetch(request)
        return _shown(created_answer(answer, _BATCH), answer)

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """All batches with the identity, oldest first; see `paging.read_back`."""
        found = await read_back(
            fetch,
            "/batches",
            _BATCH_PAGE,
            limit=_BATCHES_A_PAGE,
            since=sought.since,
            wanted=lambda batch: _identity(batch) == sought.identity,
        )
        return [_shown(batch) for batch in found]

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands, with OpenAI's hint for the next poll."""
        answer = await fetch(HttpRequest(method="GET", path=_path(batch_id), safety="read"))
        return _shown(read_answer(answer, _BATCH), answer)

    def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The lines of an output or error file; see `download.open_lines`."""
        return open_lines(fetch, source, skip_bytes=skip_bytes)

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks OpenAI to cancel, which takes up to some ten minutes.

        A batch that has ended, or is being cancelled, refuses with 400 or 409; whether that is so its status tells. For
        one that goes on all the same it raises `Refused(kind="server_error", retryable=True)`: ask again.
        """
        request = HttpRequest(
            method="POST",
            path=f"{_path(batch_id)}/cancel",
            safety="idempotent",
            expected=frozenset({400, 409}),
        )
        answer = await fetch(request)
        if answer.status < 300:
            read_answer(answer, _BATCH)
            return
        standing = await fetch(HttpRequest(method="GET", path=_path(batch_id), safety="read"))
        if read_answer(standing, _BATCH).status not in _NOTHING_TO_CANCEL:
            raise _cannot_cancel(batch_id, answer)


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"


def _shown(batch: BatchObject, answer: HttpAnswer | None = None) -> ProviderBatch:
    counts = batch.request_counts or Counts()
    problems = (batch.errors.data if batch.errors is not None else None) or ()
    return ProviderBatch(
        id=batch.id,
        status=STATUSES.get(batch.status or "", "pending"),
        created_at=int((batch.created_at or 0) * 1_000_000),
        identity=_identity(batch),
        total=counts.total or 0,
        completed=counts.completed or 0,
        failed=counts.failed or 0,
        sources=tuple(id_ for id_ in (batch.output_file_id, batch.error_file_id) if id_),
        problems=tuple(_problem(problem) for problem in problems),
        poll_after_s=None if answer is None else _poll_after_s(answer.headers),
        no_room=any(problem.code == _NO_ROOM for problem in problems),
    )


def _identity(batch: BatchObject) -> str:
    identity = (batch.metadata or {}).get(IDENTITY_KEY)
    return identity if isinstance(identity, str) else ""


def _problem(problem: Problem) -> InputProblem:
    code = "invalid_input" if problem.code in (None, "") else str(problem.code)
    return InputProblem(code, problem.message or "the provider gave no reason", problem.line)


def _poll_after_s(headers: Mapping[str, str]) -> float | None:
    """The hint in seconds; None for an absent, unreadable or senseless one."""
    try:
        after_s = float(headers.get(_POLL_HEADER, "")) / 1_000
    except ValueError:
        return None
    return after_s if math.isfinite(after_s) and after_s > 0 else None


def _cannot_cancel(batch_id: str, answer: HttpAnswer) -> Refused:
    """OpenAI would not cancel a batch that goes on: not now, so it is worth a repeat."""
    said = error_of(answer.body)
    code = said.code if said.code not in (None, "") else said.type
    return Refused(
        f"{NAME} does not cancel the batch {batch_id} now: {said.message or 'it gave no reason'}",
        kind="server_error",
        status=answer.status,
        provider_code=None if code is None else str(code),
        provider_request_id=answer.headers.get("x-request-id"),
        retryable=True,
    )
