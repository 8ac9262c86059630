"""`service.batches`: submitting a job of many requests, once, whatever happens meanwhile.

A job larger than the provider takes in one batch becomes several parts and stays one operation with one result.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress

import trio
from msgspec import Struct, structs

from perdure.actors.batch.collecting import difference
from perdure.actors.batch.intake import Intake, Reread, Run, first_difference
from perdure.actors.batch.opening import (
    LONGEST_NAME,
    Polling,
    check_deadline,
    check_on_uncertain,
    check_polling,
    check_resubmit,
    check_tags,
    deadline_us,
    known_provider,
    open_command,
)
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.batch.showing import Requests, Shown
from perdure.actors.batch.state import CODEC, KIND, BatchState
from perdure.actors.batch.views import BatchHandle, Order
from perdure.actors.budget.watch import BudgetWatch, Spending
from perdure.actors.prompts import Prompts
from perdure.actors.runtime.runtime import Runtime
from perdure.actors.who import Who
from perdure.events.batch import (
    CloseBatch,
    CollectLines,
    DiscardBatch,
    LineNote,
    LinesCollected,
    OpenBatch,
    ResumeBatch,
)
from perdure.events.errors import InvalidRequest, KeyConflict, NotFound, PerdureError, Rejected
from perdure.events.ids import IdSource
from perdure.events.keys import check_key
from perdure.events.purchase import OnUncertain
from perdure.events.requests import Line, Prompt
from perdure.events.texts import check_text
from perdure.store.blobs import BlobStore
from perdure.store.log import LogReader
from perdure.store.records import ActorRow, Holder, KeyTaken

FORGET_S = 1.0
"""How long a cancelled `submit` may take to write down that its batch is given up."""

LINE_COMMAND_BYTES = 64
"""What a collected line counts for in its batch's mailbox: its name and its place."""


class BatchDefaults(Struct, frozen=True, kw_only=True):
    """What a batch is submitted with unless the call says otherwise."""

    polling: Polling = Polling()
    credential: str = "default"


