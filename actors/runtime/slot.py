"""A slot: one actor in memory, with what waits for it and what it has going on outside.

Effects belong to the slot, not to an incarnation of the state: when the state is dropped and folded again, they go on
and are matched with the rebuilt state by their ids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import outcome
import trio
from msgspec import Struct

from perdure.actors.kind import Again, Effect, Kind
from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.lanes import Ticket
from perdure.events.command import Command
from perdure.events.errors import Closed


class Told(Struct, frozen=True):
    """The answer to a command, durable when it is given: version and status after it, and whether anything happened."""

    version: int
    status: str
    changed: bool


class Running:
    """An effect from its start until the commit that its last report led to."""

    __slots__ = ("cut", "effect", "ended", "error", "result", "scope", "traceback")

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.scope = trio.CancelScope()
        self.ended = False
        self.cut = True
        self.result: Again | None = None
        self.error = ""
        self.traceback = ""


class Entry:
    """A command in the mailbox, or a report (`effect` is set), or the end of an effect (`command` is None)."""

    __slots__ = (
        "alone",
        "answer",
        "command",
        "effect",
        "key",
        "owed",
        "principal",
        "retried",
        "size",
        "task",
        "trace",
    )

    def __init__(
        self,
        command: Command | None,
        *,
        effect: Running | None = None,
        key: str | None = None,
        size: int = 0,
        trace: str = "",
        principal: str = "",
    ) -> None:
        self.command = command
        self.effect = effect
        self.key = key
        self.size = size
        self.trace = trace
        self.principal = principal
        self.retried = False
        """Its append failed once: a command is not judged a third time."""
        self.alone = False
        """It stood in a turn that the kind's code broke: it is judged in a turn of its own."""
        self.owed = False
        """A report whose append failed: it is offered until it is durable."""
        self.task: trio.lowlevel.Task | None = None
        self.answer: outcome.Outcome[Told] | None = None

    def settle(self, answer: outcome.Outcome[Told]) -> None:
        """Answers whoever waits, now or later."""
        self.answer = answer
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task, answer)

    async def wait(self) -> Told:
        """Waits for the answer. The entry stays in its queue when the waiter is cancelled."""
        if self.answer is not None:
            await trio.lowlevel.checkpoint()
            return self.answer.unwrap()
        self.task = trio.lowlevel.current_task()

        def abort(_: Any) -> trio.lowlevel.Abort:
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        told: Told = await trio.lowlevel.wait_task_rescheduled(abort)
        return told


class Slot:
    """One actor: resident when `aggregate` is set, running while `driving` or `effects` is."""

    __slots__ = (
        "actor",
        "again",
        "aggregate",
        "commands",
        "commands_bytes",
        "driving",
        "effects",
        "hastened",
        "judging",
        "kind",
        "nearest",
        "reports",
        "room",
        "tenant",
        "tickets",
        "weight",
    )

    def __init__(self, actor: str, kind: Kind[Any, Any], tenant: str) -> None:
        self.actor = actor
        self.kind = kind
        self.tenant = tenant
        self.aggregate: Aggregate | None = None
        self.weight = 0
        self.commands: deque[Entry] = deque()
        self.commands_bytes = 0
        self.room: trio.Event | None = None
        self.reports: deque[Entry] = deque()
        self.driving = False
        """A task is seeing to the slot."""
        self.judging = False
        """The state runs ahead of what is committed: nothing may be started from it."""
        self.nearest: int | None = None
        """The next time (µs UTC) at which an effect that does not run wants to start."""
        self.effects: dict[str, Running] = {}
        self.tickets: dict[str, Ticket] = {}
        self.again: dict[str, int] = {}
        """When effects that learnt nothing want to run again (µs UTC): a hint, lost with the slot, kept in the row."""
        self.hastened: set[str] = set()
        """How the ids of effects begin that shall start now, whatever they wait for; forgotten when one has."""

    @property
    def idle(self) -> bool:
        """Nothing goes on: the state may be dropped."""
        return not (self.driving or self.effects or self.commands or self.reports)

    def take(self, limit: int) -> list[Entry]:
        """Removes and returns what waits: reports before commands, `limit` at most."""
        taken: list[Entry] = []
        while len(taken) < limit and (queue := self.reports or self.commands):
            if taken and (taken[-1].alone or queue[0].alone):
                break
            entry = queue.popleft()
            if queue is self.commands:
                self.commands_bytes -= entry.size
            taken.append(entry)
        self._make_room()
        return taken

    def put_back(self, reports: Iterable[Entry], commands: Iterable[Entry]) -> None:
        """Returns entries to the front of their queues, in the order given."""
        self.reports.extendleft(reversed(list(reports)))
        for entry in reversed(list(commands)):
            self.commands.appendleft(entry)
            self.commands_bytes += entry.size

    def refuse(self, error: Exception | None = None) -> None:
        """Answers every waiting command with `error` (by default: the service is closing)."""
        while self.commands:
            self.commands.popleft().settle(
                outcome.Error(error or Closed("the service is closing: ask again by id or key after the restart"))
            )
        self.commands_bytes = 0
        self._make_room()

    def _make_room(self) -> None:
        if self.room is not None:
            self.room.set()
            self.room = None
