"""Effects: what goes on outside is made to match what the committed state asks for.

Rules kept here: an effect counts as running from its start until the commit that its last report led to; an id never
runs twice at a time; what a report says bypasses the bounded mailbox; an effect is started only from committed state.
"""

from __future__ import annotations

import logging
import math
import traceback as tracebacks
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

import trio

from perdure.actors.kind import Effect
from perdure.actors.lane import Lane
from perdure.actors.runtime.lanes import Lanes, Ticket
from perdure.actors.runtime.schedule import Schedule
from perdure.actors.runtime.slot import Entry, Running, Slot, Told
from perdure.events.command import Command
from perdure.events.errors import Closed, Superseded
from perdure.events.event import Event
from perdure.store.crash_points import crash_point

logger = logging.getLogger("perdure")


class Host(Protocol):
    """What the effects need of the runtime around them."""

    def now(self) -> int:
        """The runtime's time: µs since 1970, UTC."""
        ...

    def kick(self, slot: Slot) -> None:
        """Has the slot's entries judged soon."""
        ...

    def slot_of(self, actor: str) -> Slot | None:
        """The actor's slot, if it is in memory."""
        ...

    async def tell(self, kind: str, actor: str, command: Command, *, tenant: str = "", trace: str = "") -> Told:
        """Has an actor judge a command."""
        ...

    def actor_events(self, slot: Slot, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """An actor's committed events after a version, then those to come."""
        ...

    @property
    def closing(self) -> bool:
        """True once no command is taken any more."""
        ...

    def may_buy(self) -> bool:
        """False while a report could not be made durable: nothing is bought until it is."""
        ...


class EffectPort:
    """What one running effect is handed; see `perdure.actors.kind.Port`."""

    def __init__(self, host: Host, slot: Slot, running: Running) -> None:
        self.actor = slot.actor
        self.tenant = slot.tenant
        self.trace = slot.actor
        self._host = host
        self._slot = slot
        self._running = running

    async def report(self, command: Command) -> None:
        """See `Port.report`. The report is queued before the first checkpoint: cancellation cannot drop it."""
        kind = self._slot.kind.name
        crash_point("report.before", kind)
        entry = Entry(command, effect=self._running, trace=self.trace)
        self._slot.reports.append(entry)
        self._host.kick(self._slot)
        await entry.wait()
        crash_point("report.after", kind)

    async def tell(self, kind: str, actor: str, command: Command) -> None:
        """See `Port.tell`."""
        await self._host.tell(kind, actor, command, tenant=self.tenant, trace=self.trace)

    def events(self, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """See `Port.events`."""
        return self._host.actor_events(self._slot, after=after)

    def now(self) -> int:
        """See `Port.now`."""
        return self._host.now()


class Effects:
    """Starts and stops the effects of all slots. `nursery` is owned by the runtime that made this."""

    def __init__(self, host: Host, nursery: trio.Nursery, schedule: Schedule, room: Callable[[Lane], int]) -> None:
        self._host = host
        self._nursery = nursery
        self._schedule = schedule
        self.lanes = Lanes(room, self._granted)
        self.running: dict[tuple[str, str], Running] = {}
        self._stalled: dict[str, Slot] = {}

    @property
    def closed(self) -> bool:
        """Whether nothing is started any more."""
        return self.lanes.closed

    def close(self) -> None:
        """Starts nothing any more; what runs goes on."""
        self.lanes.closed = True

    def match(self, slot: Slot) -> None:
        """Starts what the slot's committed state asks for and stops what it does not; sets its next due time."""
        aggregate = slot.aggregate
        if aggregate is None:
            return
        asked = {effect.id: effect for _, effect in aggregate.asked}
        for identifier, running in slot.effects.items():
            if identifier not in asked and not running.ended and not aggregate.owes(identifier):
                running.scope.cancel()
        for identifier in [identifier for identifier in slot.again if identifier not in asked]:
            del slot.again[identifier]
        for identifier, ticket in list(slot.tickets.items()):
            wanted = asked.get(identifier)
            if wanted is None or wanted.lane != ticket.lane:
                self.lanes.withdraw(slot.tickets.pop(identifier))
        if self.closed:
            return
        now = self._host.now()
        nearest: int | None = None
        for due, effect in aggregate.asked:
            if effect.id in slot.effects:
                continue
            hastened = bool(slot.hastened) and not effect.purchase and effect.id.startswith(tuple(slot.hastened))
            moment = now if hastened else max(due, slot.again.get(effect.id, 0))
            waits = slot.tickets.get(effect.id)
            if moment > now:
                nearest = moment if nearest is None else min(nearest, moment)
                if waits is not None:
                    self.lanes.withdraw(slot.tickets.pop(effect.id))
            elif waits is None:
                self._queue(slot, effect, moment)
            elif waits.granted and not self._start(slot, waits, effect):
                self.lanes.leave(waits.lane)
        slot.nearest = nearest
        self._schedule.set(slot.actor, nearest, slot.kind.name, slot.tenant)

    def hasten(self, slot: Slot, beginning: str) -> None:
        """Has effects whose id begins so started at once instead of when they are due: those that are asked for now,
        or next. Purchases keep to their time. A hint: it is forgotten when the slot is."""
        slot.hastened.add(beginning)
        if not slot.judging:
            self.match(slot)

    def next_due(self, slot: Slot) -> int | None:
        """The slot's next due time with the waits that its effects asked for, or None."""
        aggregate = slot.aggregate
        if aggregate is None:
            return None
        return min((max(due, slot.again.get(effect.id, 0)) for due, effect in aggregate.asked), default=None)

    def resume_purchases(self) -> None:
        """Has what waited while nothing might be bought looked at again."""
        stalled, self._stalled = self._stalled, {}
        for slot in stalled.values():
            self._schedule.set(slot.actor, 0, slot.kind.name, slot.tenant)

    def abandon(self, slot: Slot) -> None:
        """Gives back the places in lanes of a slot whose state cannot be read."""
        while slot.tickets:
            self.lanes.withdraw(slot.tickets.popitem()[1])

    def cancel_all(self, keep: Callable[[Effect], bool]) -> None:
        """Cuts off running effects, except those that `keep` names."""
        for running in self.running.values():
            if not keep(running.effect):
                running.scope.cancel()

    def _queue(self, slot: Slot, effect: Effect, due: int) -> None:
        if effect.purchase and not self._host.may_buy():
            self._stalled[slot.actor] = slot
            return
        ticket = slot.tickets[effect.id] = Ticket(slot.actor, effect.id, effect.lane)
        self.lanes.enter(ticket, due)

    def _granted(self, ticket: Ticket) -> bool:
        """Called by the lanes. A state that is not in memory or runs ahead of the log is matched once it is not."""
        slot = self._host.slot_of(ticket.actor)
        if slot is None or slot.tickets.get(ticket.effect) is not ticket:
            return False
        if slot.aggregate is None:
            self._host.kick(slot)
            return True
        if slot.judging:
            return True
        effect = next((effect for _, effect in slot.aggregate.asked if effect.id == ticket.effect), None)
        if effect is None:
            del slot.tickets[ticket.effect]
            return False
        return self._start(slot, ticket, effect)

    def _start(self, slot: Slot, ticket: Ticket, effect: Effect) -> bool:
        """Starts an effect in the room that its ticket was granted; False when it may not start now."""
        del slot.tickets[ticket.effect]
        if effect.purchase and not self._host.may_buy():
            self._stalled[slot.actor] = slot
            return False
        running = Running(effect)
        slot.effects[effect.id] = running
        slot.hastened = {beginning for beginning in slot.hastened if not effect.id.startswith(beginning)}
        slot.again.pop(effect.id, None)
        self.running[slot.actor, effect.id] = running
        self._nursery.start_soon(self._run, slot, running)
        return True

    async def _run(self, slot: Slot, running: Running) -> None:
        try:
            with running.scope:
                running.result = await slot.kind.perform(running.effect, EffectPort(self._host, slot, running))
                running.cut = False
        except Exception as error:
            running.cut = _only(error, Closed) and self._host.closing
            running.error = f"{type(error).__name__}: {error}"
            if not _only(error, Superseded, Closed):
                running.traceback = "".join(tracebacks.format_exception(error))
                logger.warning("effect %s of %s failed: %s", running.effect.id, slot.actor, running.error)
        finally:
            running.ended = True
            if trio.current_effective_deadline() == -math.inf:
                self.close()  # the service is cut off: what its room would go to must not start
            self.running.pop((slot.actor, running.effect.id), None)
            self.lanes.leave(running.effect.lane)
            slot.reports.append(Entry(None, effect=running))
            self._host.kick(slot)


def _only(error: Exception, *types: type[Exception]) -> bool:
    """Whether `error` is of these types, or a group of nothing else: an effect may have nurseries of its own."""
    if isinstance(error, ExceptionGroup):
        leaves = cast("ExceptionGroup[Exception]", error).exceptions
        return all(_only(leaf, *types) for leaf in leaves)
    return isinstance(error, types)


def ended(slot: Slot, entry: Entry) -> None:
    """Forgets an effect whose end was judged and, if it led to anything, committed."""
    running = entry.effect
    assert running is not None
    if slot.effects.get(running.effect.id) is running:
        del slot.effects[running.effect.id]
