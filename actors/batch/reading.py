"""Reading results: what the provider has for a part goes into the log in runs, then its lines are settled. Does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from perdure.actors.batch.asks import Collect
from perdure.actors.batch.input_file import number_of
from perdure.actors.batch.ports import BatchProvider, Blobs
from perdure.actors.batch.state import FILE_KIND
from perdure.actors.batch.watching import is_blocking, trouble
from perdure.actors.costs.pricing import Pricing
from perdure.actors.fetch import Fetch, FetchError, Network, Refused
from perdure.actors.kind import Again, Port
from perdure.actors.purchase import PASSING, SECOND_US
from perdure.events.batch import SettlePart, TakeResults
from perdure.events.cost import Cost
from perdure.events.provider_file import WithdrawUpload
from perdure.events.requests import LineError

RUN_LINES = 1_000
RUN_BYTES = 4_000_000
"""Results enter the log in runs of at most this many lines and about this many bytes."""

COLLECT_PATIENCE_US = 86_400 * SECOND_US
"""How long results that cannot be read are asked for again before their lines end without them."""

_LONGEST_NUMBER = 12
"""Digits of a line's number; more than any batch will have."""


class Reading:
    """Reads the results of parts."""

    def __init__(
        self, *, providers: Mapping[str, BatchProvider], network: Network, blobs: Blobs, pricing: Pricing
    ) -> None:
        self._pricing = pricing
        self._providers = providers
        self._network = network
        self._blobs = blobs

    async def collect(self, effect: Collect, port: Port) -> Again | None:
        """Reads all sources from where the log left off, and settles the part."""
        if effect.withdraw:
            await port.tell(FILE_KIND, effect.withdraw, WithdrawUpload())
        fetch = self._network.bind(effect.lane, trace=port.trace)
        unread = ""
        for source in range(effect.source, len(effect.end.sources)):
            behind = effect.cursor if source == effect.source else 0
            try:
                await self._take(effect, port, fetch, source, behind)
            except FetchError as error:
                if not _is_gone(effect, error, port.now()):
                    return await trouble(effect, port, error)
                unread += f"; {effect.end.sources[source]} could not be read: {error}"
        await self._settle(effect, port, unread)
        return None

    async def _take(self, effect: Collect, port: Port, fetch: Fetch, source: int, behind: int) -> None:
        provider = self._providers[effect.provider]
        prefix = f"{port.actor}-"
        await self._pricing.prepare(effect.provider, effect.model, batch=True, at=port.now())
        run = _Run(behind)
        async with provider.results(fetch, effect.end.sources[source], skip_bytes=behind) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    run.add(raw, provider, prefix, rescuing=effect.rescuing)
                    if len(run.lines) >= RUN_LINES or run.size_bytes >= RUN_BYTES:
                        await self._report_run(effect, port, source, run)
                        run = _Run(run.cursor)
        if run.cursor > run.behind:
            await self._report_run(effect, port, source, run)

    async def _report_run(self, effect: Collect, port: Port, source: int, run: _Run) -> None:
        costs = await self._costs_of(effect, run, port.now())
        blob = await self._blobs.put(b"\n".join(run.lines) + b"\n")
        try:
            await port.report(
                TakeResults(
                    part=effect.part,
                    source=source,
                    behind=run.behind,
                    cursor=run.cursor,
                    blob=blob.digest,
                    numbers=run.numbers,
                    offsets=run.offsets,
                    lengths=run.lengths,
                    failed=run.failed,
                    foreign=run.foreign,
                    unreadable=run.unreadable,
                    costs=costs,
                )
            )
        finally:
            self._blobs.release(blob.digest)

    async def _costs_of(self, effect: Collect, run: _Run, at: int) -> Sequence[Cost | None]:
        """What each line of a run cost, at the batch's tier whatever the provider says of it (W-73)."""
        provider, credential = self._providers[effect.provider], effect.lane.credential
        priced = {"provider": effect.provider, "model": effect.model, "credential": credential}
        answers = [provider.answer(effect.endpoint, raw) for raw in run.lines]
        return [await self._pricing.of(answer, **priced, batch=True, at=at) for answer in answers]

    async def _settle(self, effect: Collect, port: Port, unread: str) -> None:
        """Writes what the lines without a result will say, and settles the part. `unread`: which sources are gone."""
        end = effect.end
        opened = end.message.open()
        message = (opened if isinstance(opened, str) else "") + unread
        texts = [msgspec.json.encode(LineError(code=end.code, message=message))]
        own: dict[int, tuple[int, int]] = {}
        offset = len(texts[0])
        for problem in end.problems:
            number = number_of(problem.line, effect.first, effect.left_out)
            if problem.line and effect.first <= number <= effect.last:
                said = problem.message.open()
                text = msgspec.json.encode(LineError(code=problem.code, message=said if isinstance(said, str) else ""))
                own[number] = (offset, len(text))
                offset += len(text)
                texts.append(text)
        blob = await self._blobs.put(b"".join(texts))
        try:
            await port.report(
                SettlePart(part=effect.part, code=end.code, blob=blob.digest, offset=0, length=len(texts[0]), own=own)
            )
        finally:
            self._blobs.release(blob.digest)


class _Run:
    """A run of result lines on its way into a blob."""

    __slots__ = (
        "behind",
        "cursor",
        "failed",
        "foreign",
        "lengths",
        "lines",
        "numbers",
        "offsets",
        "size_bytes",
        "unreadable",
    )

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.cursor = behind
        self.size_bytes = 0
        self.lines: list[bytes] = []
        self.numbers: list[int] = []
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.failed: list[int] = []
        self.foreign = 0
        self.unreadable = 0

    def add(self, raw: bytes, provider: BatchProvider, prefix: str, *, rescuing: bool) -> None:
        """Takes one line of a result source. `rescuing`: a line that only says that it was not run stays open."""
        self.cursor += len(raw) + 1
        if not raw.strip():
            return
        line = provider.parse_line(raw)
        if line is None:
            self.unreadable += 1
            return
        identifier = line.line_id
        number = line_number(identifier[len(prefix) :]) if identifier.startswith(prefix) else None
        if number is None:
            self.foreign += 1
            return
        if line.unfinished and rescuing:
            return
        if not line.ok:
            self.failed.append(len(self.numbers))
        self.numbers.append(number)
        self.offsets.append(self.size_bytes)
        self.lengths.append(len(raw))
        self.lines.append(raw)
        self.size_bytes += len(raw) + 1


def line_number(text: str) -> int | None:
    """The number that `text` is, if it is written as we write numbers; None otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER) or (text[0] == "0" and text != "0"):
        return None
    return int(text)


def _is_gone(effect: Collect, error: FetchError, now: int) -> bool:
    """Whether a source of results will never be read: the provider says so, or it failed for `COLLECT_PATIENCE_US`.

    A refused key or an exhausted quota is neither: the results are there and paid for.
    """
    if is_blocking(error):
        return False
    if isinstance(error, Refused):
        useless = (error.status or 0) < 300 and not error.retryable
        if useless or error.kind not in PASSING:
            return True
    return bool(effect.troubled_since) and now - effect.troubled_since > COLLECT_PATIENCE_US
