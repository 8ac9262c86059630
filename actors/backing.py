"""What views and handles read from and act through: the log, the blobs, the providers whose answers they understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from perdure.actors.batch.ports import BatchProvider
from perdure.actors.fetch import Network
from perdure.actors.live import LiveProvider
from perdure.actors.looking import Looking
from perdure.actors.media.ports import MediaProvider
from perdure.actors.nowhere import Nowhere
from perdure.actors.remote_files import RemoteFiles
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.actors.runtime.slot import Told
from perdure.events.command import Command
from perdure.events.errors import Closed
from perdure.store.blobs import BlobReader, BlobStore
from perdure.store.records import ActorRow
from perdure.store.sqlite.log import SqliteLog
from perdure.store.sqlite.reader import SqliteReader


class Watching:
    """What the views of a reader read from: see `perdure.actors.views.Backing`. Its `looking` must be run."""

    def __init__(
        self,
        log: SqliteReader,
        blobs: BlobReader,
        folds: Sequence[KindFold],
        providers: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
    ) -> None:
        self.log = log
        self.blobs = blobs
        self.folds = folds
        self.providers = providers
        self.live = live
        self.looking = Looking(log, blobs)

    def signal(self, actor: str, item: int | None = None) -> trio.Event:
        """See `Backing.signal`: commits of another process are seen by polling, whichever item they touch."""
        return self.log.changes.signal(actor)

    def check_open(self) -> None:
        """A reader can always go on waiting: another process may take up the log."""


class Acting:
    """What the handles of a service read from and act through: see `perdure.actors.views.Teller`."""

    def __init__(
        self,
        log: SqliteLog,
        blobs: BlobStore,
        folds: Sequence[KindFold],
        providers: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
        runtime: Runtime,
        remote_files: Mapping[str, RemoteFiles] | None = None,
        network: Network | None = None,
        media: Mapping[str, MediaProvider] | None = None,
    ) -> None:
        self.log = log
        self.blobs = blobs
        self.folds = folds
        self.providers = providers
        self.live = live
        self.runtime = runtime
        self.remote_files: Mapping[str, RemoteFiles] = remote_files or {}
        self.network: Network = network or Nowhere()
        self.media: Mapping[str, MediaProvider] = media or {}
        self.looking = Looking(log, blobs)

    def signal(self, actor: str, item: int | None = None) -> trio.Event:
        """See `Backing.signal`."""
        return self.runtime.hints.subscribe(actor, item)

    def check_open(self) -> None:
        """See `Backing.check_open`."""
        if self.runtime.failure is not None:
            raise self.runtime.failure
        if self.runtime.closing:
            raise Closed("the service is closing and the operation goes on: ask again by id or key after the restart")

    async def tell(self, row: ActorRow, command: Command) -> Told:
        """See `Teller.tell`."""
        return await self.runtime.tell(row.kind, row.actor, command, tenant=row.tenant)
