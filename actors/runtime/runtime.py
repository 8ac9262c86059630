"""The runtime: many actors over one log.

An actor is *running* while commands wait or effects go on, *resident* while its state is in memory, *dormant* as a row.
Waiting, for a time, a lane or a reader, makes nobody running. The runtime's tasks all live inside `run`; whoever starts
`run` owns them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Final

import trio
from msgspec import Struct

from perdure.actors.kind import Kind
from perdure.actors.lane import Lane
from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.driving import Driver
from perdure.actors.runtime.effects import Effects
from perdure.actors.runtime.hints import Hints
from perdure.actors.runtime.loader import Loader
from perdure.actors.runtime.residents import Residents
from perdure.actors.runtime.restating import Restating
from perdure.actors.runtime.schedule import Schedule
from perdure.actors.runtime.slot import Entry, Slot, Told
from perdure.actors.runtime.waking import Waker
from perdure.events.command import Command
from perdure.events.errors import Closed, Fenced, NotFound
from perdure.events.event import Event
from perdure.events.ids import now_us
from perdure.store.log import Log

COMMAND_BYTES: Final = 256
"""What a command counts for in its mailbox unless its sender says otherwise."""


class RuntimeLimits(Struct, frozen=True, kw_only=True):
    """What the runtime keeps in memory and how long it takes its leave.

    `mailbox_bytes`: commands that may wait for one actor before its senders wait too. `resident_bytes`: states kept
    folded, least recently used go first. `waiting_effects`: overdue effects that queue for their lanes in memory, the
    rest stays in the log's index. `stop_s`: how long the commit in hand and owed reports may take when the service is
    cut off.
    """

    mailbox_bytes: int = 4_000_000
    resident_bytes: int = 64_000_000
    waiting_effects: int = 10_000
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
        self.slots: dict[str, Slot] = {}
        self._room = room
        self._clock = clock
        self._limits = limits or RuntimeLimits()
        self._schedule = Schedule()
        self._loader = Loader(log)
        self._residents = Residents(self.slots, self._limits.resident_bytes)
        self._driver = Driver(log, clock, self._loader, self._residents, self.hints, self._stopped)
        self._quiet = trio.lowlevel.ParkingLot()
        self._waker = Waker(
            log, self.kinds, self._schedule, self.slots, clock, self.kick, self._quiet, self._limits.waiting_effects
        )
        self._drivers: trio.Nursery | None = None
        self._effects: Effects | None = None
        self._closing = False

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

        Raises what the kind's `decide` raises (a `Rejected`), `KeyTaken`, `NotFound` (the actor is of another kind or
        tenant), `Closed`, `Unavailable` (certainly not recorded), `OutcomeUnknown`, `Corrupt` (the actor's records
        cannot be read).
        """
        while True:
            if self._closing or self._drivers is None:
                raise Closed("the service is closing: ask again by id or key after the restart")
            if self.failure is not None:
                raise self.failure.with_traceback(None)
            slot = self._slot(kind, actor, tenant)
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
        """The actor's committed state, read from memory or the log. Treat it as a value: read it before you await.

        Raises `NotFound` (another kind or tenant), `Corrupt`, `Closed`, `Unavailable`. One that does not exist has
        version 0.
        """
        slot = self.slots.get(actor)
        if slot is not None and slot.aggregate is not None and not slot.judging:
            if slot.kind.name == kind and slot.tenant == tenant:
                return slot.aggregate
            raise _no_such(kind, actor)
        return (await self._loader.load(self.kinds[kind], actor, tenant)).aggregate

    def hasten(self, kind: str, actor: str, beginning: str, *, tenant: str = "") -> None:
        """Has an actor's effects whose id begins so started now, if they wait for their time: for what says that it is
        worth a look. Nothing is recorded; the hint is lost with the process, and purchases do not listen to it.

        Raises `NotFound` (the actor is of another kind or tenant), `Closed`.
        """
        if self._closing or self._effects is None:
            raise Closed("the service is closing: what is due is done after the restart")
        slot = self._slot(kind, actor, tenant)
        self._effects.hasten(slot, beginning)
        self.kick(slot)

    @property
    def healthy(self) -> bool:
        """False while something bought could not be recorded, or when the log stopped writing."""
        return self._driver.owed_reports == 0 and self.failure is None and self.log.healthy

    @property
    def failure(self) -> Exception | None:
        """Why this process has stopped writing for good, or None."""
        return self._driver.failure

    @property
    def closing(self) -> bool:
        """True once no command is taken any more."""
        return self._closing

    def counts(self) -> Mapping[str, int]:
        """How many actors run, are resident and are scheduled; how many effects go on or wait for a lane."""
        return {
            "running": sum(not slot.idle for slot in self.slots.values()),
            "resident": len(self._residents),
            "resident_bytes": self._residents.bytes,
            "effects": len(self._effects.running) if self._effects else 0,
            "waiting": self._effects.lanes.waiting if self._effects else 0,
            "scheduled": len(self._schedule),
        }

    # ------------------------------------------------------------------ life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled. Ready when the index of due actors is read, not when their work is resumed.

        Cancelled, it stops effects at once and keeps only the commit in hand and owed reports, for `stop_s` at most.
        Raises what the log raises when its rows cannot be read at the start.
        """
        restating = Restating(self.log, self.kinds.values(), self._claim, self._release)
        await restating.open_actors()
        await self._waker.refill()
        stop = trio.Event()
        async with trio.open_nursery() as outer:
            drivers: trio.Nursery = await outer.start(self._host_drivers, stop)
            try:
                async with trio.open_nursery() as nursery:
                    effects = Effects(self, nursery, self._schedule, self._room)
                    self._effects = self._driver.effects = effects
                    nursery.start_soon(self._waker.run, effects)
                    nursery.start_soon(restating.terminal_actors)
                    task_status.started()
                    try:
                        await trio.sleep_forever()
                    finally:
                        effects.close()  # turns go on for a while; what they lead to is for the next start
            finally:
                self._closing = True
                drivers.cancel_scope.deadline = trio.current_time() + self._limits.stop_s
                self._refuse_commands()
                self.hints.fire_all()
                stop.set()

    async def _host_drivers(self, stop: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Owns the tasks that judge and append: cancellation does not reach them, only `stop` and their deadline do."""
        async with trio.open_nursery() as drivers:
            drivers.cancel_scope.shield = True
            await drivers.start(self._loader.run)
            self._drivers = drivers
            task_status.started(drivers)
            await stop.wait()
            while self._driving():
                await self._quiet.park()
            drivers.cancel_scope.cancel()
        self._refuse_commands()

    async def drain(self, *, grace_s: float, purchase_grace_s: float) -> None:
        """Takes no new commands, starts no effect, and lets those in flight end.

        After `grace_s` seconds effects are cut off, except purchases that cannot be found again at the provider: they
        get `purchase_grace_s`, because cutting one of them loses money. What is still owed to the log then gets
        `stop_s`.
        """
        self._closing = True
        if self._effects is None:
            return
        self._effects.close()
        self._refuse_commands()
        with trio.move_on_after(grace_s):
            await self._still()
        self._effects.cancel_all(lambda effect: effect.purchase and not effect.searchable)
        with trio.move_on_after(max(0.0, purchase_grace_s - grace_s)):
            await self._still()
        self._effects.cancel_all(lambda effect: False)
        with trio.move_on_after(self._limits.stop_s):
            await self._still()

    async def _still(self) -> None:
        assert self._effects is not None
        while self._effects.running or self._driving():
            await self._quiet.park()

    def _driving(self) -> bool:
        return any(slot.driving for slot in self.slots.values())

    def _refuse_commands(self) -> None:
        for slot in list(self.slots.values()):
            slot.refuse()

    def _stopped(self, failure: Exception) -> None:
        """The log is lost to this process: nothing starts any more, and where another has it, nothing goes on."""
        if self._effects is not None:
            self._effects.close()
            if isinstance(failure, Fenced):
                self._effects.cancel_all(lambda effect: False)
        self.hints.fire_all()

    # ------------------------------------------------------------------ for the effects

    def slot_of(self, actor: str) -> Slot | None:
        """See `Host`."""
        return self.slots.get(actor)

    def may_buy(self) -> bool:
        """See `Host`."""
        return self.healthy

    def kick(self, slot: Slot) -> None:
        """See `Host`."""
        drivers = self._drivers
        if not slot.driving and drivers is not None and not drivers.cancel_scope.cancel_called:
            slot.driving = True
            drivers.start_soon(self._drive, slot)

    async def actor_events(self, slot: Slot, *, after: int) -> AsyncGenerator[tuple[int, Event]]:
        """See `Host`."""
        version = after
        while True:
            hint = self.hints.subscribe(slot.actor)
            for stream in await self.log.load([slot.actor], after=version):
                for number, _, payload in stream.events:
                    version = number
                    yield number, slot.kind.codec.decode(payload)
            await hint.wait()

    # ------------------------------------------------------------------ slots

    def _slot(self, kind: str, actor: str, tenant: str) -> Slot:
        slot = self.slots.get(actor)
        if slot is None:
            slot = self.slots[actor] = Slot(actor, self.kinds[kind], tenant)
        elif slot.kind.name != kind or slot.tenant != tenant:
            raise _no_such(kind, actor)
        return slot

    async def _drive(self, slot: Slot) -> None:
        try:
            await self._driver.drive(slot)
        finally:
            if slot.judging:
                self._residents.drop(slot)  # a turn was cut off: its state is not what was committed
            slot.driving = False
            self._residents.rest(slot)
            if slot.reports or slot.commands:
                self.kick(slot)
            self._quiet.unpark_all()

    def _claim(self, kind: Kind[Any, Any], actor: str, tenant: str) -> bool:
        """Keeps a dormant actor from being driven while its row is rewritten."""
        if actor in self.slots:
            return False
        slot = self.slots[actor] = Slot(actor, kind, tenant)
        slot.driving = True
        return True

    def _release(self, actor: str) -> None:
        slot = self.slots[actor]
        slot.driving = False
        if slot.reports or slot.commands:
            self.kick(slot)
        else:
            self._residents.rest(slot)


def _no_such(kind: str, actor: str) -> NotFound:
    return NotFound(f"there is no {kind} {actor} of this tenant", id=actor)
