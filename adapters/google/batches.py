"""Google's batches: the `BatchProvider` of `:batchGenerateContent`.

A batch is a long-running operation. Its requests go into the call, or into a file where they are many. Its display name
carries the identity.

Sources: `contracts/providers.md` section 3.2 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, TypeVar
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
from perdure.actors.fetch import Fetch, FetchError, HttpAnswer, HttpRequest, Refused
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.answers import created_answer, read_answer, refuse_answer
from perdure.adapters.download import DOWNLOAD_S
from perdure.adapters.google import lines, requests
from perdure.adapters.google.account import NAME, VERSION
from perdure.adapters.google.fields import number, time_us
from perdure.adapters.google.files import MAX_FILE_BYTES, GoogleFiles
from perdure.adapters.google.places import Placing, parse_places
from perdure.adapters.google.results import open_results
from perdure.adapters.google.scan import EndsEarly, ResponseScanner
from perdure.adapters.google.showing import SHOWS
from perdure.adapters.google.wire import BatchOutput, BatchStats, Operation, OperationPage
from perdure.adapters.jsonl import LineTooLong
from perdure.adapters.patience import CLOCK_MARGIN_S, PROCESSING_S, SETTLE_S, patience_s
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

WINDOW_S: Final = 172_800.0
"""Within which time Google ends a batch: it expires 48 hours after its creation (section 3.2)."""

MAX_LINES: Final = 50_000
"""The most lines of one batch. Google states no number; this is OpenAI's."""

INLINE_BYTES: Final = 15_000_000
"""Lines of up to so many bytes go into the call. Google takes less than 20 MB there, all in all (section 3.2); a line
grows by 12 bytes on its way into the call, which is less than a quarter of the shortest line with a prompt in it, and
the batch's name and the braces around it take some hundred bytes."""

STATUSES: Final[Mapping[str, ProviderStatus]] = {
    "BATCH_STATE_PENDING": "pending",
    "BATCH_STATE_RUNNING": "processing",
    "BATCH_STATE_SUCCEEDED": "completed",
    "BATCH_STATE_FAILED": "failed",
    "BATCH_STATE_CANCELLED": "cancelled",
    "BATCH_STATE_EXPIRED": "expired",
}
"""Google's words for a batch's state (section 3.2) and ours (section 4.6); a word that is not here is `pending`, until
the operation is done."""

BATCHES_A_PAGE: Final = 100
"""How many batches are asked for at a time: the most files of a page, for of batches Google states nothing."""

RETRY_S: Final = 2.0
"""When a batch is asked for again whose input file is not ready, in seconds (section 6: files are polled from 1 s)."""

_OPERATION: Final = msgspec.json.Decoder(Operation)
_PAGE: Final = msgspec.json.Decoder(OperationPage)
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_LIVE: Final = ":generateContent"
_BATCH: Final = ":batchGenerateContent"

_Decoded = TypeVar("_Decoded")


