"""The service and the reader: what `perdure.open` and `perdure.read` give out.

A `Reader` looks; a `Service` also acts. Both read the same log in the same way, so a result is the same in every
process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, TypeAlias

import trio
from msgspec import Struct

from perdure.actors.audit import Audit
from perdure.actors.backing import Acting, Watching
from perdure.actors.batch.announcements import poll_now
from perdure.actors.batch.batches import BatchDefaults, Batches
from perdure.actors.batch.lines import LineHandle, LineView, split_line_id
from perdure.actors.batch.opening import LONGEST_NAME, check_tags
from perdure.actors.batch.state import KIND as BATCH
from perdure.actors.batch.strategy import BatchStrategy, Requestors
from perdure.actors.batch.views import BatchHandle, BatchView
from perdure.actors.batch.windows import Windows
from perdure.actors.budget.effects import BudgetHandle, BudgetView
from perdure.actors.budget.state import KIND as BUDGET
from perdure.actors.budget.watch import BudgetWatch
from perdure.actors.event_log import EventLog
from perdure.actors.file.files import Files, Sources
from perdure.actors.file.state import KIND as FILE
from perdure.actors.file.state import Copy
from perdure.actors.file.views import CopyHandle, CopyView, FileHandle, FileView, look_at_copy
from perdure.actors.looking import Origin
from perdure.actors.media.audio import Audio
from perdure.actors.media.images import Images
from perdure.actors.media.ordering import Ordering
from perdure.actors.media.state import AUDIO, IMAGE
from perdure.actors.media.views import AudioHandle, AudioView, ImageHandle, ImageView
from perdure.actors.orphan.state import KIND as ORPHAN
from perdure.actors.orphan.views import OrphanHandle, OrphanView
from perdure.actors.prompts import Prompts
from perdure.actors.provider_file.state import KIND as PROVIDER_FILE
from perdure.actors.provider_file.views import ProviderFileHandle, ProviderFileView
from perdure.actors.request.state import KIND as REQUEST
from perdure.actors.request.views import RequestHandle, RequestView
from perdure.actors.submitting import Submitting, Via
from perdure.actors.views import Backing, Handle, Summary, View, summary_of
from perdure.actors.who import Who
from perdure.events.errors import NotFound
from perdure.events.ids import IdSource
from perdure.events.purchase import OnUncertain
from perdure.events.requests import Answer, Prompt, RawRequest
from perdure.events.texts import check_text
from perdure.store.disk import ThreadDisk
from perdure.store.records import ActorRow
from perdure.store.sqlite.reader import SqliteReader

VIEWS: Mapping[str, type[View[Any]]] = {
    AUDIO: AudioView,
    BATCH: BatchView,
    BUDGET: BudgetView,
    FILE: FileView,
    IMAGE: ImageView,
    ORPHAN: OrphanView,
    PROVIDER_FILE: ProviderFileView,
    REQUEST: RequestView,
}
HANDLES: Mapping[str, type[Handle[Any]]] = {
    AUDIO: AudioHandle,
    BATCH: BatchHandle,
    BUDGET: BudgetHandle,
    FILE: FileHandle,
    IMAGE: ImageHandle,
    ORPHAN: OrphanHandle,
    PROVIDER_FILE: ProviderFileHandle,
    REQUEST: RequestHandle,
}


class Reader:
    """Looks at a log, without its lock, beside the process that writes it or after it died. Starts nothing."""

    def __init__(self, backing: Watching) -> None:
        self.log = EventLog(backing.log, backing.folds)
        self.audit = Audit(backing.log)
        self._backing = backing

    async def get(self, id: str) -> View[Any]:
        """The operation with this id. Raises `NotFound`."""
        return _view(self._backing, *await _by_id(self._backing, id))

    async def find(self, key: str, *, kind: str | None = None, tenant: str | None = None) -> View[Any] | None:
        """The operation that was given `key`, or None."""
        found = await _by_key(self._backing, key, kind, tenant or "")
        return None if found is None else _view(self._backing, *found)

    def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> AsyncGenerator[Summary]:
        """The operations that fit, newest first. Requests that share a batch are listed as that batch."""
        return _listed(self._backing.log, kind=kind, status=status, provider=provider, tenant=tenant, tag=tag)


SOURCE_THREADS: Final = 8
"""How many sources are read from disk at a time: they may be slow, and have nothing to do with the log's disk."""


