"""The batch, the part that does I/O: thin, each effect a few calls and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import trio

from perdure.actors.batch import asks, rows
from perdure.actors.batch import state as pure
from perdure.actors.batch.asks import (
    FILE_ID,
    AskForFile,
    Buy,
    Cancel,
    CloseWindow,
    Collect,
    Poll,
    ReachDeadline,
    ReachLineDeadline,
    ResumeFile,
)
from perdure.actors.batch.bitmap import size_of
from perdure.actors.batch.decide import decide
from perdure.actors.batch.direct.asks import AskLive, WriteError
from perdure.actors.batch.direct.effects import DirectLines
from perdure.actors.batch.input_file import Input, number_of
from perdure.actors.batch.ports import BatchInput, BatchProvider, Blobs, ProviderBatch, Sought
from perdure.actors.batch.state import CODEC, FOLD, KIND, BatchState
from perdure.actors.fetch import CredentialMissing, Fetch, FetchError, Network, Refused
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.live import LiveProvider
from perdure.actors.nowhere import Nowhere
from perdure.actors.purchase import BLOCKING, PASSING, SECOND_US, jitter, perform_purchase
from perdure.actors.remote_files import RemoteFiles
from perdure.events.batch import (
    CancelBatch,
    CloseBatch,
    EndPart,
    EndStatus,
    ExpireLines,
    FileFailed,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NotePolled,
    NoteSubmitted,
    NoteTrouble,
    Problem,
    SettlePart,
    TakeResults,
)
from perdure.events.command import Command
from perdure.events.errors import BlobLost
from perdure.events.event import Event
from perdure.events.ids import derived_id
from perdure.events.provider_file import AskUpload, ResumeUpload, WithdrawUpload
from perdure.events.purchase import RefusePurchase
from perdure.events.requests import LineError
from perdure.events.sealed import plain

RUN_LINES = 1_000
RUN_BYTES = 4_000_000
"""Results enter the log in runs of at most this many lines and about this many bytes."""

COLLECT_PATIENCE_US = 86_400 * SECOND_US
"""How long results that cannot be read are asked for again before their lines end without them."""

LAST_LOOK_S = 10.0
"""How long a provider may take to say, at the deadline of a line, whether it is done."""

_LONGEST_NUMBER = 12
"""Digits of a line's number; more than any batch will have."""

