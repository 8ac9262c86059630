"""The runtime: many actors over one log.

An actor is *running* while commands wait or effects go on, *resident* while its state is in memory, *dormant* as a row.
Waiting, for a time, a lane or a reader, makes nobody running. The runtime's tasks all live inside `run`; whoever starts
`run` owns them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import outcome
import trio
from msgspec import Struct

from perdure.actors.kind import Kind
from perdure.actors.lane import Lane
from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.effects import Effects, ended
from perdure.actors.runtime.hints import Hints
from perdure.actors.runtime.loader import GROUP, Loader
from perdure.actors.runtime.schedule import HORIZON_US, Schedule
from perdure.actors.runtime.slot import Entry, Slot, Told
from perdure.actors.runtime.turn import Verdict, judge
from perdure.events.command import Command
from perdure.events.errors import Closed, Fenced, OutcomeUnknown, Unavailable, VersionConflict
from perdure.events.event import Event
from perdure.events.ids import now_us
from perdure.store.log import Log
from perdure.store.records import KeyTaken

logger = logging.getLogger("perdure")

COMMAND_BYTES = 256
"""What a command counts for in its mailbox unless its sender says otherwise."""

ENTRIES_PER_TURN = 512
RETRY_APPEND_S = 0.25
TICKETS = 10_000
"""Overdue effects that may queue for their lanes in memory; beyond that the rest stays in the log's index."""


class RuntimeLimits(Struct, frozen=True, kw_only=True):
    """What the runtime keeps in memory and how long it takes its leave.

    `mailbox_bytes`: commands that may wait for one actor before its senders wait too. `resident_bytes`: states kept
    folded, least recently used go first. `stop_s`: how long the commit in hand and owed reports may take when the
    service is cut off.
    """

    mailbox_bytes: int = 4_000_000
    resident_bytes: int = 64_000_000
    stop_s: float = 5.0


