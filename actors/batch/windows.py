"""Windows: many callers' requests become lines of one batch, which collects until its window closes.

The window *is* the batch: its lines are in the log before any caller gets a handle, and the batch closes itself by its
own timer, so a crash loses nothing and needs nothing from here. What is here is only the way into it: requests that
arrive while the last run of lines is written make up the next run, as appends do in a group commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import outcome
import trio
from msgspec import Struct, structs

from perdure.actors.batch.intake import RUN_BYTES, RUN_LINES
from perdure.actors.batch.opening import Gathering, Polling, open_command
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.batch.state import KIND
from perdure.actors.batch.strategy import Window
from perdure.actors.encoding import Encoded
from perdure.actors.purchase import SECOND_US
from perdure.actors.runtime.runtime import Runtime
from perdure.events.batch import CloseBatch, CollectLines, LineNote, WindowClosed
from perdure.events.errors import Closed, TooLarge
from perdure.events.file_warnings import FileWarning
from perdure.events.ids import IdSource
from perdure.events.purchase import OnUncertain
from perdure.store.blobs import BlobStore
from perdure.store.log import LogReader
from perdure.store.records import Holder, KeyTaken

LINE_COMMAND_BYTES: Final = 128
"""What a line counts for in its batch's mailbox: its note and its place."""

GROUPS_KEPT: Final = 1_000
"""Groups that are remembered before those are forgotten whose window is over."""


class Group(Struct, frozen=True):
    """What the requests of one window share. `via`: those that want a batch in any case wait for themselves."""

    tenant: str
    provider: str
    endpoint: str
    model: str
    credential: str
    on_uncertain: OnUncertain
    via: Literal["batch", "auto"]


class Place(Struct, frozen=True):
    """Where a request came to lie: a line of a batch."""

    actor: str
    number: int


class Request(Struct, frozen=True, kw_only=True):
    """A request that looks for a window. `deadline_at` is µs since 1970 UTC, 0 for none; `warnings` are of files
    that were left out of it.
    """

    encoded: Encoded
    key: str | None
    digest: str
    deadline_at: int
    principal: str
    tags: Mapping[str, str]
    warnings: Sequence[FileWarning] = ()


class _Waiting:
    """A request, the window that it would open, and the task that waits for its place."""

    __slots__ = ("request", "task", "window")

    def __init__(self, request: Request, window: Window) -> None:
        self.request = request
        self.window = window
        self.task = trio.lowlevel.current_task()

    def settle(self, answer: outcome.Outcome[Place]) -> None:
        trio.lowlevel.reschedule(self.task, answer)


class _Open:
    """The way into a group's window: what waits for it, and the batch that collects now, if there is one."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.waiting: deque[_Waiting] = deque()
        self.writing = False
        self.actor = ""
        self.max_lines = 0
        self.closes_at = 0.0
        """When the batch closes by itself, on trio's clock."""
        self.lines = 0
        self.size_bytes = 0

    @property
    def idle(self) -> bool:
        """Nothing waits, and the window's time is over."""
        return not self.writing and (not self.actor or trio.current_time() > self.closes_at)

    def forget(self) -> None:
        """The batch collects no more; the next request opens another window."""
        self.actor, self.lines, self.size_bytes = "", 0, 0


