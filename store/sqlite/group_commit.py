"""Group commit: everything that queued while the last commit ran is the next one.

No timer fills the groups: the commit itself is the delay. An actor that is alone gets a commit for each append, and 256
actors get 256 appends into one. An append is handed over once it is in the queue; from then on its caller cannot be
cancelled out of it, for it would not know whether it happened. The queue is bounded in bytes; what does not fit waits
outside, in order, and can be cancelled there.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import outcome
import trio

from perdure.events.errors import Closed, OutcomeUnknown, Unavailable
from perdure.store.disk import Disk
from perdure.store.log import CommitListener
from perdure.store.records import Append, Appended
from perdure.store.sqlite.ledger import Ledger
from perdure.store.sqlite.writer import Writer

T = TypeVar("T")

GROUP_EVENTS: Final = 1_000
GROUP_BYTES: Final = 1 << 20
"""A group ends at the first of these bounds, which keeps one commit to some milliseconds; an append that is larger than
either goes alone."""

QUEUE_BYTES: Final = 16 << 20
"""What may wait for the writer before callers are held up: some seconds' worth at a slow disk."""

HINT_DELAY_S: Final = 1.0
"""How long a moved due time waits for a commit to ride with before it gets one of its own."""

IDLE_S: Final = 2.0
"""After this long without a commit the WAL is moved into the database file and emptied."""

_EVENT_BYTES: Final = 200
_ITEM_BYTES: Final = 150
"""What the envelope of an event and an item row take, roughly; for the bounds above only."""

_Work: TypeAlias = Callable[[sqlite3.Connection, Ledger], Any]


class _Entry:
    """An append, or other work in the writer, and the task that waits for it."""

    __slots__ = ("append", "events", "outside", "size", "task", "work")

    def __init__(self, append: Append | None, work: _Work | None, events: int, size: int) -> None:
        self.append = append
        self.work = work
        self.task = trio.lowlevel.current_task()
        self.outside: dict[_Entry, None] | None = None
        """Those who wait outside the queue, while it is one of them; None once it is handed over."""
        self.events = events
        self.size = size

    def give_up(self, _: object) -> trio.lowlevel.Abort:
        """Whether the task can be cancelled: only as long as nothing was handed over."""
        if self.outside is None:
            return trio.lowlevel.Abort.FAILED
        del self.outside[self]
        return trio.lowlevel.Abort.SUCCEEDED


