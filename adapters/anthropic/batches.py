"""Anthropic's message batches: the `BatchProvider` of `/v1/messages/batches`.

A batch takes its requests with the call that makes it, and has no place for an identity: see `searching` for how it is
found again.

Results are read from the documented route below the base URL, never from where `results_url` leads: the key goes with
the request, so it must not leave for another origin (section 2.2). What `results_url` tells is that there are results.

Sources: `contracts/providers.md` sections 2.2 and 5, `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, NoReturn
from urllib.parse import quote

import msgspec

from perdure.actors.batch.ports import BatchInput, BatchLimits, OutputLine, ProviderBatch, ProviderStatus, Sought
from perdure.actors.fetch import BodySource, Fetch, HttpAnswer, HttpRequest, Refused
from perdure.actors.resolving import ProviderFacts
from perdure.adapters import download
from perdure.adapters.answers import created_answer, read_answer
from perdure.adapters.anthropic import lines, requests, searching
from perdure.adapters.anthropic.account import NAME
from perdure.adapters.anthropic.showing import SHOWS
from perdure.adapters.anthropic.wire import BatchCounts, BatchObject, microseconds
from perdure.adapters.network.answers import request_id
from perdure.adapters.patience import PROCESSING_S, patience_s
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

WINDOW_S: Final = 86_400.0
"""Within which time Anthropic ends a batch: it expires 24 hours after its creation (section 2.2)."""

SETTLE_S: Final = 30.0
"""How long the list may not show a new batch yet, in seconds. Ours: Anthropic states nothing, but what was just created
may be answered with 404 "for seconds" (section 2.2), and nothing says that lists are quicker."""

UNSEEN_RETRY_S: Final = 15.0
"""How long to wait before a batch that answers 404 is asked for again, in seconds. Ours."""

MAX_LINES: Final = 100_000
"""The most requests of one batch (section 2.2)."""

_HEAD: Final = b'{"requests":['
_TAIL: Final = b"]}"

MAX_INPUT_BYTES: Final = 256_000_000 - len(_HEAD) - len(_TAIL)
"""The most bytes of lines in one batch: the request may have 256 MB (section 2.2), read as decimal, the smaller of the
two readings."""

RUNNING: Final = frozenset({"in_progress", "canceling"})
"""Anthropic's words for a batch that goes on; `ended` is its only word for one that does not."""

_PATH: Final = "/v1/messages/batches"
_BATCH: Final = msgspec.json.Decoder(BatchObject)


class AnthropicBatches:
    """Implements `perdure.actors.batch.ports.BatchProvider`.

    What it remembers are the batches that somebody asks about, so that they are taken for nobody else's: see
    `searching.Memory`. `settle_s`: how long a listing may not show a new batch yet, in seconds. `page_size`: how many
    batches are asked for at a time.
    """

    def __init__(self, *, settle_s: float = SETTLE_S, page_size: int = searching.BATCHES_A_PAGE) -> None:
        self.name: str = NAME
        self.endpoints: Sequence[str] = requests.ENDPOINTS
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.window_s: float = WINDOW_S
        self._page_size = page_size
        self._memory = searching.Memory()

    def limits(self, endpoint: str) -> BatchLimits:
        """What one create call takes."""
        return BatchLimits(max_lines=MAX_LINES, max_bytes=MAX_INPUT_BYTES)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `requests.render`. Raises `Unsupported`, `InvalidRequest`."""
        return requests.render(prompt, endpoint)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing`."""
        return SHOWS

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return requests.model_of(body)

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """See `lines.encode_line`."""
        return lines.encode_line(line_id, url, body)

    def body_of(self, line: bytes) -> bytes:
        """See `lines.body_of`."""
        return lines.body_of(line)

    def parse_line(self, raw: bytes) -> OutputLine | None:
        """See `lines.parse_line`."""
        return lines.parse_line(raw)

    def answer(self, endpoint: str, raw: bytes) -> Answer | LineError:
        """See `lines.read_line`."""
        return lines.read_line(raw)

    def needs_file(self, size_bytes: int) -> bool:
        """Never: Anthropic takes no input files."""
        return False

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """Buys, streaming the lines. An answer that cannot be read is `Unknown`: Anthropic may have accepted."""
        size_bytes = len(_HEAD) + part.size_bytes - 1 + len(_TAIL)
        request = HttpRequest(
            method="POST",
            path=_PATH,
            safety="create",
            headers={"content-type": "application/json"},
            body=_body(part),
            body_bytes=size_bytes,
            deadline_s=patience_s(size_bytes),
            idle_s=PROCESSING_S,
        )
        return _shown(created_answer(await fetch(request), _BATCH))

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """See `searching.find`. Raises `Undecided`."""
        async with aclosing(searching.batches_since(fetch, _PATH, sought, limit=self._page_size)) as batches:
            candidates = [_shown(batch) async for batch in batches if not self._memory.holds(batch.id)]
        found = await searching.find(candidates, sought, open_results=lambda id: self.results(fetch, id, skip_bytes=0))
        self._memory.consider(found, sought)
        return found

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands. One that is not shown raises `Refused`, worth a repeat: see `_unseen`."""
        self._memory.hold(batch_id)
        return _shown(await self._batch(fetch, batch_id))

    @asynccontextmanager
    async def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
        """The results of the batch whose id is `source`; see `download.open_lines`.

        Results that answer 404 although the batch has them are worth a repeat; so are those of a batch that is not
        shown either. Where Anthropic says that they were archived, the refusal is final.
        """
        file = download.ResultFile(provider=NAME, path=f"{_path(source)}/results")
        async with AsyncExitStack() as stack:
            try:
                runs = await stack.enter_async_context(download.open_lines(fetch, file, skip_bytes=skip_bytes))
            except Refused as refused:
                if refused.status != 404 or not (await self._batch(fetch, source)).results_url:
                    raise
                raise _unseen(f"the results of the batch {source}", refused.provider_request_id) from refused
            yield runs

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks Anthropic to cancel.

        A batch that has ended, or is being cancelled, may refuse; whether that is so it tells itself. One that goes on
        all the same, or is not shown yet, raises `Refused(kind="server_error", retryable=True)`: ask again.
        """
        request = HttpRequest(
            method="POST", path=f"{_path(batch_id)}/cancel", safety="idempotent", expected=frozenset({400, 404, 409})
        )
        answer = await fetch(request)
        if answer.status < 300:
            read_answer(answer, _BATCH)
            return
        batch = await self._batch(fetch, batch_id)
        if batch.processing_status not in ("canceling", "ended"):
            raise Refused(
                f"{NAME} does not cancel the batch {batch_id} now; it is {batch.processing_status}",
                kind="server_error",
                status=answer.status,
                provider_request_id=request_id(answer.headers),
                retryable=True,
            )

    async def _batch(self, fetch: Fetch, batch_id: str) -> BatchObject:
        request = HttpRequest(method="GET", path=_path(batch_id), safety="read", expected=frozenset({404}))
        answer = await fetch(request)
        if answer.status == 404:
            _raise_unseen(batch_id, answer)
        return read_answer(answer, _BATCH)


