"""The batch, the part that does I/O: thin, each effect a few calls and a report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from perdure.actors.batch import asks, rows
from perdure.actors.batch import state as pure
from perdure.actors.batch.asks import (
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
from perdure.actors.batch.input_file import Input
from perdure.actors.batch.ports import BatchInput, BatchProvider, Blobs, ProviderBatch, Sought
from perdure.actors.batch.reading import Reading
from perdure.actors.batch.state import CODEC, FILE_KIND, FOLD, KIND, BatchState
from perdure.actors.batch.watching import Watching, is_blocking
from perdure.actors.costs.pricing import Pricing
from perdure.actors.fetch import Fetch, FetchError, Network, Refused
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.live import LiveProvider
from perdure.actors.nowhere import Nowhere
from perdure.actors.purchase import SECOND_US
from perdure.actors.purchasing import perform_purchase
from perdure.actors.remote_files import RemoteFiles
from perdure.events.batch import (
    CancelBatch,
    CloseBatch,
    FileFailed,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NoteSubmitted,
)
from perdure.events.command import Command
from perdure.events.errors import BlobLost
from perdure.events.event import Event
from perdure.events.provider_file import AskUpload, ResumeUpload
from perdure.events.purchase import RefusePurchase

FILE_PURPOSE = "batch"


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
        pricing: Pricing | None = None,
    ) -> None:
        pricing = pricing or Pricing()
        self._log_id = log_id
        self._providers = providers
        self._files = files
        self._network = network
        self._blobs = blobs
        self._watching = Watching(providers=providers, network=network)
        self._reading = Reading(providers=providers, network=network, blobs=blobs, pricing=pricing)
        self._direct = DirectLines(
            log_id=log_id, batches=providers, live=live, network=network, blobs=blobs, pricing=pricing
        )

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
                return await self._watching.poll(effect, port)
            case Collect():
                return await self._reading.collect(effect, port)
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
                await self._watching.reach_line_deadline(effect, port)
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
            async with aclosing(lines.pieces()) as pieces:
                async for chunk, rest in pieces:
                    if rest is None:
                        segments.append((chunk.blob, chunk.size_bytes))
                    else:
                        cut.append((await self._blobs.put(rest)).digest)
                        segments.append((cut[-1], len(rest)))
            await self._order_file(effect, port, segments)
        except BlobLost as lost:
            await port.report(FileFailed(part=effect.part, code="blob_lost", message=str(lost)))
        else:
            await port.report(NoteFileAsked(part=effect.part, file=effect.file))
        finally:
            self._blobs.release(*cut)

    async def _order_file(self, effect: AskForFile, port: Port, segments: Sequence[tuple[str, int]]) -> None:
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
        await port.tell(FILE_KIND, effect.file, order)

    async def _buy(self, effect: Buy, port: Port) -> Again | None:
        provider = self._providers[effect.provider]
        identity = f"{self._log_id}-{port.actor}-{effect.ordinal}"
        if effect.before:
            identity = f"{identity}-{effect.before}"
        count = effect.last - effect.first + 1 - size_of(effect.left_out)
        lines = Input(self._blobs, effect.chunks, effect.left_out)
        streams = AsyncExitStack()

        def runs() -> AsyncIterator[bytes]:
            # Closed below: a call that breaks off leaves it where it is.
            stream = lines.runs()
            streams.push_async_callback(stream.aclose)
            return stream

        async def create(fetch: Fetch) -> ProviderBatch:
            part = BatchInput(
                model=effect.model,
                count=count,
                size_bytes=await lines.size_bytes(),
                file=effect.provider_file,
                lines=runs,
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
            async with streams:
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
                return Again(max(error.retry_after_s or 0.0, 60.0 if is_blocking(error) else 5.0))
        if effect.part < 0:
            await port.report(NoteDuplicateCancelled(provider_batch=effect.provider_batch))
        else:
            await port.report(NoteCancelSent(part=effect.part))
        return None