class GroupCommit:
    """The trio side of the writer. `run` is its task; it ends after `close`, when the queue is empty."""

    def __init__(
        self,
        writer: Writer,
        disk: Disk,
        *,
        committed: CommitListener,
        when_idle: Callable[[], None],
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self._writer = writer
        self._disk = disk
        self._committed = committed
        self._when_idle = when_idle
        self._limit = queue_bytes
        self._queue: deque[_Entry] = deque()
        self._queued_bytes = 0
        self._queued_events = 0
        self._outside: dict[_Entry, None] = {}
        self._hints: dict[str, int] = {}
        self._in_hand: Sequence[_Entry] = ()
        self._wake = trio.Event()
        self._closing = False
        self._dirty = True

    async def append(self, append: Append) -> Appended:
        """See `Log.append`."""
        events = append.events
        if not events:
            raise ValueError("an append has at least one event")
        size = len(events) * _EVENT_BYTES + len(append.items) * _ITEM_BYTES
        for event in events:
            size += len(event.payload)
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = _Entry(append, None, len(events), size)
        self._hand_over(entry)
        if self._hints:
            self._hints.pop(append.actor, None)  # older than what these events say about the due time
        appended: Appended = await trio.lowlevel.wait_task_rescheduled(entry.give_up)
        return appended

    async def in_writer(self, work: Callable[[sqlite3.Connection, Ledger], T]) -> T:
        """Runs `work` in a transaction of its own between two groups; durable on return. Raises like `append`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        entry = _Entry(None, work, GROUP_EVENTS, 0)  # as many events as make it a group of its own
        self._hand_over(entry)
        result: T = await trio.lowlevel.wait_task_rescheduled(entry.give_up)
        return result

    def move_due(self, actor: str, next_due: int) -> None:
        """See `Log.move_due`."""
        if not self._closing:
            if not self._hints:
                self._wake.set()
            self._hints[actor] = next_due

    def close(self) -> None:
        """Refuses what is not yet handed over and lets `run` end after the rest."""
        self._closing = True
        self._wake.set()
        while self._outside:
            entry, _ = self._outside.popitem()
            trio.lowlevel.reschedule(entry.task, outcome.Error(_closed()))

    async def run(self) -> None:
        """Commits group after group.

        Shielded: the appends of whoever is cancelled above are decided all the same. It takes no longer than the queue
        that is there when `close` is called, because nothing is handed over after that.
        """
        try:
            with trio.CancelScope(shield=True):
                while True:
                    if self._queue:
                        await self._next()
                    elif not self._closing:
                        await self._rest()
                    elif self._hints:
                        await self._commit(())
                    else:
                        return
        finally:
            # Reached with work left only when the writer itself broke (in a crash sweep: died): nobody waits for ever.
            self.close()
            for entry in self._in_hand:
                trio.lowlevel.reschedule(
                    entry.task, outcome.Error(OutcomeUnknown("the writer broke within a commit; ask again by key"))
                )
            while self._queue:
                trio.lowlevel.reschedule(self._queue.popleft().task, outcome.Error(_closed()))

    # ------------------------------------------------------------ the queue

    def _hand_over(self, entry: _Entry) -> None:
        if self._closing:
            raise _closed()
        if not self._writer.healthy:
            raise Unavailable("the log has stopped writing; restart the process")
        if self._outside or (self._queue and self._queued_bytes + entry.size > self._limit):
            entry.outside = self._outside
            self._outside[entry] = None
        else:
            self._enqueue(entry)

    def _enqueue(self, entry: _Entry) -> None:
        entry.outside = None
        if not self._queue:
            self._wake.set()
        self._queue.append(entry)
        self._queued_bytes += entry.size
        self._queued_events += entry.events

    def _let_in(self) -> None:
        """Hands over what waited outside, in order, as far as there is room; an empty queue has room for anything."""
        while self._outside:
            entry = next(iter(self._outside))
            if self._queue and self._queued_bytes + entry.size > self._limit:
                return
            del self._outside[entry]
            self._enqueue(entry)

    def _take_group(self) -> list[_Entry]:
        """Takes all that waits, or as much of its front as one commit may hold; at least one entry."""
        if self._queued_events <= GROUP_EVENTS and self._queued_bytes <= GROUP_BYTES:
            group = list(self._queue)
            self._queue.clear()
            self._queued_bytes = self._queued_events = 0
            return group
        front: list[_Entry] = []
        events = size = 0
        while self._queue:
            entry = self._queue[0]
            if front and (events + entry.events > GROUP_EVENTS or size + entry.size > GROUP_BYTES):
                break
            events += entry.events
            size += entry.size
            front.append(self._queue.popleft())
        self._queued_bytes -= size
        self._queued_events -= events
        return front

    # ------------------------------------------------------------ the task

    async def _next(self) -> None:
        group = self._take_group()
        self._let_in()
        work = group[0].work
        if work is None:
            await self._commit(group)
        else:
            await self._run_work(group[0], work)

    async def _rest(self) -> None:
        """Waits for something to do. What has waited long enough meanwhile is done."""
        self._wake = trio.Event()
        if not self._hints and not self._dirty:
            await self._wake.wait()
            return
        hinted = bool(self._hints)
        with trio.move_on_after(HINT_DELAY_S if hinted else IDLE_S):
            await self._wake.wait()
            return
        if hinted:
            await self._commit(())
        else:
            self._dirty = False
            await self._disk.run(self._when_idle)

    async def _commit(self, group: Sequence[_Entry]) -> None:
        self._in_hand = group
        hints, self._hints = self._hints, {}
        appends = [entry.append for entry in group if entry.append is not None]
        answers = await self._disk.run(partial(self._writer.commit, appends, hints))
        self._in_hand = ()
        self._dirty = True
        written: list[tuple[Append, Appended]] = []
        reschedule = trio.lowlevel.reschedule
        for entry, append, answer in zip(group, appends, answers, strict=True):
            if isinstance(answer, Appended):
                written.append((append, answer))
                reschedule(entry.task, outcome.Value(answer))
            else:
                reschedule(entry.task, outcome.Error(answer))
        if written:
            self._committed(written)

    async def _run_work(self, entry: _Entry, work: _Work) -> None:
        self._in_hand = (entry,)
        try:
            result: outcome.Outcome[Any] = outcome.Value(await self._disk.run(partial(self._writer.run, work)))
        except Exception as error:  # whatever `work` raised is its caller's; its transaction was rolled back
            result = outcome.Error(error)
        self._in_hand = ()
        self._dirty = True
        trio.lowlevel.reschedule(entry.task, result)


def _closed() -> Closed:
    return Closed("the log is closed; nothing of this was recorded")
