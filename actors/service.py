"""The service and the reader: what `perdure.open` and `perdure.read` give out.

A `Reader` looks; a `Service` also acts. Both read the same log in the same way, so a result is the same in every
process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import trio
from msgspec import Struct

from perdure.actors.batch.batches import BatchDefaults, Batches
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.batch.state import KIND as BATCH
from perdure.actors.batch.views import BatchHandle, BatchView
from perdure.actors.event_log import EventLog
from perdure.actors.live import LiveProvider
from perdure.actors.provider_file.state import KIND as PROVIDER_FILE
from perdure.actors.provider_file.views import ProviderFileHandle, ProviderFileView
from perdure.actors.request.state import KIND as REQUEST
from perdure.actors.request.views import RequestHandle, RequestView
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.actors.runtime.slot import Told
from perdure.actors.views import Handle, Summary, View, summary_of
from perdure.events.command import Command
from perdure.events.errors import Closed, NotFound
from perdure.events.ids import IdSource
from perdure.store.blobs import BlobReader, BlobStore
from perdure.store.records import ActorRow
from perdure.store.sqlite.log import SqliteLog
from perdure.store.sqlite.reader import SqliteReader

VIEWS: Mapping[str, type[View[Any]]] = {BATCH: BatchView, PROVIDER_FILE: ProviderFileView, REQUEST: RequestView}
HANDLES: Mapping[str, type[Handle[Any]]] = {
    BATCH: BatchHandle,
    PROVIDER_FILE: ProviderFileHandle,
    REQUEST: RequestHandle,
}


class Reader:
    """Looks at a log, without its lock, beside the process that writes it or after it died. Starts nothing."""

    def __init__(
        self,
        log: SqliteReader,
        blobs: BlobReader,
        folds: Sequence[KindFold],
        providers: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
    ) -> None:
        self.log = EventLog(log, folds)
        self._backing = _Looking(log, blobs, folds, providers, live)

    async def get(self, id: str) -> View[Any]:
        """The operation with this id. Raises `NotFound`."""
        return VIEWS[(row := await _row(self._backing.log, id)).kind](self._backing, row)

    async def find(self, key: str, *, kind: str | None = None, tenant: str | None = None) -> View[Any] | None:
        """The operation that was given `key`, or None."""
        row = await _keyed(self._backing.log, key, kind, tenant or "")
        return None if row is None else VIEWS[row.kind](self._backing, row)

    def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> AsyncIterator[Summary]:
        """The operations that fit, newest first."""
        return _listed(self._backing.log, kind=kind, status=status, provider=provider, tenant=tenant, tag=tag)


class Who(Struct, frozen=True):
    """On whose behalf commands are given."""

    tenant: str = ""
    principal: str = ""
    tags: Mapping[str, str] = {}


class Service:
    """A running log: operations are started here and go on here until the service ends."""

    def __init__(
        self,
        runtime: Runtime,
        log: SqliteLog,
        blobs: BlobStore,
        folds: Sequence[KindFold],
        providers: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
        *,
        ids: IdSource,
        defaults: BatchDefaults,
        who: Who | None = None,
    ) -> None:
        self.log = EventLog(log, folds)
        self.runtime = runtime
        self._log = log
        self._blobs = blobs
        self._folds = folds
        self._providers = providers
        self._live = live
        self._ids = ids
        self._defaults = defaults
        self._who = who or Who()
        self._acting = _Acting(log, blobs, folds, providers, live, runtime)
        self.batches = Batches(
            runtime=runtime,
            log=log,
            blobs=blobs,
            providers=providers,
            ids=ids,
            defaults=defaults,
            tenant=self._who.tenant,
            principal=self._who.principal,
            tags=self._who.tags,
            handle=lambda row: BatchHandle(self._acting, row),
        )

    async def get(self, id: str) -> Handle[Any]:
        """The operation with this id. Raises `NotFound`."""
        return HANDLES[(row := await _row(self._log, id)).kind](self._acting, row)

    async def find(self, key: str, *, kind: str | None = None, tenant: str | None = None) -> Handle[Any] | None:
        """The operation that was given `key`, or None."""
        row = await _keyed(self._log, key, kind, self._who.tenant if tenant is None else tenant)
        return None if row is None else HANDLES[row.kind](self._acting, row)

    def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> AsyncIterator[Summary]:
        """The operations that fit, newest first."""
        return _listed(self._log, kind=kind, status=status, provider=provider, tenant=tenant, tag=tag)

    def acting_as(
        self, *, tenant: str | None = None, principal: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Service:
        """The same service, with these stamped on every command that is given through what it returns."""
        who = Who(
            tenant=self._who.tenant if tenant is None else tenant,
            principal=self._who.principal if principal is None else principal,
            tags={**self._who.tags, **(tags or {})},
        )
        return Service(
            self.runtime,
            self._log,
            self._blobs,
            self._folds,
            self._providers,
            self._live,
            ids=self._ids,
            defaults=self._defaults,
            who=who,
        )

    @property
    def healthy(self) -> bool:
        """False while something cannot be made durable; nothing is bought meanwhile."""
        return self.runtime.healthy

    async def drain(self, *, grace_s: float = 10.0, purchase_grace_s: float = 60.0) -> None:
        """Takes no new work, starts nothing, and lets what is in flight end within `grace_s` seconds.

        Purchases that could not be found again at the provider get `purchase_grace_s`. The rest is cut off; the next
        start goes on where it was.
        """
        await self.runtime.drain(grace_s=grace_s, purchase_grace_s=purchase_grace_s)


class _Looking:
    """What the views of a reader read from."""

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

    def signal(self, actor: str, item: int | None = None) -> trio.Event:
        """See `Backing.signal`: commits of another process are seen by polling, whichever item they touch."""
        return self.log.changes.signal(actor)

    def check_open(self) -> None:
        """A reader can always go on waiting: another process may take up the log."""


class _Acting:
    """What the handles of a service read from and act through."""

    def __init__(
        self,
        log: SqliteLog,
        blobs: BlobStore,
        folds: Sequence[KindFold],
        providers: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
        runtime: Runtime,
    ) -> None:
        self.log = log
        self.blobs = blobs
        self.folds = folds
        self.providers = providers
        self.live = live
        self._runtime = runtime

    def signal(self, actor: str, item: int | None = None) -> trio.Event:
        """See `Backing.signal`."""
        return self._runtime.hints.subscribe(actor, item)

    def check_open(self) -> None:
        """See `Backing.check_open`."""
        if self._runtime.failure is not None:
            raise self._runtime.failure
        if self._runtime.closing:
            raise Closed("the service is closing and the operation goes on: ask again by id or key after the restart")

    async def tell(self, row: ActorRow, command: Command) -> Told:
        """See `Teller.tell`."""
        return await self._runtime.tell(row.kind, row.actor, command, tenant=row.tenant)


async def _row(log: SqliteReader, id: str) -> ActorRow:
    row = await log.row(id)
    if row is None:
        raise NotFound(f"there is no operation {id[:80]!r}: `list` shows what there is", id=id)
    return row


async def _keyed(log: SqliteReader, key: str, kind: str | None, tenant: str) -> ActorRow | None:
    holder = await log.find_key(tenant, key)
    row = None if holder is None else await log.row(holder.actor)
    return row if row is not None and kind in (None, row.kind) else None


async def _listed(
    log: SqliteReader,
    *,
    kind: str | None,
    status: str | None,
    provider: str | None,
    tenant: str | None,
    tag: tuple[str, str] | None,
) -> AsyncIterator[Summary]:
    after: str | None = None
    while page := await log.rows(kind=kind, status=status, provider=provider, tenant=tenant, tag=tag, after=after):
        for row in page:
            yield summary_of(row)
        after = page[-1].actor
