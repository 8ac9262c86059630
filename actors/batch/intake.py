"""Intake: requests are read one by one, judged, encoded and made durable in runs before any of them is sent.

Bounded memory: one run at a time. What cannot be known before the end, that a name comes twice, costs one set of names.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterator, Sequence
from contextlib import aclosing

import trio
from msgspec import Struct

from perdure.actors.batch.ports import BatchLimits, BatchProvider
from perdure.actors.batch.showing import Requests, ShowFiles, Shown, show_words, shown
from perdure.actors.encoding import Encoded, encode_request, endpoint_of
from perdure.events.batch import LineNote
from perdure.events.errors import InvalidRequest, TooLarge
from perdure.events.file_warnings import FileWarning
from perdure.events.requests import Prompt, RawRequest

RUN_LINES = 1_000
RUN_BYTES = 4_000_000
"""Lines enter the log in runs of at most this many lines and about this many bytes; both are part of what makes a
re-read batch comparable, so a change of them needs care with batches that are being collected."""


class Reread:
    """Requests that come once, kept until their first run is in the log: until then they can be read from the start.

    Two callers may begin under one key at once; the one who comes second reads what it has read already again, for the
    other's batch. What is kept is one run.
    """

    def __init__(self, requests: Iterator[Prompt | RawRequest] | AsyncIterator[Prompt | RawRequest]) -> None:
        self._requests = requests
        self._kept: list[Prompt | RawRequest] | None = []

    def forget(self) -> None:
        """Keeps nothing any more."""
        self._kept = None

    def __aiter__(self) -> AsyncIterator[Prompt | RawRequest]:
        return _Reading(self, self._kept or ())

    async def next(self) -> Prompt | RawRequest:
        """The next one that nobody has read. Raises `StopAsyncIteration`. Does not checkpoint by itself."""
        if isinstance(self._requests, AsyncIterator):
            request = await anext(self._requests)
        else:
            try:
                request = next(self._requests)
            except StopIteration:
                raise StopAsyncIteration from None
        if self._kept is not None:
            self._kept.append(request)
        return request


class _Reading:
    """One reading of a `Reread`: what was kept, then what comes."""

    def __init__(self, source: Reread, kept: Sequence[Prompt | RawRequest]) -> None:
        self._source = source
        self._kept = iter(list(kept))

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> Prompt | RawRequest:
        for request in self._kept:
            return request
        return await self._source.next()


class Run(Struct):
    """A run of encoded lines: the callers' names, and the lines with their newlines. `notes` hold what the callers of
    lines with files wrote, as hashes; `warnings` are of what was left out of them."""

    first: int
    names: list[str]
    lines: list[bytes]
    size_bytes: int
    notes: list[LineNote] = []
    warnings: list[FileWarning] = []


class Intake:
    """Reads requests for one batch. `endpoint` and `model` are known once the first run is read.

    `show` shows a prompt its files; left out, lines are only judged.
    """

    def __init__(self, provider: BatchProvider, actor: str, endpoint: str | None, show: ShowFiles = show_words) -> None:
        self.endpoint = endpoint or ""
        self.model = ""
        self._provider = provider
        self._actor = actor
        self._show = show
        self._names: set[str] = set()
        self._limits: BatchLimits | None = None
        self._run = Run(0, [], [], 0)

    async def runs(self, requests: Requests) -> AsyncGenerator[Run]:
        """The requests in runs. Raises `InvalidRequest` (with the line), `TooLarge`, `Unsupported`."""
        number = 0
        async with aclosing(shown(requests, self._show)) as ready:
            async for one in ready:
                whole = self._add(one, number)
                number += 1
                if whole is not None:
                    yield whole
                    await trio.lowlevel.checkpoint()
        if self._run.lines:
            yield self._run

    def _add(self, ready: Shown, number: int) -> Run | None:
        """Takes one request; gives the run that is whole without it."""
        request = ready.request
        line = number + 1
        endpoints = self._provider.endpoints
        one = encode_request(self._provider, request, endpoints=endpoints, endpoint=self.endpoint or None, line=line)
        name = self._name(one.custom_id, number)
        limits = self._limits or self._begin(one)
        if one.endpoint != self.endpoint:
            raise InvalidRequest(
                f"its endpoint is {one.endpoint!r}, the batch is for {self.endpoint!r}: "
                "use one batch for each endpoint",
                line=line,
                field="url",
                value=one.endpoint,
            )
        if one.model != self.model:
            raise InvalidRequest(
                f"its model is {one.model!r}, the batch is for {self.model!r}: use one batch for each model",
                line=line,
                field="body.model",
                value=one.model,
            )
        encoded = self._provider.encode_line(f"{self._actor}-{number}", one.endpoint, one.body)
        if len(encoded) > limits.max_bytes:
            raise TooLarge(
                f"line {line} has {len(encoded)} bytes, more than a whole batch may have ({limits.max_bytes})",
                limit=limits.max_bytes,
                size=len(encoded),
                field="body",
            )
        whole: Run | None = None
        run = self._run
        if run.lines and (
            len(run.lines) >= min(RUN_LINES, limits.max_lines)
            or run.size_bytes >= RUN_BYTES
            or run.size_bytes + len(encoded) > limits.max_bytes
        ):
            whole, run = run, Run(number, [], [], 0)
            self._run = run
        run.names.append(name)
        run.lines.append(encoded)
        run.size_bytes += len(encoded)
        if ready.digest:
            run.notes.append(LineNote(number, digest=ready.digest))
        run.warnings.extend(ready.warnings)
        return whole

    def _begin(self, first: Encoded) -> BatchLimits:
        """The first request says what the batch is for."""
        if not self.endpoint or endpoint_of(first.endpoint, (self.endpoint,)) is not None:
            self.endpoint = first.endpoint  # with the model's name in it, where that stands in the path
        self.model = first.model
        self._limits = self._provider.limits(self.endpoint)
        return self._limits

    def _name(self, custom_id: str | None, number: int) -> str:
        name = f"req-{number}" if custom_id is None else custom_id
        if name in self._names:
            raise InvalidRequest(
                f"its custom_id {name[:80]!r} was used before: give each line its own",
                line=number + 1,
                field="custom_id",
                value=name,
            )
        self._names.add(name)
        return name


def first_difference(before: Sequence[bytes], now: Sequence[bytes], same: Container[int] = frozenset()) -> int | None:
    """The index of the first line that differs between two runs, None where there is none. Lines in `same` are the same
    to their callers, although providers may call their files something else by now."""
    for index, (was, wanted) in enumerate(zip(before, now, strict=False)):
        if was != wanted and index not in same:
            return index
    return None if len(before) == len(now) else min(len(before), len(now))
