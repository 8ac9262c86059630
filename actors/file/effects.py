"""A file, the part that does I/O: its copies are sent to providers, looked at and deleted there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from perdure.actors.fetch import Fetch, FetchError, Network, Refused
from perdure.actors.file import asks
from perdure.actors.file import decide as judging
from perdure.actors.file import state as pure
from perdure.actors.file.asks import Delete, EndLife, LapseCopy, LetGo, Put, Watch
from perdure.actors.file.state import CODEC, FOLD, KIND, FileState
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.nowhere import Nowhere
from perdure.actors.provider_file.effects import Segments
from perdure.actors.purchase import BLOCKED_RETRY_US, BLOCKING, PASSING, SECOND_US
from perdure.actors.purchasing import perform_purchase
from perdure.actors.remote_files import RemoteFile, RemoteFiles, Upload
from perdure.events.command import Command
from perdure.events.errors import BlobLost
from perdure.events.event import Event
from perdure.events.file import (
    ExpireCopy,
    ExpireFile,
    FailCopy,
    KeepSession,
    LeaveCopy,
    NoteCopyDeleted,
    NoteCopyReady,
    NoteCopyStored,
    ReleaseContent,
)

PROCESSING_PATIENCE_US: Final = 6 * 3_600 * SECOND_US
"""How long a provider may take to process a file before its copy is given up: the longest films take minutes."""

DELETION_PATIENCE_US: Final = 86_400 * SECOND_US
"""How long deleting at a provider is tried again after errors that may pass."""

LONGEST_LOOK_S: Final = 60.0
LONGEST_DELETION_S: Final = 900.0
"""The longest waits between two looks at a file that is processed, and between two tries to delete one."""

_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}")


def planted_name(log_id: str, actor: str, ordinal: int, filename: str) -> str:
    """The name of a copy at its provider: its identity, with the file's extension, which some providers go by."""
    dot = filename.rfind(".")
    extension = filename[dot:].lower() if dot > 0 and _EXTENSION.fullmatch(filename, dot) else ""
    return f"{log_id}-{actor}-{ordinal}{extension}"