class ServiceDefaults(Struct, frozen=True, kw_only=True):
    """What operations are submitted with unless the call says otherwise."""

    batches: BatchDefaults = BatchDefaults()
    strategy: BatchStrategy = BatchStrategy()


class Common:
    """What all services over one log share, however many act as somebody else. `run` is its task."""

    def __init__(
        self,
        acting: Acting,
        *,
        ids: IdSource,
        defaults: ServiceDefaults,
        sources: Sources | None = None,
        prompts: Prompts | None = None,
        budgets: BudgetWatch | None = None,
    ) -> None:
        self.acting = acting
        self.budgets = budgets
        self.sources = sources or Sources(ThreadDisk(SOURCE_THREADS))
        self.prompts = prompts or Prompts()
        self.prompts.attach(acting, ids=ids, sources=self.sources)
        self.ids = ids
        self.defaults = defaults
        self.requestors = Requestors()
        self.windows = Windows(
            runtime=acting.runtime,
            log=acting.log,
            blobs=acting.blobs,
            providers=acting.providers,
            ids=ids,
            polling=defaults.batches.polling,
        )
        self.submitting = Submitting(
            acting,
            ids=ids,
            windows=self.windows,
            prompts=self.prompts,
            strategy=defaults.strategy,
            requestors=self.requestors,
            budgets=budgets,
        )

        self.ordering = Ordering(
            acting,
            ids=ids,
            prompts=self.prompts,
            credential=defaults.batches.credential,
            budgets=budgets,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.acting.looking.run)
            await nursery.start(self.windows.run)
            if self.budgets is not None:
                await nursery.start(self.budgets.run)
            task_status.started()


