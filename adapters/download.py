"""Reading a file of result lines as it comes, from any place on, in bounded memory: the same at every provider.

Every line takes its own bytes plus one, as `BatchProvider.results` says, the last one too when no newline follows it:
who has read such a file to its end resumes one byte behind it, and finds nothing more.

A file that was cut must not pass for a whole one, for a line that is missing counts as never answered. HTTP tells most
cuts, not those of somebody in between who makes the length fit; so the file's own size is taken where it is known.
Where it is not, a last line without a newline counts only if it is whole JSON.

Resuming asks for the rest (`Range`, RFC 9110 section 14) and believes only an answer that says so: 206 from that very
byte to the end. A plain 200 is read past what is known already.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, HttpRequest, HttpStream, Unknown
from perdure.adapters.answers import DECODE_ERRORS, media_type, refuse_answer
from perdure.adapters.jsonl import LineSplitter, LineTooLong
from perdure.events.errors import shorten

DOWNLOAD_S: Final = 3_600.0
"""How long reading one result file may take, in seconds: a gigabyte at 300 kB/s. Ours."""

_PAGES: Final = ("text/html", "application/xhtml+xml")
_RANGE: Final = re.compile(r"bytes (?P<first>\d+)-(?P<last>\d+)/(?P<size>\d+|\*)", re.IGNORECASE)


class ResultFile(Struct, frozen=True, kw_only=True):
    """Where a file of lines is: its path and query. `size_bytes` is None where the provider does not tell it."""

    provider: str
    path: str
    query: Mapping[str, str] = {}
    size_bytes: int | None = None


@asynccontextmanager
async def open_lines(
    fetch: Fetch, file: ResultFile, *, skip_bytes: int
) -> AsyncGenerator[AsyncIterator[Sequence[bytes]]]:
    """The lines of a file behind its first `skip_bytes` bytes, in runs as they arrive, newlines stripped.

    Holds one chunk and one unfinished line. Raises what `fetch` raises; `Unknown` when the file ends before
    `skip_bytes` or before its size; `Refused` for a web page in the file's place (worth a repeat) and for a line longer
    than `MAX_LINE_BYTES` (not).
    """
    if file.size_bytes is not None and skip_bytes - file.size_bytes in (0, 1):
        async with aclosing(_nothing()) as runs:
            yield runs
        return
    if skip_bytes:
        async with fetch.stream(_request(file, skip_bytes)) as answer:
            if is_rest(answer, skip_bytes):
                async with aclosing(_runs(answer, file, skip_bytes, skip_bytes)) as runs:
                    yield runs
                return
            if answer.status == 200:
                async with aclosing(_runs(answer, file, 0, skip_bytes)) as runs:
                    yield runs
                return
    async with (
        fetch.stream(_request(file, 0)) as answer,
        aclosing(_runs(answer, file, 0, skip_bytes)) as runs,
    ):
        yield runs


def _request(file: ResultFile, first_byte: int) -> HttpRequest:
    return HttpRequest(
        method="GET",
        path=file.path,
        query=file.query,
        safety="read",
        headers={"range": f"bytes={first_byte}-"} if first_byte else {},
        expected=frozenset({416}) if first_byte else frozenset(),
        deadline_s=DOWNLOAD_S,
    )


def is_rest(answer: HttpStream, first_byte: int) -> bool:
    """Whether this answer holds all from `first_byte` on."""
    said = _RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    if answer.status != 206 or said is None or int(said["first"]) != first_byte:
        return False
    return said["size"] == "*" or int(said["last"]) + 1 == int(said["size"])


async def _nothing() -> AsyncGenerator[Sequence[bytes]]:
    """No run at all. Does not checkpoint."""
    runs: Sequence[Sequence[bytes]] = ()
    for run in runs:
        yield run


async def _runs(answer: HttpStream, file: ResultFile, place: int, first_byte: int) -> AsyncGenerator[Sequence[bytes]]:
    """The runs behind `first_byte` of an answer whose body begins at `place` of the file."""
    path, size_bytes = file.path, file.size_bytes
    if media_type(answer.headers) in _PAGES:
        refuse_answer(answer.status, answer.headers, f"{path} is a web page")
    splitter = LineSplitter()
    chunks = answer.chunks()
    try:
        async for chunk in chunks:
            known = first_byte - place
            place += len(chunk)
            lines = splitter.feed(chunk if known <= 0 else chunk[known:])
            if lines:
                yield lines
    except LineTooLong as error:
        refuse_answer(answer.status, answer.headers, f"{path}, {error}", retryable=False)
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    if place < first_byte - 1 or (size_bytes is not None and place < size_bytes):
        told = first_byte if size_bytes is None else size_bytes
        raise Unknown(f"{file.provider} sent {path} up to byte {place} of {told}", retryable=True)
    last = splitter.finish()
    if last is not None:
        if size_bytes is None:
            _check_whole(last, path)
        yield [last]


def _check_whole(last: bytes, path: str) -> None:
    try:
        msgspec.json.decode(last, type=msgspec.Raw)
    except DECODE_ERRORS as error:
        raise Unknown(f"{path} ends within a line that begins {shorten(last[:40])}: {error}", retryable=True) from error