class Batches:
    """Starts batches. Come by it as `service.batches`."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        log: LogReader,
        blobs: BlobStore,
        providers: Mapping[str, BatchProvider],
        ids: IdSource,
        defaults: BatchDefaults,
        who: Who,
        prompts: Prompts,
        handle: Callable[[ActorRow], BatchHandle],
        budgets: BudgetWatch | None = None,
    ) -> None:
        self._budgets = budgets
        self._runtime = runtime
        self._log = log
        self._blobs = blobs
        self._providers = providers
        self._ids = ids
        self._defaults = defaults
        self._who = who
        self._tenant = who.tenant
        self._prompts = prompts
        self._handle = handle

    async def submit(
        self,
        requests: Requests,
        /,
        *,
        provider: str,
        key: str | None = None,
        endpoint: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain = "fail",
        resubmit: int = 0,
        tags: Mapping[str, str] | None = None,
        polling: Polling | None = None,
    ) -> BatchHandle:
        """Makes every request durable, then lets the batch begin. Every line is in the log before any is sent.

        With a `key` that is known and closed, the operation is returned without reading `requests`; one that was cut
        off while it was read is read again and must be the same. `resubmit`: how often the lines are bought again that
        the provider left unfinished, because their batch expired, failed, or was cancelled by the provider.

        Raises `InvalidRequest`, `TooLarge`, `Unsupported`, `UnknownProvider`, `BudgetExceeded` (nothing is left half
        made), `KeyConflict`, `Unavailable`, `Closed`.
        """
        adapter = known_provider(self._providers, provider)
        check_deadline(deadline_s)
        check_on_uncertain(on_uncertain)
        check_resubmit(resubmit)
        credential = credential or self._defaults.credential
        check_text(credential, "credential", longest=LONGEST_NAME)
        tags = {**self._who.tags, **(tags or {})}
        check_tags(tags)
        polling = polling or self._defaults.polling
        check_polling(polling)
        order = _Order(
            adapter=adapter,
            key=None if key is None else check_key(key),
            endpoint=endpoint,
            credential=credential,
            deadline_us=deadline_us(deadline_s),
            on_uncertain=on_uncertain,
            resubmit=resubmit,
            tags=tags,
            polling=polling,
        )
        if order.key is not None:
            known = await self._log.find_key(self._tenant, order.key)
            if known is not None:
                return await self._resume(known, order, requests)
            if isinstance(requests, (Iterator, AsyncIterator)):
                requests = Reread(requests)
        return await self._begin(self._ids("batch"), order, requests)

    def run(
        self,
        requests: Requests,
        /,
        *,
        provider: str,
        key: str | None = None,
        order: Order = "arrival",
        endpoint: str | None = None,
        credential: str | None = None,
        deadline_s: float | None = None,
        on_uncertain: OnUncertain = "fail",
        resubmit: int = 0,
        tags: Mapping[str, str] | None = None,
        polling: Polling | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[Line]]:
        """`submit` and `results` in one: a context manager around the lines."""

        @asynccontextmanager
        async def running() -> AsyncGenerator[AsyncIterator[Line]]:
            handle = await self.submit(
                requests,
                provider=provider,
                key=key,
                endpoint=endpoint,
                credential=credential,
                deadline_s=deadline_s,
                on_uncertain=on_uncertain,
                resubmit=resubmit,
                tags=tags,
                polling=polling,
            )
            async with handle.results(order=order) as lines:
                yield lines

        return running()

    # ------------------------------------------------------------------ inside

    async def _begin(self, actor: str, order: _Order, requests: Requests) -> BatchHandle:
        """Collects `requests` into a new batch, or into one that was cut off while it was collected."""

        async def show(prompt: Prompt) -> Shown:
            return await self._shown(prompt, order)

        intake = Intake(order.adapter, actor, order.endpoint, show)
        opened = closed = False
        try:
            async with aclosing(intake.runs(requests)) as runs:
                async for run in runs:
                    if not opened:
                        await self._open(actor, order, intake)
                        opened = True
                        if isinstance(requests, Reread):
                            requests.forget()
                    await self._collect(actor, run, order)
            if not opened:
                raise InvalidRequest(
                    "the batch has no lines: give it at least one request", field="requests", limit=1, value=0
                )
            await self._tell(actor, CloseBatch())
            closed = True
        except KeyTaken as taken:
            return await self._resume(taken.holder, order, requests)
        except Rejected as rejected:
            if opened:
                await self._tell(actor, DiscardBatch(reason=str(rejected)))
                closed = True
            raise
        finally:
            if opened and not closed and order.key is None:
                await self._forget(actor)
        return await self._handle_of(actor)

    async def _shown(self, prompt: Prompt, order: _Order) -> Shown:
        """A prompt with its files as the provider can be told them now: lines are written as they will be sent."""
        adapter = order.adapter
        endpoint = order.endpoint or adapter.endpoints[0]
        async with self._prompts.take_in(prompt, self._who, provider=adapter.name, endpoint=endpoint) as taken_in:
            resolution = await self._prompts.resolve(
                taken_in.prompt,
                self._who,
                shows=adapter,
                endpoint=endpoint,
                credential=order.credential,
                held=taken_in.held,
                life_s=adapter.window_s,
            )
        shown = structs.replace(prompt, content=resolution.messages)
        return Shown(shown, taken_in.digest, tuple(resolution.warnings))

    async def _forget(self, actor: str) -> None:
        """Gives up a batch that was cut off while it was read and that nobody can name again: it has no key."""
        with trio.move_on_after(FORGET_S, shield=True), suppress(PerdureError):
            await self._tell(actor, DiscardBatch(reason="its requests could not be read to their end"))

    async def _open(self, actor: str, order: _Order, intake: Intake) -> None:
        if self._budgets is not None and await self._log.row(actor) is None:
            spending = Spending(
                provider=order.adapter.name,
                model=intake.model,
                credential=order.credential,
                tenant=self._tenant,
                tags=order.tags,
            )
            refusal = await self._budgets.refusal(spending)
            if refusal is not None:
                raise refusal
        await self._tell(actor, order.command(intake.endpoint, intake.model), key=order.key)

    async def _collect(self, actor: str, run: Run, order: _Order) -> None:
        blob = await self._blobs.put(b"".join(run.lines))
        try:
            command = CollectLines(
                first=run.first,
                blob=blob.digest,
                names=run.names,
                lengths=[len(line) for line in run.lines],
                notes=run.notes,
                warnings=run.warnings,
            )
            await self._tell(actor, command, size=LINE_COMMAND_BYTES * len(run.lines))
        except Rejected:
            if not await self._is_repeat(actor, run, order):
                raise
        finally:
            self._blobs.release(blob.digest)

    async def _is_repeat(self, actor: str, run: Run, order: _Order) -> bool:
        """Whether a run that was refused is one that was collected before: its callers wrote the same, although their
        files may be called something else by now. Raises `KeyConflict` that names the first line that differs."""
        state: BatchState = (await self._runtime.state(KIND, actor, self._tenant)).state
        chunk = next((chunk for chunk in state.chunks if chunk.first == run.first), None)
        if chunk is None or order.key is None:
            return False
        before = (await self._blobs.read(chunk.blob)).splitlines(keepends=True)
        same = {note.number - run.first for note in run.notes if note in await self._notes(actor, run.first)}
        place = first_difference(before, run.lines, same)
        if place is None:
            return True
        line = run.first + place + 1
        raise KeyConflict(
            f"the key {order.key!r} belongs to {actor}, whose line {line} was another: use another key",
            key=order.key,
            existing_id=actor,
            difference=f"line {line}",
        )

    async def _notes(self, actor: str, first: int) -> Sequence[LineNote]:
        """What was noted of the lines of the run that begins with line `first`."""
        after = 0
        while page := await self._log.stream(actor, after=after):
            for record in page:
                event = CODEC.decode(record.payload) if record.type == LinesCollected.__name__ else None
                if isinstance(event, LinesCollected) and event.first == first:
                    return event.notes
                after = record.version
        return ()

    async def _resume(self, holder: Holder, order: _Order, requests: Requests) -> BatchHandle:
        assert order.key is not None
        actor = holder.actor
        row = await self._log.row(actor)
        if row is None or row.kind != KIND or holder.number is not None:
            raise KeyConflict(
                f"the key {order.key!r} belongs to {actor}, which is no batch: use another key",
                key=order.key,
                existing_id=actor,
                difference="kind",
            )
        state: BatchState = (await self._runtime.state(KIND, actor, self._tenant)).state
        differs = difference(state, order.command(order.endpoint or "", ""))
        if differs is not None:
            raise KeyConflict(
                f"the key {order.key!r} belongs to {actor}, a request that differs: its {differs}; use another key",
                key=order.key,
                existing_id=actor,
                difference=differs,
            )
        if state.phase == "collecting":
            return await self._begin(actor, order, requests)
        if row.standing.status == "blocked":
            await self._tell(actor, ResumeBatch())
        return self._handle(row)

    async def _tell(
        self,
        actor: str,
        command: OpenBatch | CollectLines | CloseBatch | DiscardBatch | ResumeBatch,
        *,
        key: str | None = None,
        size: int = 256,
    ) -> None:
        await self._runtime.tell(
            KIND, actor, command, tenant=self._tenant, key=key, size=size, principal=self._who.principal
        )

    async def _handle_of(self, actor: str) -> BatchHandle:
        row = await self._log.row(actor)
        if row is None:
            raise NotFound(f"{actor} is not in the log", id=actor)
        return self._handle(row)


class _Order(Struct, frozen=True, kw_only=True):
    """What one call of `submit` asks for."""

    adapter: BatchProvider
    key: str | None
    endpoint: str | None
    credential: str
    deadline_us: int
    on_uncertain: OnUncertain
    resubmit: int
    tags: Mapping[str, str]
    polling: Polling

    def command(self, endpoint: str, model: str) -> OpenBatch:
        """The command that opens the batch."""
        return open_command(
            self.adapter,
            endpoint=endpoint,
            model=model,
            credential=self.credential,
            on_uncertain=self.on_uncertain,
            resubmit=self.resubmit,
            deadline_us=self.deadline_us,
            tags=self.tags,
            polling=self.polling,
        )