class Service:
    """A running log: operations are started here and go on here until the service ends."""

    def __init__(self, common: Common, who: Who | None = None) -> None:
        acting = common.acting
        self.log = EventLog(acting.log, acting.folds)
        self.audit = Audit(acting.log)
        self.runtime = acting.runtime
        self._common = common
        self._acting = acting
        self._who = who or Who()
        self.batches = Batches(
            runtime=acting.runtime,
            log=acting.log,
            blobs=acting.blobs,
            providers=acting.providers,
            ids=common.ids,
            defaults=common.defaults.batches,
            who=self._who,
            prompts=common.prompts,
            budgets=common.budgets,
            handle=lambda row: BatchHandle(acting, row),
        )
        self.files = Files(acting, ids=common.ids, sources=common.sources, who=self._who)
        self.images = Images(acting, common.ordering, self._who)
        self.audio = Audio(acting, common.ordering, self._who)

    async def poll_now(self, provider: str, provider_batch: str) -> str | None:
        """Has a provider's batch looked at now instead of when it is due: its provider says that there is news.

        Gives the id of the operation that it belongs to, of whichever tenant; None when none here waits for it. Nothing
        is recorded, and the hint may be lost: the batch is polled all the same. Raises `Closed`, `Unavailable`.
        """
        return await poll_now(self.runtime, self._acting.log, provider, provider_batch)

    async def submit(
        self,
        request: Prompt | RawRequest,
        /,
        *,
        provider: str,
        via: Via = "live",
        key: str | None = None,
        endpoint: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Handle[Answer]:
        """Sends one request, once; durable when it returns.

        `via`: `"live"` sends it now. `"batch"` lets it wait for others of its provider, endpoint, model and credential
        and sends all of them as one batch. `"auto"` leaves it to the strategy: batched if enough wait when their window
        closes, else each goes live. `endpoint` is where a `Prompt` goes, by default the provider's first.

        With a `key` that is known, the same request gives the handle of the operation that has it, whichever way it
        went. `deadline_s` seconds from now it has expired. `on_uncertain` says what happens when it cannot be told
        whether the provider took it: `"resubmit"` (the default of single requests: it may be paid twice) or `"fail"`
        (the default of `via="batch"`).

        Raises `InvalidRequest`, `Unsupported`, `TooLarge`, `UnknownProvider`, `KeyConflict`, `BudgetExceeded`,
        `Unavailable`, `Closed`.
        """
        return await self._common.submitting.submit(
            request,
            self._who,
            provider=provider,
            via=via,
            key=key,
            endpoint=endpoint,
            credential=credential or self._common.defaults.batches.credential,
            deadline_s=deadline_s,
            on_uncertain=on_uncertain,
            tags={**self._who.tags, **(tags or {})},
        )

    @property
    def requestors(self) -> Requestors:
        """Who will send requests that may be batched: for strategies that count them."""
        return self._common.requestors

    async def get(self, id: str) -> Handle[Any]:
        """The operation with this id. Raises `NotFound`."""
        return _handle(self._acting, *await _by_id(self._acting, id))

    async def find(self, key: str, *, kind: str | None = None, tenant: str | None = None) -> Handle[Any] | None:
        """The operation that was given `key`, or None."""
        found = await _by_key(self._acting, key, kind, self._who.tenant if tenant is None else tenant)
        return None if found is None else _handle(self._acting, *found)

    def list(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> AsyncGenerator[Summary]:
        """The operations that fit, newest first. Requests that share a batch are listed as that batch."""
        return _listed(self._acting.log, kind=kind, status=status, provider=provider, tenant=tenant, tag=tag)

    def acting_as(
        self,
        *,
        tenant: str | None = None,
        principal: str | None = None,
        subject: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Service:
        """The same service, with these stamped on every command that is given through what it returns.

        `subject` is the person whom files are about. Raises `InvalidRequest` for what is no text.
        """
        for field, text in (("tenant", tenant), ("principal", principal), ("subject", subject)):
            if text is not None:
                check_text(text, field, longest=LONGEST_NAME, shortest=0)
        check_tags(tags or {})
        who = Who(
            tenant=self._who.tenant if tenant is None else tenant,
            principal=self._who.principal if principal is None else principal,
            subject=self._who.subject if subject is None else subject,
            tags={**self._who.tags, **(tags or {})},
        )
        return Service(self._common, who)

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


Part: TypeAlias = tuple[int, Origin] | Copy
"""What is no actor and has a handle of its own: a line of a batch, a copy of a file."""


def _view(backing: Watching, row: ActorRow, part: Part | None) -> View[Any]:
    if part is None:
        return VIEWS[row.kind](backing, row)
    return CopyView(backing, row, part) if isinstance(part, Copy) else LineView(backing, row, *part)


def _handle(acting: Acting, row: ActorRow, part: Part | None) -> Handle[Any]:
    if part is None:
        return HANDLES[row.kind](acting, row)
    return CopyHandle(acting, row, part) if isinstance(part, Copy) else LineHandle(acting, row, *part)


async def _by_id(backing: Backing, id: str) -> tuple[ActorRow, Part | None]:
    """The row of an operation, or of the actor that it is a part of, and then which part. Raises `NotFound`."""
    row = await backing.log.row(id)
    if row is not None:
        return row, None
    part = split_line_id(id)
    row = None if part is None else await backing.log.row(part[0])
    if row is not None and part is not None and row.kind == BATCH:
        return row, (part[1], await backing.looking.origin(*part))
    if row is not None and part is not None and row.kind == FILE:
        return await look_at_copy(backing, *part)
    raise NotFound(f"there is no operation {id[:80]!r}: `list` shows what there is", id=id)


async def _by_key(backing: Backing, key: str, kind: str | None, tenant: str) -> tuple[ActorRow, Part | None] | None:
    """As `_by_id`, for the operation that was given `key`; None when there is none of this kind."""
    holder = await backing.log.find_key(tenant, key)
    row = None if holder is None else await backing.log.row(holder.actor)
    if holder is None or row is None:
        return None
    if holder.number is None:
        return (row, None) if kind in (None, row.kind) else None
    if kind not in (None, REQUEST):
        return None
    return row, (holder.number, await backing.looking.origin(row.actor, holder.number))


async def _listed(
    log: SqliteReader,
    *,
    kind: str | None,
    status: str | None,
    provider: str | None,
    tenant: str | None,
    tag: tuple[str, str] | None,
) -> AsyncGenerator[Summary]:
    after: str | None = None
    while page := await log.rows(kind=kind, status=status, provider=provider, tenant=tenant, tag=tag, after=after):
        for row in page:
            yield summary_of(row)
        after = page[-1].actor
