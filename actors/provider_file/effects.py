"""A file at a provider, the part that does I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from perdure.actors.batch.ports import FileProvider, StoredFile
from perdure.actors.fetch import Fetch, Network
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.nowhere import Nowhere
from perdure.actors.provider_file import state as pure
from perdure.actors.provider_file.state import CODEC, FOLD, KIND, FileState, TellOwner, UploadEffect, WarnOwner
from perdure.actors.purchase import perform_purchase
from perdure.events.batch import FileBlocked, FileFailed, FileStored
from perdure.events.command import Command
from perdure.events.errors import BlobLost
from perdure.events.event import Event
from perdure.events.provider_file import FailUpload, NoteOwnerTold, NoteOwnerWarned, NoteUploaded


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

    def __init__(
        self, *, log_id: str, providers: Mapping[str, FileProvider], network: Network, blobs: Segments
    ) -> None:
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
            await port.tell(effect.owner_kind, effect.owner, _news(effect))
            await port.report(NoteOwnerTold())
            return None
        if isinstance(effect, WarnOwner):
            await port.tell(effect.owner_kind, effect.owner, FileBlocked(part=effect.part, error=effect.error))
            await port.report(NoteOwnerWarned(attempt=effect.attempt))
            return None
        assert isinstance(effect, UploadEffect)
        order = effect.order
        provider = self._providers[order.provider]
        identity = f"{self._log_id}-{port.actor}-0"
        filename = f"{identity}.jsonl"

        async def body() -> AsyncIterator[bytes]:
            for digest, _ in order.segments:
                async with aclosing(self._blobs.chunks(digest)) as chunks:
                    async for chunk in chunks:
                        yield chunk

        async def create(fetch: Fetch) -> StoredFile:
            return await provider.upload(
                fetch, filename=filename, purpose=order.purpose, body=body, size_bytes=order.size_bytes
            )

        async def find(fetch: Fetch, since: int) -> Sequence[StoredFile]:
            return await provider.find(
                fetch, filename=filename, size_bytes=order.size_bytes, purpose=order.purpose, since=since
            )

        def bought(stored: StoredFile, reconciled: bool) -> Command:
            return NoteUploaded(
                attempt=effect.attempt,
                provider_file=stored.id,
                expires_at=stored.expires_at or 0,
                reconciled=reconciled,
            )

        try:
            return await perform_purchase(
                effect, port, self._network, identity=identity, create=create, find=find, bought=bought
            )
        except BlobLost as lost:
            await port.report(FailUpload(code="blob_lost", message=str(lost)))
            return None


def _news(effect: TellOwner) -> Command:
    if effect.provider_file:
        return FileStored(part=effect.part, provider_file=effect.provider_file)
    return FileFailed(part=effect.part, code=effect.code, message=effect.message)