def status_of(batch: BatchObject) -> ProviderStatus:
    """How a batch stands. Anthropic's only end is `ended`: whether it expired or was cancelled tell its requests.

    | `processing_status` | counts | status |
    | --- | --- | --- |
    | `in_progress`, `canceling` | | processing |
    | `ended` | some expired | expired |
    | `ended` | none expired, some canceled | cancelled |
    | `ended` | all succeeded or errored | completed |
    | `expired` | | expired |
    | any other | | pending |
    """
    counts = batch.request_counts or BatchCounts()
    match batch.processing_status:
        case "ended":
            return "expired" if counts.expired else "cancelled" if counts.canceled else "completed"
        case "expired":
            return "expired"
        case word:
            return "processing" if word in RUNNING else "pending"


def _shown(batch: BatchObject) -> ProviderBatch:
    counts = batch.request_counts or BatchCounts()
    succeeded, errored, expired = counts.succeeded or 0, counts.errored or 0, counts.expired or 0
    return ProviderBatch(
        id=batch.id,
        status=status_of(batch),
        created_at=microseconds(batch.created_at) or 0,
        total=(counts.processing or 0) + succeeded + errored + (counts.canceled or 0) + expired,
        completed=succeeded,
        failed=errored + expired,
        sources=(batch.id,) if batch.results_url else (),
    )


def _body(part: BatchInput) -> BodySource:
    """The create call's body, made of the lines as they come."""

    async def chunks() -> AsyncGenerator[bytes]:
        yield _HEAD
        between = b""
        runs = part.lines()
        try:
            async for run in runs:
                if run:
                    yield between + run[:-1].replace(b"\n", b",")
                    between = b","
        finally:
            if isinstance(runs, AsyncGenerator):
                await runs.aclose()
        yield _TAIL

    return chunks


def _path(batch_id: str) -> str:
    return f"{_PATH}/{quote(batch_id, safe='')}"


def _unseen(what: str, provider_request_id: str | None) -> Refused:
    """Anthropic answers 404 for something that is there: right after its creation, and later too, for seconds (section
    2.2). So 404 is no proof that a batch which we hold is gone; who asks gives up in the end."""
    return Refused(
        f"{NAME} does not show {what} now",
        kind="server_error",
        status=404,
        provider_request_id=provider_request_id,
        retryable=True,
        retry_after_s=UNSEEN_RETRY_S,
    )


def _raise_unseen(batch_id: str, answer: HttpAnswer) -> NoReturn:
    raise _unseen(f"the batch {batch_id}", request_id(answer.headers))