class Windows:
    """Puts requests into windows. `run` is its task; each group's lines are written by one task of it at a time."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        log: LogReader,
        blobs: BlobStore,
        providers: Mapping[str, BatchProvider],
        ids: IdSource,
        polling: Polling,
    ) -> None:
        self._runtime = runtime
        self._log = log
        self._blobs = blobs
        self._providers = providers
        self._ids = ids
        self._polling = polling
        self._groups: dict[Group, _Open] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled; whoever waits for a place then is told that the service closes."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    self._nursery = None
        finally:
            for opened in self._groups.values():
                _settle(opened.waiting, _closing())
                opened.waiting.clear()

    def waiting(self, group: Group) -> int:
        """How many requests the group's open window holds or is about to hold."""
        opened = self._groups.get(group)
        return 0 if opened is None or opened.idle else opened.lines + len(opened.waiting)

    async def add(self, group: Group, window: Window, request: Request) -> Place:
        """Makes a request a line of its group's window, or of a new one like `window`. Durable on return.

        Not cancelled once it is asked for: the line may be in the log. Raises `KeyTaken`, `TooLarge`, `Unavailable`,
        `OutcomeUnknown`; `Closed` at the service's end, and then the line may be in the log too.
        """
        if self._nursery is None:
            raise _closing()
        await trio.lowlevel.checkpoint_if_cancelled()
        opened = self._groups.get(group)
        if opened is None:
            opened = self._groups[group] = _Open(group)
        opened.waiting.append(_Waiting(request, window))
        if not opened.writing:
            opened.writing = True
            self._nursery.start_soon(self._write, opened)
        place: Place = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return place

    # ------------------------------------------------------------------ writing

    async def _write(self, opened: _Open) -> None:
        """Writes run after run while requests wait."""
        try:
            while opened.waiting:
                run = dict.fromkeys(opened.waiting.popleft() for _ in range(min(RUN_LINES, len(opened.waiting))))
                try:
                    await self._place(opened, run)
                except Exception as error:
                    opened.forget()  # what the window holds now cannot be told; it closes by itself
                    _settle(run, error)
                    run.clear()
                finally:
                    _settle(run, _closing())  # whoever is left was cut off: nobody else would ever wake them
        finally:
            opened.writing = False
            if len(self._groups) > GROUPS_KEPT:
                self._groups = {group: other for group, other in self._groups.items() if not other.idle}

    async def _place(self, opened: _Open, run: dict[_Waiting, None]) -> None:
        """Finds a line for each request of `run`, or says why it has none, and takes out of `run` what is settled."""
        while run:
            held = await self._held(opened.group.tenant, run)
            for waiting in tuple(run):
                key = waiting.request.key
                if key is not None and key in held:
                    self._refuse(run, waiting, KeyTaken(key, held[key]))
            if run and not opened.actor:
                await self._open(opened, next(iter(run)).window)
            if run:
                await self._collect(opened, run)

    async def _held(self, tenant: str, run: Iterable[_Waiting]) -> Mapping[str, Holder]:
        keys = [waiting.request.key for waiting in run if waiting.request.key is not None]
        return await self._log.find_keys(tenant, keys) if keys else {}

    async def _open(self, opened: _Open, window: Window) -> None:
        group = opened.group
        adapter = self._providers[group.provider]
        limits = adapter.limits(group.endpoint)
        actor, max_lines = self._ids("batch"), min(window.max_lines, limits.max_lines)
        command = open_command(
            adapter,
            endpoint=group.endpoint,
            model=group.model,
            credential=group.credential,
            on_uncertain=group.on_uncertain,
            polling=self._polling,
            window=Gathering(
                close_after_us=int(window.open_s * SECOND_US),
                max_lines=max_lines,
                max_bytes=limits.max_bytes,
                minimum=window.minimum,
            ),
        )
        await self._runtime.tell(KIND, actor, command, tenant=group.tenant)
        opened.actor, opened.max_lines, opened.closes_at = actor, max_lines, trio.current_time() + window.open_s

    async def _collect(self, opened: _Open, run: dict[_Waiting, None]) -> None:
        """Writes as many requests of `run` as fit into the window in one command, each key once."""
        adapter = self._providers[opened.group.provider]
        limits = adapter.limits(opened.group.endpoint)
        room = opened.max_lines - opened.lines
        if room <= 0:
            opened.forget()  # its last line closed it
            return
        taken: list[_Waiting] = []
        lines: list[bytes] = []
        keys: set[str] = set()
        size_bytes = 0
        for waiting in tuple(run):
            if len(taken) == room or size_bytes >= RUN_BYTES:
                break
            request = waiting.request
            if request.key in keys:
                continue  # it finds the key taken in the next round
            line_id = f"{opened.actor}-{opened.lines + len(taken)}"
            line = adapter.encode_line(line_id, request.encoded.endpoint, request.encoded.body)
            if len(line) > limits.max_bytes:
                self._refuse(run, waiting, _too_large(len(line), limits.max_bytes))
                continue
            if opened.size_bytes + size_bytes + len(line) > limits.max_bytes:
                if not taken:
                    await self._runtime.tell(KIND, opened.actor, CloseBatch(), tenant=opened.group.tenant)
                    opened.forget()
                    return
                break
            if request.key is not None:
                keys.add(request.key)
            size_bytes += len(line)
            taken.append(waiting)
            lines.append(line)
        if taken:
            await self._commit(opened, run, taken, lines)

    async def _commit(
        self,
        opened: _Open,
        run: dict[_Waiting, None],
        taken: Sequence[_Waiting],
        lines: Sequence[bytes],
    ) -> None:
        """Makes lines durable and answers their callers. A window that has closed meanwhile is forgotten."""
        first = opened.lines
        blob = await self._blobs.put(b"".join(lines))
        command = CollectLines(
            first=first,
            blob=blob.digest,
            names=[""] * len(lines),
            lengths=[len(line) for line in lines],
            notes=[_note(number, waiting.request) for number, waiting in enumerate(taken, first)],
            warnings=[
                structs.replace(warning, line=number)
                for number, waiting in enumerate(taken, first)
                for warning in waiting.request.warnings
            ],
        )
        size = LINE_COMMAND_BYTES * len(lines)
        try:
            await self._runtime.tell(KIND, opened.actor, command, tenant=opened.group.tenant, size=size)
        except WindowClosed:
            opened.forget()
            return
        except KeyTaken as lost:
            for waiting in taken:
                if waiting.request.key == lost.key:
                    self._refuse(run, waiting, lost)
            return
        finally:
            self._blobs.release(blob.digest)
        for number, waiting in enumerate(taken, first):
            del run[waiting]
            waiting.settle(outcome.Value(Place(opened.actor, number)))
        opened.lines += len(lines)
        opened.size_bytes += sum(map(len, lines))

    def _refuse(self, run: dict[_Waiting, None], waiting: _Waiting, error: Exception) -> None:
        del run[waiting]
        waiting.settle(outcome.Error(error))


def _settle(waiting: Iterable[_Waiting], error: Exception) -> None:
    for each in waiting:
        each.settle(outcome.Error(error))


def _note(number: int, request: Request) -> LineNote:
    return LineNote(
        number=number,
        key=request.key or "",
        digest=request.digest if request.key is not None else "",
        custom_id=request.encoded.custom_id or "",
        deadline_at=request.deadline_at,
        principal=request.principal,
        tags=request.tags,
    )


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        f"the request has {size} bytes, more than a whole batch may have ({limit})",
        limit=limit,
        size=size,
        field="body",
    )


def _closing() -> Closed:
    return Closed("the service is closing: ask again by key after the restart")