FILE_KIND = "provider_file"
FILE_PURPOSE = "batch"
MISSING: Mapping[str, tuple[str, str]] = {
    "completed": ("batch_item_missing", "the provider ended the batch without a result for this line"),
    "failed": ("batch_failed", "the provider failed the batch"),
    "expired": ("batch_expired", "the batch expired before this line was done"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this line was done"),
}


class Batches:
    """The kind of batches; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def __init__(
        self,
        *,
        log_id: str,
        providers: Mapping[str, BatchProvider],
        network: Network,
        blobs: Blobs,
        files: Mapping[str, RemoteFiles] = {},
        live: Mapping[str, LiveProvider] = {},
    ) -> None:
        self._log_id = log_id
        self._providers = providers
        self._files = files
        self._network = network
        self._blobs = blobs
        self._direct = DirectLines(log_id=log_id, batches=providers, live=live, network=network, blobs=blobs)

    @classmethod
    def unwired(cls) -> Batches:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        nowhere = Nowhere()
        return cls(log_id="", providers={}, network=nowhere, blobs=nowhere)

    def initial(self, actor: str, tenant: str) -> BatchState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: BatchState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return decide(state, command, at)

    def evolve(self, state: BatchState, event: Event) -> BatchState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: BatchState) -> Sequence[Effect]:
        """See `Kind`."""
        return asks.effects(state)

    def row(self, state: BatchState) -> Row:
        """See `Kind`."""
        return rows.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return rows.index(event)

    def weight(self, state: BatchState) -> int:
        """See `Kind`."""
        return rows.weight(state)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        match effect:
            case Poll():
                return await self._poll(effect, port)
            case Collect():
                return await self._collect(effect, port)
            case Buy():
                return await self._buy(effect, port)
            case AskForFile():
                await self._ask_for_file(effect, port)
            case ResumeFile():
                await port.tell(FILE_KIND, effect.file, ResumeUpload())
                await port.report(NoteFileResumed(part=effect.part))
            case Cancel():
                return await self._cancel(effect, port)
            case AskLive():
                return await self._direct.ask(effect, port)
            case WriteError():
                await self._direct.write_error(effect, port)
            case CloseWindow():
                await port.report(CloseBatch())
            case ReachDeadline():
                await port.report(CancelBatch(reason="deadline"))
            case ReachLineDeadline():
                await self._reach_line_deadline(effect, port)
            case _:
                raise TypeError(f"a batch has no effect of type {type(effect).__name__}")
        return None

    # ------------------------------------------------------------------ towards the provider

    async def _ask_for_file(self, effect: AskForFile, port: Port) -> None:
        segments: list[tuple[str, int]] = []
        cut: list[str] = []
        try:
            lines = Input(self._blobs, effect.chunks, effect.left_out)
            if not self._providers[effect.provider].needs_file(await lines.size_bytes()):
                await port.report(NoteFileNotNeeded(part=effect.part))
                return
            async for chunk, rest in lines.pieces():
                if rest is None:
                    segments.append((chunk.blob, chunk.size_bytes))
                else:
                    cut.append((await self._blobs.put(rest)).digest)
                    segments.append((cut[-1], len(rest)))
            file = derived_id(FILE_ID, port.actor, effect.part)
            await self._order_file(effect, port, file, segments)
        except BlobLost as lost:
            await port.report(FileFailed(part=effect.part, code="blob_lost", message=str(lost)))
        else:
            await port.report(NoteFileAsked(part=effect.part, file=file))
        finally:
            self._blobs.release(*cut)

    async def _order_file(self, effect: AskForFile, port: Port, file: str, segments: Sequence[tuple[str, int]]) -> None:
        files = self._files[effect.provider]
        order = AskUpload(
            provider=effect.provider,
            credential=effect.credential,
            purpose=FILE_PURPOSE,
            segments=segments,
            size_bytes=sum(size_bytes for _, size_bytes in segments),
            owner_kind=KIND,
            owner=port.actor,
            part=effect.part,
            settle_us=int(files.settle_s * SECOND_US),
            patience_us=effect.patience_us,
            searchable=files.searchable,
        )
        await port.tell(FILE_KIND, file, order)

    async def _buy(self, effect: Buy, port: Port) -> Again | None:
        provider = self._providers[effect.provider]
        identity = f"{self._log_id}-{port.actor}-{effect.ordinal}"
        count = effect.last - effect.first + 1 - size_of(effect.left_out)
        lines = Input(self._blobs, effect.chunks, effect.left_out)

        async def create(fetch: Fetch) -> ProviderBatch:
            part = BatchInput(
                model=effect.model,
                count=count,
                size_bytes=await lines.size_bytes(),
                file=effect.provider_file,
                lines=lines.runs,
            )
            return await provider.create(fetch, part, endpoint=effect.endpoint, identity=identity)

        async def find(fetch: Fetch, since: int) -> Sequence[ProviderBatch]:
            sought = Sought(
                identity=identity,
                line_prefix=f"{port.actor}-",
                count=count,
                first=effect.first,
                last=effect.last,
                since=since,
                others=effect.others,
            )
            return [batch for batch in await provider.find(fetch, sought) if batch.id not in effect.others]

        def bought(batch: ProviderBatch, reconciled: bool) -> Command:
            return NoteSubmitted(
                part=effect.ordinal,
                attempt=effect.attempt,
                provider_batch=batch.id,
                hint_us=int((batch.poll_after_s or 0) * SECOND_US),
                reconciled=reconciled,
            )

        try:
            return await perform_purchase(
                effect, port, self._network, identity=identity, create=create, find=find, bought=bought
            )
        except BlobLost as lost:
            # What was sent ended in the middle: the provider cannot have taken it.
            ordinal, attempt = effect.ordinal, effect.attempt
            await port.report(RefusePurchase(ordinal=ordinal, attempt=attempt, kind="blob_lost", message=str(lost)))
            return None

    async def _cancel(self, effect: Cancel, port: Port) -> Again | None:
        fetch = self._network.bind(effect.lane, trace=port.trace)
        try:
            await self._providers[effect.provider].cancel(fetch, effect.provider_batch)
        except FetchError as error:
            gone = isinstance(error, Refused) and error.kind in ("not_found", "conflict", "invalid_request")
            if not gone:
                return Again(max(error.retry_after_s or 0.0, 60.0 if _is_blocking(error) else 5.0))
        if effect.part < 0:
            await port.report(NoteDuplicateCancelled(provider_batch=effect.provider_batch))
        else:
            await port.report(NoteCancelSent(part=effect.part))
        return None

    # ------------------------------------------------------------------ waiting

    async def _poll(self, effect: Poll, port: Port) -> Again | None:
        fetch = self._network.bind(effect.lane, trace=port.trace)
        try:
            seen = await self._providers[effect.provider].status(fetch, effect.provider_batch)
        except FetchError as error:
            return await self._trouble(effect, port, error)
        if seen.status in ("completed", "failed", "expired", "cancelled"):
            await port.report(_end(effect.part, seen.status, seen))
            return None
        await port.report(
            NotePolled(
                part=effect.part,
                status=seen.status,
                total=seen.total,
                completed=seen.completed,
                failed=seen.failed,
            )
        )
        now = port.now()
        if now > effect.give_up_at:
            await port.report(_give_up(effect, seen.sources))
            return None
        wait_s = effect.every_us / SECOND_US * jitter(port.actor, effect.id)
        if effect.hint and seen.poll_after_s:
            wait_s = seen.poll_after_s
        return Again(wait_s)

    async def _trouble(self, effect: Poll | Collect, port: Port, error: FetchError) -> Again | None:
        """Asking failed: the first time it is an event; then it is tried again, ever more slowly, up to a minute."""
        await port.report(NoteTrouble(part=effect.part, error=str(error), blocked=_is_blocking(error)))
        now = port.now()
        if isinstance(effect, Poll) and now > effect.give_up_at:
            await port.report(_give_up(effect, ()))
            return None
        troubled_s = (now - effect.troubled_since) / SECOND_US if effect.troubled_since else 0.0
        return Again(max(error.retry_after_s or 0.0, min(60.0, max(0.5, troubled_s / 2))))

    async def _reach_line_deadline(self, effect: ReachLineDeadline, port: Port) -> None:
        """Before lines are given up the provider is asked once more, if it has their part: they may be done."""
        seen: ProviderBatch | None = None
        if effect.provider_batch:
            fetch = self._network.bind(effect.lane, trace=port.trace)
            with suppress(FetchError), trio.move_on_after(LAST_LOOK_S):
                seen = await self._providers[effect.provider].status(fetch, effect.provider_batch)
        if seen is not None and seen.status in ("completed", "failed", "expired", "cancelled"):
            await port.report(_end(effect.part, seen.status, seen))
        else:
            await port.report(ExpireLines(until=effect.until))

    # ------------------------------------------------------------------ results

    async def _collect(self, effect: Collect, port: Port) -> Again | None:
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
                    return await self._trouble(effect, port, error)
                unread += f"; {effect.end.sources[source]} could not be read: {error}"
        await self._settle(effect, port, unread)
        return None

    async def _take(self, effect: Collect, port: Port, fetch: Fetch, source: int, behind: int) -> None:
        provider = self._providers[effect.provider]
        prefix = f"{port.actor}-"
        run = _Run(behind)
        async with provider.results(fetch, effect.end.sources[source], skip_bytes=behind) as chunks:
            async for chunk in chunks:
                for raw in chunk:
                    run.add(raw, provider, prefix)
                    if len(run.lines) >= RUN_LINES or run.size_bytes >= RUN_BYTES:
                        await self._report_run(effect, port, source, run)
                        run = _Run(run.cursor)
        if run.cursor > run.behind:
            await self._report_run(effect, port, source, run)

    async def _report_run(self, effect: Collect, port: Port, source: int, run: _Run) -> None:
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
                )
            )
        finally:
            self._blobs.release(blob.digest)

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

    def add(self, raw: bytes, provider: BatchProvider, prefix: str) -> None:
        """Takes one line of a result source."""
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


def _is_blocking(error: FetchError) -> bool:
    """Whether somebody must mend a key or a quota first."""
    return isinstance(error, CredentialMissing) or (isinstance(error, Refused) and error.kind in BLOCKING)


def _is_gone(effect: Collect, error: FetchError, now: int) -> bool:
    """Whether a source of results will never be read: the provider says so, or it failed for `COLLECT_PATIENCE_US`.

    A refused key or an exhausted quota is neither: the results are there and paid for.
    """
    if _is_blocking(error):
        return False
    if isinstance(error, Refused):
        useless = (error.status or 0) < 300 and not error.retryable
        if useless or error.kind not in PASSING:
            return True
    return bool(effect.troubled_since) and now - effect.troubled_since > COLLECT_PATIENCE_US


def _end(part: int, status: EndStatus, seen: ProviderBatch) -> EndPart:
    code, message = MISSING[status]
    if seen.problems:
        first = seen.problems[0]
        code, message = first.code, f"{message}: {first.message}"
        if first.line is not None:
            code, message = MISSING[status][0], f"{message} (line {first.line})"
    return EndPart(
        part=part,
        status=status,
        code=code,
        message=message,
        sources=seen.sources,
        problems=[Problem(problem.code, plain(problem.message), problem.line or 0) for problem in seen.problems],
    )


def _give_up(effect: Poll, sources: Sequence[str]) -> EndPart:
    """The provider ends neither by itself nor when told to: the part ends here, and is left to be cancelled there."""
    status: EndStatus = "cancelled" if effect.cancelling else "expired"
    if effect.cancelling:
        told = "the provider did not end the batch in time after it was to be cancelled"
    else:
        told = "the provider did not end the batch within its window and an hour more"
    return EndPart(
        part=effect.part,
        status=status,
        code=f"batch_{status}",
        message=f"{told}: given up",
        sources=sources,
        abandoned=True,
    )
