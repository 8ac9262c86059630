"""A file at a provider, the part that does I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Final, Protocol

from perdure.actors.fetch import Fetch, FetchError, Network
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.nowhere import Nowhere
from perdure.actors.provider_file import state as pure
from perdure.actors.provider_file.state import (
    CODEC,
    FOLD,
    KIND,
    FileState,
    TellOwner,
    UploadEffect,
    WarnOwner,
    WatchUpload,
)
from perdure.actors.purchase import SECOND_US
from perdure.actors.purchasing import perform_purchase
from perdure.actors.remote_files import RemoteFile, RemoteFiles, Upload
from perdure.events.batch import FileBlocked, FileFailed, FileStored
from perdure.events.command import Command
from perdure.events.errors import BlobLost
from perdure.events.event import Event
from perdure.events.provider_file import (
    FailUpload,
    KeepUploadSession,
    NoteFileProcessed,
    NoteOwnerTold,
    NoteOwnerWarned,
    NoteUploaded,
    UploadOrdered,
)

MIME_TYPE: Final = "application/jsonl"
"""What is uploaded here is lines of JSON."""

PROCESSING_PATIENCE_US: Final = 3_600 * SECOND_US
"""How long a provider may take to process a file of lines before it is given up. Ours: text is ready at once."""

LONGEST_LOOK_S: Final = 60.0
"""The longest wait between two looks at a file that is processed."""


class Segments(Protocol):
    """Where an upload's bytes come from: the blob store."""

    def chunks(self, digest: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """A blob's bytes as they are read from disk. Raises `BlobLost`."""
        ...


class ProviderFiles:
    """The kind of provider files; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def __init__(self, *, log_id: str, providers: Mapping[str, RemoteFiles], network: Network, blobs: Segments) -> None:
        self._log_id = log_id
        self._providers = providers
        self._network = network
        self._blobs = blobs

    @classmethod
    def unwired(cls) -> ProviderFiles:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        nowhere = Nowhere()
        return cls(log_id="", providers={}, network=nowhere, blobs=nowhere)

    def initial(self, actor: str, tenant: str) -> FileState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: FileState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return pure.decide(state, command, at)

    def evolve(self, state: FileState, event: Event) -> FileState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: FileState) -> Sequence[Effect]:
        """See `Kind`."""
        return pure.effects(state)

    def row(self, state: FileState) -> Row:
        """See `Kind`."""
        return pure.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return pure.index(event)

    def weight(self, state: FileState) -> int:
        """See `Kind`."""
        return 1_500 + (len(state.order.segments) * 150 if state.order else 0)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        if isinstance(effect, TellOwner):
            await port.tell(effect.owner_kind, effect.owner, _news(effect, port.actor))
            await port.report(NoteOwnerTold())
            return None
        if isinstance(effect, WarnOwner):
            await port.tell(
                effect.owner_kind, effect.owner, FileBlocked(part=effect.part, error=effect.error, file=port.actor)
            )
            await port.report(NoteOwnerWarned(attempt=effect.attempt))
            return None
        if isinstance(effect, WatchUpload):
            return await self._watch(effect, port)
        assert isinstance(effect, UploadEffect)
        return await self._upload(effect, port)

    async def _upload(self, effect: UploadEffect, port: Port) -> Again | None:
        order = effect.order
        provider = self._providers[order.provider]
        identity = f"{self._log_id}-{port.actor}-0"
        filename = f"{identity}.jsonl"
        streams = AsyncExitStack()

        def open_at(offset: int) -> AsyncIterator[bytes]:
            # Closed below: an upload that breaks off leaves it where it is.
            chunks = self._read(order, offset)
            streams.push_async_callback(chunks.aclose)
            return chunks

        async def keep(session: str) -> None:
            await port.report(KeepUploadSession(attempt=effect.attempt, session=session))

        upload = Upload(
            filename=filename,
            mime_type=MIME_TYPE,
            purpose=order.purpose,
            size_bytes=order.size_bytes,
            open=open_at,
            keep=keep,
            session=effect.session,
        )

        async def create(fetch: Fetch) -> RemoteFile:
            return await provider.upload(fetch, upload)

        async def find(fetch: Fetch, since: int) -> Sequence[RemoteFile]:
            found = await provider.find(fetch, filename=filename, size_bytes=order.size_bytes, since=since)
            # The first one is adopted: one that can be used before one that cannot.
            return sorted(found, key=lambda file: file.readiness == "failed")

        def bought(file: RemoteFile, reconciled: bool) -> Command:
            return NoteUploaded(
                attempt=effect.attempt,
                provider_file=file.id,
                expires_at=file.expires_at or 0,
                reconciled=reconciled,
                processing=file.readiness != "ready",
            )

        try:
            async with streams:
                return await perform_purchase(
                    effect, port, self._network, identity=identity, create=create, find=find, bought=bought
                )
        except BlobLost as lost:
            await port.report(FailUpload(code="blob_lost", message=str(lost)))
            return None

    async def _read(self, order: UploadOrdered, offset: int) -> AsyncGenerator[bytes]:
        """The order's bytes from `offset` on."""
        for digest, size_bytes in order.segments:
            if offset < size_bytes:
                async with aclosing(self._blobs.chunks(digest, offset=offset)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            offset = max(0, offset - size_bytes)

    async def _watch(self, effect: WatchUpload, port: Port) -> Again | None:
        fetch = self._network.bind(effect.lane, trace=port.trace)
        waited_us = port.now() - effect.since
        retry_after_s = 0.0
        try:
            file = await self._providers[effect.provider].info(fetch, effect.provider_file)
        except FetchError as error:
            retry_after_s = error.retry_after_s or 0.0
        else:
            if file is not None and file.readiness == "ready":
                await port.report(NoteFileProcessed())
                return None
            if file is not None and file.readiness == "failed":
                await port.report(FailUpload(code="processing_failed", message=file.error))
                return None
        if waited_us > PROCESSING_PATIENCE_US:
            message = f"{effect.provider} has not made it ready within {waited_us // SECOND_US} s"
            await port.report(FailUpload(code="processing_timeout", message=message))
            return None
        return Again(max(retry_after_s, min(LONGEST_LOOK_S, max(1.0, waited_us / SECOND_US / 4))))


def _news(effect: TellOwner, file: str) -> Command:
    if effect.provider_file:
        return FileStored(part=effect.part, provider_file=effect.provider_file, file=file)
    return FileFailed(part=effect.part, code=effect.code, message=effect.message, file=file)