class Files:
    """The kind of files; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def __init__(self, *, log_id: str, providers: Mapping[str, RemoteFiles], network: Network, blobs: Segments) -> None:
        self._log_id = log_id
        self._providers = providers
        self._network = network
        self._blobs = blobs

    @classmethod
    def unwired(cls) -> Files:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        nowhere = Nowhere()
        return cls(log_id="", providers={}, network=nowhere, blobs=nowhere)

    def initial(self, actor: str, tenant: str) -> FileState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: FileState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return judging.decide(state, command, at)

    def evolve(self, state: FileState, event: Event) -> FileState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: FileState) -> Sequence[Effect]:
        """See `Kind`."""
        return asks.effects(state)

    def row(self, state: FileState) -> Row:
        """See `Kind`."""
        return asks.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return asks.index(event)

    def weight(self, state: FileState) -> int:
        """See `Kind`."""
        return asks.weight(state)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        match effect:
            case Put():
                return await self._put(effect, port)
            case Watch():
                return await self._watch(effect, port)
            case Delete():
                return await self._delete(effect, port)
            case LapseCopy():
                await port.report(ExpireCopy(effect.ordinal))
            case EndLife():
                await port.report(ExpireFile())
            case LetGo():
                await port.report(ReleaseContent())
            case _:
                raise TypeError(f"a file has no effect of type {type(effect).__name__}")
        return None

    async def _put(self, effect: Put, port: Port) -> Again | None:
        order, file = effect.order, effect.file
        remote_files = self._providers.get(order.provider)
        if remote_files is None:
            if effect.intended:
                return _PROVIDER_MISSING
            message = f"no file store of {order.provider!r} is known here"
            await port.report(FailCopy(order.ordinal, "unknown_provider", message))
            return None
        filename = planted_name(self._log_id, port.actor, order.ordinal, pure.opened(file.filename))

        streams = AsyncExitStack()

        def open_at(offset: int) -> AsyncIterator[bytes]:
            # Closed below: an upload that breaks off leaves it where it is.
            chunks = self._blobs.chunks(file.blob, offset=offset)
            streams.push_async_callback(chunks.aclose)
            return chunks

        async def keep(session: str) -> None:
            await port.report(KeepSession(order.ordinal, effect.attempt, session))

        upload = Upload(
            filename=filename,
            mime_type=file.mime_type,
            purpose=order.purpose,
            size_bytes=file.size_bytes,
            open=open_at,
            keep=keep,
            session=effect.session,
        )

        async def create(fetch: Fetch) -> RemoteFile:
            return await remote_files.upload(fetch, upload)

        async def find(fetch: Fetch, since: int) -> Sequence[RemoteFile]:
            found = await remote_files.find(fetch, filename=filename, size_bytes=file.size_bytes, since=since)
            # The first one is adopted, the others are deleted there: one that works before one that does not.
            return sorted(found, key=lambda remote: remote.readiness == "failed")

        def bought(remote: RemoteFile, reconciled: bool) -> Command:
            return NoteCopyStored(
                ordinal=order.ordinal,
                attempt=effect.attempt,
                provider=order.provider,
                credential=order.credential,
                remote_id=remote.id,
                reference=remote.reference,
                expires_at=remote.expires_at or 0,
                processing=remote.readiness == "processing",
                reconciled=reconciled,
                failed=_failure(remote),
            )

        try:
            async with streams:
                return await perform_purchase(
                    effect,
                    port,
                    self._network,
                    identity=f"{self._log_id}-{port.actor}-{order.ordinal}",
                    create=create,
                    find=find,
                    bought=bought,
                )
        except BlobLost as lost:
            await port.report(FailCopy(order.ordinal, "blob_lost", str(lost)))
            return None

    async def _watch(self, effect: Watch, port: Port) -> Again | None:
        ordinal = effect.order.ordinal
        remote_files = self._providers.get(effect.order.provider)
        if remote_files is None:
            return _PROVIDER_MISSING
        fetch = self._network.bind(effect.lane, trace=port.trace)
        waited_us = port.now() - effect.since
        retry_after_s = 0.0
        try:
            remote = await remote_files.info(fetch, effect.remote_id)
        except FetchError as error:
            retry_after_s = error.retry_after_s or 0.0
        else:
            if remote is None and waited_us > effect.order.settle_us:
                await port.report(FailCopy(ordinal, "gone", f"{effect.order.provider} has it no more"))
                return None
            if remote is not None and remote.readiness == "ready":
                await port.report(NoteCopyReady(ordinal, remote.reference, remote.expires_at or 0))
                return None
            if remote is not None and remote.readiness == "failed":
                await port.report(FailCopy(ordinal, "processing_failed", _failure(remote)))
                return None
        if waited_us > PROCESSING_PATIENCE_US:
            message = f"{effect.order.provider} has not made it ready within {waited_us // SECOND_US} s"
            await port.report(FailCopy(ordinal, "processing_timeout", message))
            return None
        return _growing(waited_us, retry_after_s, LONGEST_LOOK_S)

    async def _delete(self, effect: Delete, port: Port) -> Again | None:
        deletion = effect.deletion
        provider, credential, remote_id = deletion.provider, deletion.credential, deletion.remote_id
        remote_files = self._providers.get(provider)
        if remote_files is None:
            return _PROVIDER_MISSING
        try:
            await remote_files.delete(self._network.bind(effect.lane, trace=port.trace), remote_id)
        except FetchError as error:
            waited_us = port.now() - deletion.since
            kind = error.kind if isinstance(error, Refused) else "not_sent"
            if kind in (PASSING | BLOCKING) and waited_us <= DELETION_PATIENCE_US:
                return _growing(waited_us, error.retry_after_s or 0.0, LONGEST_DELETION_S)
            await port.report(LeaveCopy(provider, credential, remote_id, error.provider_code or kind, str(error)))
        else:
            await port.report(NoteCopyDeleted(provider, credential, remote_id))
        return None


_PROVIDER_MISSING: Final = Again(BLOCKED_RETRY_US / SECOND_US)
"""The provider's adapter is not here: another process may have it."""


def _growing(waited_us: int, retry_after_s: float, longest_s: float) -> Again:
    """Asks again after a quarter of the time that has passed, one second at least, or when the provider says."""
    return Again(max(retry_after_s, min(longest_s, max(1.0, waited_us / SECOND_US / 4))))


def _failure(remote: RemoteFile) -> str:
    """Why a file cannot be used, "" when it can."""
    return (remote.error or "the provider does not say why") if remote.readiness == "failed" else ""