class GoogleBatches:
    """Implements `perdure.actors.batch.ports.BatchProvider`; holds no state.

    `settle_s`: how long a listing may not show a new batch yet, in seconds. `inline_bytes`: up to how many bytes lines
    go into the call instead of a file.
    """

    def __init__(self, *, settle_s: float = SETTLE_S, inline_bytes: int = INLINE_BYTES) -> None:
        self.name: str = NAME
        self.endpoints: Sequence[str] = requests.ENDPOINTS
        self.searchable: bool = True
        self.settle_s: float = settle_s
        self.window_s: float = WINDOW_S
        self._inline_bytes = inline_bytes

    def limits(self, endpoint: str) -> BatchLimits:
        """The same for every endpoint: what a file may hold."""
        return BatchLimits(max_lines=MAX_LINES, max_bytes=MAX_FILE_BYTES)

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `requests.render`. `endpoint` may be that of another request of the batch, with a model's name in it."""
        return requests.render(prompt, requests.template_of(endpoint))

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a request's URL names, "" when it names none."""
        return requests.model_of(endpoint)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing`."""
        return SHOWS

    def encode_line(self, line_id: str, url: str, body: bytes) -> bytes:
        """See `lines.encode_line`."""
        return lines.encode_line(line_id, body)

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
        """Whether the lines are too many for the call itself."""
        return size_bytes > self._inline_bytes

    async def create(self, fetch: Fetch, part: BatchInput, *, endpoint: str, identity: str) -> ProviderBatch:
        """Buys. An answer that cannot be read is `Unknown`: Google may have accepted.

        The requests are streamed into the call, or the file is named that holds them. A file that is not ready yet is
        `Refused(kind="server_error", retryable=True)`, one that is gone `Refused(kind="not_found")`.
        """
        path = endpoint.replace("{model}", part.model).removesuffix(_LIVE) + _BATCH
        if part.file:
            batch = {"displayName": identity, "inputConfig": {"fileName": part.file}}
            request = _create(path, msgspec.json.encode({"batch": batch}))
        else:
            request = await _inline(path, part, identity)
        try:
            answer = await fetch(request)
        except Refused as refused:
            if part.file:
                await _look_at_file(fetch, part.file, refused)
            raise
        return _shown(created_answer(answer, _OPERATION))

    async def find(self, fetch: Fetch, sought: Sought) -> Sequence[ProviderBatch]:
        """All batches with the identity, oldest first.

        Nobody says in which order Google lists. A page whose batches are too old ends the search if all came newest
        first so far; else every page is read.
        """
        oldest_us = sought.since - int(CLOCK_MARGIN_S * 1_000_000)
        found: list[ProviderBatch] = []
        token, last_us, is_sorted = "", None, True
        while True:
            query = {"pageSize": str(BATCHES_A_PAGE)} | ({"pageToken": token} if token else {})
            answer, page = await _read(fetch, f"/{VERSION}/batches", query, _PAGE)
            for operation in page.operations:
                batch = _shown(operation)
                is_sorted = is_sorted and bool(batch.created_at) and (last_us is None or batch.created_at <= last_us)
                last_us = batch.created_at
                if batch.identity == sought.identity:
                    found.append(batch)
            if not page.next_page_token or (is_sorted and last_us is not None and last_us < oldest_us):
                found.sort(key=lambda batch: batch.created_at)
                return found
            if page.next_page_token == token:
                refuse_answer(answer.status, answer.headers, "a page of batches is followed by the same page again")
            token = page.next_page_token

    async def status(self, fetch: Fetch, batch_id: str) -> ProviderBatch:
        """The batch as it stands. What it holds of results is read past."""
        _, operation = await _read(fetch, _path(batch_id), {}, _OPERATION)
        return _shown(operation)

    def results(
        self, fetch: Fetch, source: str, *, skip_bytes: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The responses in an operation or the lines of a file; see `results.open_results`."""
        return open_results(fetch, source, skip_bytes=skip_bytes)

    async def cancel(self, fetch: Fetch, batch_id: str) -> None:
        """Asks Google to cancel.

        A batch that has ended may refuse with 400; whether that is so its status tells. For one that goes on all the
        same it raises `Refused(kind="server_error", retryable=True)`: ask again.
        """
        request = HttpRequest(
            method="POST",
            path=f"{_path(batch_id)}:cancel",
            safety="idempotent",
            expected=frozenset({400, 409}),
        )
        answer = await fetch(request)
        if answer.status < 300:
            return
        batch = await self.status(fetch, batch_id)
        if batch.status not in _ENDED:
            raise Refused(
                f"{NAME} does not cancel the batch {batch_id} now: it is {batch.status}",
                kind="server_error",
                status=answer.status,
                retryable=True,
            )


# ---------------------------------------------------------------- creating


def _create(path: str, body: bytes) -> HttpRequest:
    headers = {"content-type": "application/json"}
    return HttpRequest(method="POST", path=path, safety="create", headers=headers, body=body)


async def _inline(path: str, part: BatchInput, identity: str) -> HttpRequest:
    """The call with the requests in it. They are read twice: once for how many bytes they take and which they are."""
    placing, size_bytes = Placing(), 0
    async with aclosing(_requests(part)) as runs:
        async for run in runs:
            for line_id, request in run:
                placing.add(line_id)
                size_bytes += len(request) + 1
    places = placing.places()
    name = identity if places is None else f"{identity} {places.text()}"
    head = b'{"batch":{"displayName":%b,"inputConfig":{"requests":{"requests":[' % msgspec.json.encode(name)
    tail = b"]}}}}"
    size_bytes += len(head) + len(tail) - 1

    async def body() -> AsyncIterator[bytes]:
        begin = head
        async with aclosing(_requests(part)) as runs:
            async for run in runs:
                yield begin + b",".join(request for _, request in run)
                begin = b","
        yield tail

    return HttpRequest(
        method="POST",
        path=path,
        safety="create",
        headers={"content-type": "application/json"},
        body=body,
        body_bytes=size_bytes,
        deadline_s=patience_s(size_bytes),
        idle_s=PROCESSING_S,
    )


async def _requests(part: BatchInput) -> AsyncGenerator[Sequence[tuple[str, bytes]]]:
    """The requests of a part with the ids of their lines, in runs that are not empty."""
    runs = part.lines()
    try:
        async for run in runs:
            if run:
                yield [lines.inlined(line) for line in run.split(b"\n") if line]
    finally:
        if isinstance(runs, AsyncGenerator):
            await runs.aclose()


async def _look_at_file(fetch: Fetch, name: str, refused: Refused) -> None:
    """Raises what a refusal means where it comes from the input file: one that is missing or expired is refused as a
    key is that may not do this, one that is not ready as other things are too."""
    if refused.status not in (400, 403):
        return
    try:
        file = await GoogleFiles().info(fetch, name)
    except FetchError:
        return  # the refusal is proof that nothing was bought; this is not
    if file is not None and file.readiness == "ready":
        return
    if file is not None and file.readiness == "processing":
        raise Refused(
            f"{name} is still being processed",
            kind="server_error",
            status=refused.status or 400,
            retryable=True,
            retry_after_s=RETRY_S,
        ) from refused
    why = "is gone" if file is None else f"could not be processed: {file.error}"
    raise Refused(f"the input file {name} {why}", kind="not_found", status=refused.status or 404) from refused


# ---------------------------------------------------------------- reading


async def _read(
    fetch: Fetch, path: str, query: Mapping[str, str], decoder: msgspec.json.Decoder[_Decoded]
) -> tuple[HttpAnswer, _Decoded]:
    """An operation or a page of them, without the responses that they hold, which may be as long as a file of them."""
    request = HttpRequest(method="GET", path=path, query=query, safety="read", deadline_s=DOWNLOAD_S)
    scanner = ResponseScanner()
    async with fetch.stream(request) as stream:
        chunks = stream.chunks()
        try:
            async for chunk in chunks:
                scanner.feed(chunk)
            scanner.finish()
        except (EndsEarly, LineTooLong) as error:
            refuse_answer(stream.status, stream.headers, f"its responses cannot be read: {error}")
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        answer = HttpAnswer(stream.status, stream.headers, bytes(scanner.outline))
    return answer, read_answer(answer, decoder)


def _path(batch_id: str) -> str:
    return f"/{VERSION}/{quote(batch_id, safe='/')}"


def _shown(operation: Operation) -> ProviderBatch:
    metadata = operation.metadata
    stats = (metadata.batch_stats if metadata is not None else None) or BatchStats()
    display_name = (metadata.display_name if metadata is not None else None) or ""
    problems: tuple[InputProblem, ...] = ()
    if operation.error is not None:
        error = lines.error_of(operation.error)
        problems = (InputProblem(error.code, error.message),)
    return ProviderBatch(
        id=operation.name,
        status=status_of(operation),
        created_at=time_us(metadata.create_time if metadata is not None else None) or 0,
        identity=display_name.partition(" ")[0],
        total=number(stats.request_count),
        completed=number(stats.successful_request_count),
        failed=number(stats.failed_request_count),
        sources=_sources(operation, display_name),
        problems=problems,
    )


def status_of(operation: Operation) -> ProviderStatus:
    """The status: by the state, and by `done` where the state is not one that ends a batch."""
    state = operation.metadata.state if operation.metadata is not None else None
    status = STATUSES.get(state or "", "pending")
    if status in _ENDED or not operation.done:
        return status
    return "completed" if operation.error is None else "failed"


def _sources(operation: Operation, display_name: str) -> tuple[str, ...]:
    """The file with the responses, or the operation itself where it holds some. Behind a `#` there are the places of
    its lines, if there are as many responses."""
    metadata = operation.metadata
    for output in (metadata.output if metadata is not None else None, operation.response):
        if output is None:
            continue
        if output.responses_file:
            return (output.responses_file,)
        if count := _inlined_count(output):
            places = parse_places(display_name.partition(" ")[2])
            known = places is not None and places.count() == count
            return (f"{operation.name}#{places.text()}" if known and places is not None else operation.name,)
    return ()


def _inlined_count(output: BatchOutput) -> int:
    return sum(output.inlined_responses.inlined_responses) if output.inlined_responses is not None else 0