class Runtime:
    """Runs actors of `kinds` over `log`. `room` says how many effects of a lane may go on at a time."""

    def __init__(
        self,
        log: Log,
        kinds: Sequence[Kind[Any, Any]],
        *,
        room: Callable[[Lane], int] = lambda lane: 64,
        clock: Callable[[], int] = now_us,
        limits: RuntimeLimits | None = None,
    ) -> None:
        self.log = log
        self.kinds: Mapping[str, Kind[Any, Any]] = {kind.name: kind for kind in kinds}
        self.hints = Hints()
        self.failure: Exception | None = None
        self.slots: dict[str, Slot] = {}
        self._room = room
        self._clock = clock
        self._limits = limits or RuntimeLimits()
        self._resident: OrderedDict[str, int] = OrderedDict()
        self._resident_bytes = 0
        self._schedule = Schedule()
        self._loader = Loader(log, lambda: self.slots)
        self._drivers: trio.Nursery | None = None
        self._effects: Effects | None = None
        self._closing = False
        self._owed_reports = 0
        self._quiet = trio.Event()

    # ------------------------------------------------------------------ what others use

    def now(self) -> int:
        """The runtime's time: µs since 1970, UTC."""
        return self._clock()

    async def tell(
        self,
        kind: str,
        actor: str,
        command: Command,
        *,
        tenant: str = "",
        key: str | None = None,
        size: int = COMMAND_BYTES,
        trace: str = "",
        principal: str = "",
    ) -> Told:
        """Has an actor judge a command and returns when the answer is durable. Waits while the mailbox is full.

        Raises what the kind's `decide` raises (a `Rejected`), `KeyTaken`, `Closed`, `Unavailable` (certainly not
        recorded), `OutcomeUnknown`, `Corrupt` (the actor's records cannot be read).
        """
        while True:
            if self._closing or self._drivers is None:
                raise Closed("the service is closing: ask again by id or key after the restart")
            if self.failure is not None:
                raise self.failure
            slot = self.slots.get(actor)
            if slot is None:
                slot = self.slots[actor] = Slot(actor, self.kinds[kind], tenant)
            if not slot.commands or slot.commands_bytes + size <= self._limits.mailbox_bytes:
                break
            if slot.room is None:
                slot.room = trio.Event()
            await slot.room.wait()
        entry = Entry(command, key=key, size=size, trace=trace or actor, principal=principal)
        slot.commands.append(entry)
        slot.commands_bytes += size
        self.kick(slot)
        return await entry.wait()

    async def state(self, kind: str, actor: str, tenant: str = "") -> Aggregate:
        """The actor's committed state, read from memory or the log. Treat it as a value: read it before you await."""
        slot = self.slots.get(actor)
        if slot is not None and slot.aggregate is not None and not slot.driving:
            return slot.aggregate
        return await self._loader.load(Slot(actor, self.kinds[kind], tenant))

    @property
    def healthy(self) -> bool:
        """False while something bought could not be recorded, or when the log stopped writing."""
        return self._owed_reports == 0 and self.failure is None and self.log.healthy

    @property
    def closing(self) -> bool:
        """True once no command is taken any more."""
        return self._closing

    def counts(self) -> Mapping[str, int]:
        """How many actors run, are resident and are scheduled; how many effects go on or wait for a lane."""
        return {
            "running": sum(not slot.idle for slot in self.slots.values()),
            "resident": len(self._resident),
            "resident_bytes": self._resident_bytes,
            "effects": len(self._effects.running) if self._effects else 0,
            "waiting": self._effects.lanes.waiting if self._effects else 0,
            "scheduled": len(self._schedule),
        }

    # ------------------------------------------------------------------ life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled. Ready when the index of due actors is read, not when their work is resumed.

        Cancelled, it stops effects at once and keeps only the commit in hand and owed reports, for `stop_s` at most.
        """
        stop = trio.Event()
        async with trio.open_nursery() as outer:
            drivers: trio.Nursery = await outer.start(self._host_drivers, stop)
            try:
                async with trio.open_nursery() as nursery:
                    self._effects = Effects(self, nursery, self._schedule, self._room, self.kick)
                    await self._restate()
                    await self._refill()
                    nursery.start_soon(self._wake_due)
                    task_status.started()
                    await trio.sleep_forever()
            finally:
                self._closing = True
                drivers.cancel_scope.deadline = trio.current_time() + self._limits.stop_s
                for slot in self.slots.values():
                    slot.refuse()
                self.hints.fire_all()
                stop.set()

    async def _host_drivers(self, stop: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Owns the tasks that judge and append: cancellation does not reach them, only `stop` and their deadline do."""
        async with trio.open_nursery() as drivers:
            drivers.cancel_scope.shield = True
            self._drivers = drivers
            drivers.start_soon(self._loader.run)
            task_status.started(drivers)
            await stop.wait()
            while any(slot.driving for slot in self.slots.values()):
                self._quiet = trio.Event()
                await self._quiet.wait()
            drivers.cancel_scope.cancel()

    async def drain(self, *, grace_s: float, purchase_grace_s: float) -> None:
        """Takes no new commands, starts no effect, and lets those in flight end.

        After `grace_s` seconds effects are cut off, except purchases that cannot be found again at the provider: they
        get `purchase_grace_s`, because cutting one of them loses money.
        """
        self._closing = True
        if self._effects is None:
            return
        self._effects.closed = True
        for slot in self.slots.values():
            slot.refuse()
        with trio.move_on_after(grace_s):
            await self._still()
        self._effects.cancel_all(lambda effect: effect.purchase and not effect.searchable)
        with trio.move_on_after(max(0.0, purchase_grace_s - grace_s)):
            await self._still()
        self._effects.cancel_all(lambda effect: False)
        await self._still()

    async def _still(self) -> None:
        assert self._effects is not None
        while self._effects.running or any(slot.driving for slot in self.slots.values()):
            self._quiet = trio.Event()
            await self._quiet.wait()

    # ------------------------------------------------------------------ for the effects

    def slot_of(self, actor: str) -> Slot | None:
        """See `Host`."""
        return self.slots.get(actor)

    def may_buy(self) -> bool:
        """See `Host`."""
        return self.healthy

    def kick(self, slot: Slot) -> None:
        """See `Host`."""
        if not slot.driving and self._drivers is not None:
            slot.driving = True
            self._drivers.start_soon(self._drive, slot)

    async def actor_events(self, slot: Slot, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """See `Host`."""
        version = after
        while True:
            hint = self.hints.subscribe(slot.actor)
            for stream in await self.log.load([slot.actor], after=version):
                for number, _, payload in stream.events:
                    version = number
                    yield number, slot.kind.codec.decode(payload)
            await hint.wait()

    # ------------------------------------------------------------------ one actor's turns

    async def _drive(self, slot: Slot) -> None:
        try:
            while True:
                if slot.aggregate is None:
                    try:
                        aggregate = await self._loader.load(slot)
                    except Exception as error:
                        self._unreadable(slot, error)
                        return
                    slot.aggregate = aggregate
                    if aggregate.version:
                        self._effects_of().match(slot)
                entries = slot.take(ENTRIES_PER_TURN)
                if not entries:
                    return
                await self._turn(slot, slot.aggregate, entries)
        finally:
            slot.driving = False
            self._rest(slot)
            if slot.reports or slot.commands:
                self.kick(slot)
            self._quiet.set()

    async def _turn(self, slot: Slot, aggregate: Aggregate, entries: Sequence[Entry]) -> None:
        at = max(self._clock(), aggregate.at)
        verdict = judge(slot, aggregate, entries, at, lambda: self._effects_of().next_due(slot))
        if verdict.append is not None and not await self._append(slot, verdict, entries):
            return
        if verdict.append is None:
            self._move_due(slot, verdict)
        for entry in verdict.ended:
            ended(slot, entry)
        for entry, answer in verdict.answers:
            if entry.retried and entry.effect is not None and entry.command is not None:
                self._report_kept()
            entry.settle(answer)
        self._effects_of().match(slot)
        if verdict.append is not None:
            items: Sequence[int] = [item.number for item in verdict.items]
            self.hints.fire(slot.actor, items)
            if verdict.append.standing.terminal or verdict.append.standing.status == "parked":
                self.hints.fire_all(slot.actor)

    async def _append(self, slot: Slot, verdict: Verdict, entries: Sequence[Entry]) -> bool:
        """Makes the turn's events durable. False: they are not; the state was dropped, the entries are seen to."""
        assert verdict.append is not None
        try:
            await self.log.append(verdict.append)
        except KeyTaken as taken:
            self._drop_state(slot)
            creator = next(entry for entry in entries if entry.key is not None)
            creator.settle(outcome.Error(taken))
            self._requeue(slot, [entry for entry in entries if entry is not creator], taken)
        except VersionConflict as conflict:
            self._drop_state(slot)
            self.failure = Fenced(f"another process writes this log: {conflict}; this one has stopped")
            logger.critical("%s", self.failure)
            self._requeue(slot, entries, self.failure)
        except OutcomeUnknown as unknown:
            self._drop_state(slot)
            self.failure = unknown
            self._requeue(slot, entries, unknown)
        except Unavailable as error:
            self._drop_state(slot)
            self._requeue(slot, entries, error)
            await trio.sleep(RETRY_APPEND_S if slot.reports else 0)
        else:
            return True
        return False

    def _requeue(self, slot: Slot, entries: Sequence[Entry], error: Exception) -> None:
        """After a failed append: commands are judged once more, reports are offered until they are durable."""
        reports: list[Entry] = []
        commands: list[Entry] = []
        for entry in entries:
            if entry.effect is not None:
                if entry.command is not None and not entry.retried:
                    entry.retried = True
                    self._owed_reports += 1
                reports.append(entry)
            elif entry.retried or self.failure is not None:
                entry.settle(outcome.Error(error))
            else:
                entry.retried = True
                commands.append(entry)
        if self.failure is not None:
            for entry in reports:
                entry.settle(outcome.Error(error))
            return
        slot.reports.extendleft(reversed(reports))
        slot.commands.extendleft(reversed(commands))
        slot.commands_bytes += sum(entry.size for entry in commands)

    def _report_kept(self) -> None:
        self._owed_reports -= 1
        if self._owed_reports == 0 and self._effects is not None:
            self._effects.resume_purchases()

    def _move_due(self, slot: Slot, verdict: Verdict) -> None:
        """Notes in the row, as a hint, that an effect wants to be looked at again later."""
        if any(entry.effect is not None and entry.effect.result is not None for entry in verdict.ended):
            due = self._effects_of().next_due(slot)
            if due is not None:
                self.log.move_due(slot.actor, due)

    def _unreadable(self, slot: Slot, error: Exception) -> None:
        """The actor's records cannot be read: it is parked in memory, nothing is written, callers are told."""
        logger.error("%s cannot be read and stays as it is: %s", slot.actor, error)
        slot.refuse(error)
        while slot.reports:
            entry = slot.reports.popleft()
            if entry.command is None:
                ended(slot, entry)
            entry.settle(outcome.Error(error))
        self.hints.fire_all(slot.actor)

    # ------------------------------------------------------------------ memory

    def _drop_state(self, slot: Slot) -> None:
        slot.aggregate = None
        self._resident_bytes -= self._resident.pop(slot.actor, 0)

    def _rest(self, slot: Slot) -> None:
        """Counts a slot at rest among the residents and lets go of those that were used least recently."""
        aggregate = slot.aggregate
        self._resident_bytes -= self._resident.pop(slot.actor, 0)
        if aggregate is None or aggregate.version == 0:
            if slot.idle and not slot.tickets:
                self.slots.pop(slot.actor, None)
            return
        weight = slot.kind.weight(aggregate.state) + 600
        self._resident[slot.actor] = weight
        self._resident_bytes += weight
        for actor in list(self._resident)[:16] if self._resident_bytes > self._limits.resident_bytes else ():
            other = self.slots.get(actor)
            if other is None or not other.idle:
                self._resident.move_to_end(actor)
            elif self._resident_bytes > self._limits.resident_bytes:
                self._drop_state(other)
                if not other.tickets:
                    del self.slots[actor]

    def _effects_of(self) -> Effects:
        assert self._effects is not None
        return self._effects

    # ------------------------------------------------------------------ time

    async def _wake_due(self) -> None:
        while True:
            now = self.now()
            if now >= self._schedule.horizon - HORIZON_US // 2:
                await self._refill()
            if self._effects_of().lanes.waiting < TICKETS:
                due = self._schedule.take(now, GROUP)
                rows = [actor for actor in due if actor not in self.slots]
                for slot in [self.slots[actor] for actor in due if actor in self.slots]:
                    if slot.aggregate is not None and not slot.driving:
                        self._effects_of().match(slot)
                    else:
                        self.kick(slot)
                if rows:
                    for row in [await self.log.row(rows[0])] if len(rows) == 1 else await self._rows(rows):
                        if row is not None and row.kind in self.kinds and row.actor not in self.slots:
                            slot = self.slots[row.actor] = Slot(row.actor, self.kinds[row.kind], row.tenant)
                            self.kick(slot)
                if due:
                    continue
            await self._schedule.wait(self.now())

    async def _rows(self, actors: Sequence[str]) -> Sequence[Any]:
        return [stream.row for stream in await self.log.load(actors, after=1 << 62)]

    async def _refill(self) -> None:
        """Reads the log's index of due times up to a new horizon."""
        horizon = self.now() + HORIZON_US
        self._schedule.horizon = horizon
        after: tuple[int, str] | None = None
        while True:
            page = await self.log.due(after=after, limit=500)
            for row in page:
                due = row.standing.next_due
                if due is None or due > horizon:
                    return
                if row.actor not in self.slots and not self._schedule.knows(row.actor):
                    self._schedule.set(row.actor, due)
            if len(page) < 500:
                return
            last = page[-1]
            after = (last.standing.next_due or 0, last.actor)

    async def _restate(self) -> None:
        """Recomputes the rows that were written under another fold number, before anything is started from them."""
        for kind in self.kinds.values():
            while actors := await self.log.outdated(kind.name, kind.fold):
                streams = await self.log.load(actors)
                standings = {}
                for stream in streams:
                    aggregate = Aggregate(kind, stream.row.actor, stream.row.tenant)
                    for _, at, payload in stream.events:
                        aggregate.evolve(kind.codec.decode(payload), at)
                    aggregate.settle()
                    standings[stream.row.actor] = aggregate.standing()
                await self.log.restate(standings)
