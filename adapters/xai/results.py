"""The results of a batch: what each says (pure), and reading them page by page.

xAI has no result file but a list. A *line* is one result as xAI wrote it, but for line ends, which pretty-printed JSON
has between its values: they become spaces. A result is an answer iff it has a response that can be read and no error
(`contracts/media-files-batch.md` section 4.6, W-25). `parse_line` and `read_line` judge alike, whatever the line holds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final
from urllib.parse import quote

import msgspec

from perdure.actors.batch.ports import OutputLine
from perdure.actors.fetch import Fetch, HttpRequest, Unknown
from perdure.adapters.answers import DECODE_ERRORS, read_answer, refuse_answer
from perdure.adapters.openai_compatible.input_lines import on_one_line
from perdure.adapters.openai_compatible.reading import judge, provider_error, read_body
from perdure.adapters.openai_compatible.wire import ErrorBody
from perdure.adapters.reading import UNREADABLE, shortened
from perdure.adapters.xai.account import NAME
from perdure.adapters.xai.wire import ReadResult, Result, ResultError, ResultPage
from perdure.events.requests import Answer, LineError

RESULTS_A_PAGE: Final = 100
"""How many results are asked for at a time. xAI's clients ask for up to 1,000; a page is held in memory whole, and a
result may be a long answer or an image."""

PAGE_S: Final = 300.0
"""How long a page may take, in seconds. Ours."""

UNFINISHED_CODES: Final = frozenset({"1", "4", "cancelled", "canceled", "deadline_exceeded"})
"""What the error of a request is called that was cancelled, or ran out of time, before it had an answer: the status
codes of gRPC, which xAI's errors have, and their names (https://grpc.io/docs/guides/status-codes/, 20 November
2026)."""

_read_results: Final = msgspec.json.Decoder(ReadResult)
_results: Final = msgspec.json.Decoder(Result)
_pages: Final = msgspec.json.Decoder(ResultPage)


def parse_line(raw: bytes) -> OutputLine | None:
    """The result's id and whether it holds an answer; None where not even an id can be read."""
    try:
        read = _read_results.decode(raw)
    except DECODE_ERRORS:
        return _parse_slowly(raw)
    result = read.batch_result
    ok = not _is_error(result.error) and not isinstance(judge(result.response.chat_get_completion), LineError)
    return OutputLine(read.batch_request_id, ok, raw, unfinished=is_unfinished(result.error))


def read_line(raw: bytes) -> Answer | LineError:
    """What the result says. Texts come in the form of chat completions, whichever endpoint was asked; `raw` of the
    answer is that body, with `usage.cost_in_usd_ticks` in it."""
    try:
        line = _results.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the result cannot be read: {error}"))
    result = line.batch_result
    if result is None:
        return _failed(None, line.error_message)
    body = next((body for body in (result.response or {}).values() if bytes(body) != b"null"), None)
    if body is not None and not _is_error(result.error):
        return read_body(bytes(body))
    return _failed(result.error, line.error_message)


def _parse_slowly(raw: bytes) -> OutputLine | None:
    """For results that are no chat completion: errors, images, and what cannot be read."""
    try:
        line = _results.decode(raw)
    except DECODE_ERRORS:
        return None
    error = None if line.batch_result is None else line.batch_result.error
    ok = isinstance(read_line(raw), Answer)
    return OutputLine(line.batch_request_id, ok, raw, unfinished=is_unfinished(error))


def is_unfinished(error: ResultError | None) -> bool:
    """Whether an error says no more than that the request was cancelled, or ran out of time, before it was run.

    In a batch that ended early such a request is one of the unfinished. How xAI lists these is not known for sure: as
    pending, as cancelled, or, here, as errors. No answer comes with an error, so none that was paid for is lost.
    """
    return error is not None and str(error.code).lower() in UNFINISHED_CODES


def _is_error(error: ResultError | None) -> bool:
    """Whether this is an error: results that are answers may carry one that says nothing."""
    return error is not None and (error.code not in (None, 0, "", "0") or bool(error.message))


def _failed(error: ResultError | None, message: str | None) -> LineError:
    """The error of a result without an answer, with xAI's code."""
    if not message and not _is_error(error):
        return LineError(UNREADABLE, "the result has neither a response nor an error")
    error = error or ResultError()
    code = None if error.code in (0, "0") else error.code
    said = ErrorBody(message=error.message or message, code=code)
    return provider_error(said, "request_failed", "the provider gave no reason", None)


@asynccontextmanager
async def open_results(
    fetch: Fetch, batch_id: str, *, skip_bytes: int
) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
    """The results of a batch behind the first `skip_bytes` bytes of lines, a run for each page.

    Holds one page. Pages are always of one size: a token may count them. Where no line ends at `skip_bytes`, the list
    is not the one that was read before; then it is given whole, for a result that comes twice counts once.

    Raises what `fetch` raises; `Unknown` when the list ends before `skip_bytes`; `Refused`, worth a repeat, for a page
    that cannot be read or that does not go on from the one before.
    """
    async with aclosing(_runs(fetch, f"/batches/{quote(batch_id, safe='')}/results", skip_bytes)) as runs:
        yield runs


async def _runs(fetch: Fetch, path: str, skip_bytes: int) -> AsyncGenerator[Sequence[bytes]]:
    place = 0
    is_known = True
    async with aclosing(_pages_of(fetch, path)) as pages:
        async for lines in pages:
            first = 0
            while is_known and place < skip_bytes and first < len(lines):
                place += len(lines[first]) + 1
                first += 1
            if place > skip_bytes:
                is_known = False
                break
            if first < len(lines):
                yield lines[first:]
    if not is_known:
        async with aclosing(_pages_of(fetch, path)) as pages:
            async for lines in pages:
                yield lines
    elif place < skip_bytes:
        raise Unknown(f"{NAME} sent {path} up to byte {place} of {skip_bytes} at least", retryable=True)


async def _pages_of(fetch: Fetch, path: str) -> AsyncGenerator[Sequence[bytes]]:
    """The lines of each page."""
    token: Mapping[str, str] = {}
    while True:
        query = {"limit": str(RESULTS_A_PAGE), **token}
        answer = await fetch(HttpRequest(method="GET", path=path, query=query, safety="read", deadline_s=PAGE_S))
        page = read_answer(answer, _pages)
        if page.results:
            yield [on_one_line(bytes(result)) for result in page.results]
        if not page.pagination_token:
            return
        behind = {"pagination_token": page.pagination_token}
        if not page.results or behind == token:
            refuse_answer(answer.status, answer.headers, f"the page of {path} does not go on from the one before")
        token = behind
