"""Effects: what goes on outside is made to match what the committed state asks for.

Rules kept here: an effect counts as running from its start until the commit that its last report led to; an id never
runs twice at a time; what a report says bypasses the bounded mailbox; an effect is started only from committed state.
"""

from __future__ import annotations

import logging
import math
import traceback as tracebacks
from collections.abc import AsyncIterator, Callable
from typing import Protocol

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

    def __init__(
        self,
        host: Host,
        nursery: trio.Nursery,
        schedule: Schedule,
        room: Callable[[Lane], int],
        wake: Callable[[Slot], None],
    ) -> None:
        self._host = host
        self._nursery = nursery
        self._schedule = schedule
        self._wake = wake
        self.lanes = Lanes(room, self._granted)
        self.running: dict[tuple[str, str], Running] = {}
        self.closed = False
        self._stalled: list[Ticket] = []

    def match(self, slot: Slot) -> None:
        """Starts what the slot's committed state asks for and stops what it does not; sets its next due time."""
        aggregate = slot.aggregate
        if aggregate is None:
            return
        now = self._host.now()
        asked = {effect.id for _, effect in aggregate.asked}
        for identifier, running in slot.effects.items():
            if identifier not in asked and not running.ended:
                running.scope.cancel()
        for identifier in [identifier for identifier in slot.tickets if identifier not in asked]:
            slot.tickets.pop(identifier).withdrawn = True
        for identifier in [identifier for identifier in slot.again if identifier not in asked]:
            del slot.again[identifier]
        if self.closed:
            return
        nearest: int | None = None
        for due, effect in aggregate.asked:
            if effect.id in slot.effects or effect.id in slot.tickets:
                continue
            moment = max(due, slot.again.get(effect.id, 0))
            if moment > now:
                nearest = moment if nearest is None else min(nearest, moment)
                continue
            ticket = slot.tickets[effect.id] = Ticket(slot.actor, effect.id, effect.lane)
            self.lanes.enter(ticket, moment)
        self._schedule.set(slot.actor, nearest)

    def next_due(self, slot: Slot) -> int | None:
        """The slot's next due time with the waits that its effects asked for, or None."""
        aggregate = slot.aggregate
        if aggregate is None:
            return None
        return min((max(due, slot.again.get(effect.id, 0)) for due, effect in aggregate.asked), default=None)

    def resume_purchases(self) -> None:
        """Starts what had to wait while nothing might be bought."""
        stalled, self._stalled = self._stalled, []
        for ticket in stalled:
            self._granted(ticket)

    def cancel_all(self, keep: Callable[[Effect], bool]) -> None:
        """Cuts off running effects, except those that `keep` names."""
        for running in self.running.values():
            if not keep(running.effect):
                running.scope.cancel()

    def _granted(self, ticket: Ticket) -> None:
        slot = self._host.slot_of(ticket.actor)
        if slot is None or ticket.withdrawn or self.closed or slot.tickets.get(ticket.effect) is not ticket:
            self._nursery.start_soon(self._give_back, ticket.lane)
            return
        if slot.aggregate is None:
            del slot.tickets[ticket.effect]
            self._nursery.start_soon(self._give_back, ticket.lane)
            self._wake(slot)
            return
        effect = next((effect for _, effect in slot.aggregate.asked if effect.id == ticket.effect), None)
        if effect is not None and effect.purchase and not self._host.may_buy():
            self._stalled.append(ticket)
            return
        del slot.tickets[ticket.effect]
        if effect is None or effect.id in slot.effects:
            self._nursery.start_soon(self._give_back, ticket.lane)
            return
        running = Running(effect)
        slot.effects[effect.id] = running
        slot.again.pop(effect.id, None)
        self.running[slot.actor, effect.id] = running
        self._nursery.start_soon(self._run, slot, running)

    async def _give_back(self, lane: Lane) -> None:
        """Leaves a lane from a task of its own, so that granting never recurses."""
        self.lanes.leave(lane)

    async def _run(self, slot: Slot, running: Running) -> None:
        try:
            with running.scope:
                running.result = await slot.kind.perform(running.effect, EffectPort(self._host, slot, running))
                running.cut = False
        except (Superseded, Closed) as error:
            running.cut = False
            running.error = str(error)
        except Exception as error:
            running.cut = False
            running.error = f"{type(error).__name__}: {error}"
            running.traceback = "".join(tracebacks.format_exception(error))
            logger.warning("effect %s of %s failed: %s", running.effect.id, slot.actor, running.error)
        finally:
            running.ended = True
            if trio.current_effective_deadline() == -math.inf:
                self.closed = True  # the service is cut off: what its room would go to must not start
            self.running.pop((slot.actor, running.effect.id), None)
            self.lanes.leave(running.effect.lane)
            slot.reports.append(Entry(None, effect=running))
            self._host.kick(slot)


def ended(slot: Slot, entry: Entry) -> None:
    """Forgets an effect whose end was judged and, if it led to anything, committed."""
    running = entry.effect
    assert running is not None
    if slot.effects.get(running.effect.id) is running:
        del slot.effects[running.effect.id]
