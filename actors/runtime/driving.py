"""Driving: a task that sees to one actor while anything waits for it, turn after turn.

What must never be lost is kept here: a report whose append failed is offered again until it is durable, and as long as
one is owed nothing is bought. Whatever is wrong with one actor stays with that actor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import outcome
import trio

from perdure.actors.runtime.aggregate import Aggregate
from perdure.actors.runtime.effects import Effects, ended
from perdure.actors.runtime.hints import Hints
from perdure.actors.runtime.loader import Loader
from perdure.actors.runtime.residents import Residents
from perdure.actors.runtime.slot import Entry, Slot
from perdure.actors.runtime.turn import Defect, Verdict, judge
from perdure.events.errors import (
    Closed,
    Corrupt,
    Fenced,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    VersionConflict,
)
from perdure.store.log import Log
from perdure.store.records import KeyTaken

logger = logging.getLogger("perdure")

ENTRIES_PER_TURN: Final = 512
RETRY_S: Final = 0.25
"""How long a report waits before it is offered again to a log that refused it."""


class Driver:
    """Runs the turns of all actors; `drive` is one actor's task. `stopped` is called when the log is lost for good."""

    def __init__(
        self,
        log: Log,
        clock: Callable[[], int],
        loader: Loader,
        residents: Residents,
        hints: Hints,
        stopped: Callable[[Exception], None],
    ) -> None:
        self._log = log
        self._clock = clock
        self._loader = loader
        self._residents = residents
        self._hints = hints
        self._stopped = stopped
        self.effects: Effects | None = None
        self.failure: Exception | None = None
        self.owed_reports = 0

    async def drive(self, slot: Slot) -> None:
        """Sees to a slot until nothing waits in it. The caller has set `driving`, and unsets it afterwards."""
        while self.failure is None:
            aggregate = slot.aggregate
            if aggregate is None:
                if not await self._load(slot):
                    return
                continue
            entries = slot.take(ENTRIES_PER_TURN)
            if not entries:
                return
            await self._turn(slot, aggregate, entries)
        self._give_up(slot, self.failure)

    # ------------------------------------------------------------------ loading

    async def _load(self, slot: Slot) -> bool:
        """Folds the slot's state. False: it cannot be read, and nothing waits in the slot any more."""
        try:
            loaded = await self._loader.load(slot.kind, slot.actor, slot.tenant)
        except (Corrupt, NotFound, Closed) as error:
            self._unreadable(slot, error)
            return False
        except Exception as error:
            # The log cannot be read now. Nobody waits for that, but what effects have to say is not lost over it.
            logger.warning("%s cannot be read now: %s", slot.actor, error)
            slot.refuse(error)
            await trio.sleep(RETRY_S)
            return bool(slot.reports or slot.tickets or slot.commands)
        slot.aggregate = loaded.aggregate
        _hold_back(slot, loaded.aggregate, loaded.due)
        self._match(slot)
        return True

    def _unreadable(self, slot: Slot, error: Exception) -> None:
        """The actor's records cannot be read: it is parked in memory, nothing is written, callers are told."""
        if isinstance(error, Corrupt):
            logger.error("%s cannot be read and stays as it is: %s", slot.actor, error)
        self._give_up(slot, error)
        if self.effects is not None:
            self.effects.abandon(slot)
        self._hints.fire_all(slot.actor)

    def _give_up(self, slot: Slot, error: Exception) -> None:
        """Answers all that waits in a slot with `error`."""
        slot.refuse(error)
        while slot.reports:
            entry = slot.reports.popleft()
            if entry.command is None:
                ended(slot, entry)
            entry.settle(outcome.Error(error))

    # ------------------------------------------------------------------ one turn

    async def _turn(self, slot: Slot, aggregate: Aggregate, entries: Sequence[Entry]) -> None:
        effects = self.effects
        assert effects is not None
        slot.judging = True
        now = self._clock()
        try:
            verdict = judge(slot, aggregate, entries, max(now, aggregate.at), now, lambda: effects.next_due(slot))
        except Exception as error:
            self._defective(slot, entries, error)
            return
        if verdict.append is not None:
            if not await self._append(slot, verdict, entries):
                return
        elif any(entry.effect is not None and entry.effect.result is not None for entry in verdict.ended):
            due = effects.next_due(slot)
            if due is not None:
                self._log.move_due(slot.actor, due)
        slot.judging = False
        for entry in verdict.ended:
            ended(slot, entry)
        for entry, answer in verdict.answers:
            if entry.owed:
                self._kept(entry)
            entry.settle(answer)
        self._match(slot)
        if verdict.append is not None:
            standing = verdict.append.standing
            if standing.terminal or standing.status == "parked":
                self._hints.fire_all(slot.actor)
            else:
                self._hints.fire(slot.actor, [item.number for item in verdict.items])

    def _match(self, slot: Slot) -> None:
        if self.effects is not None:
            self.effects.match(slot)

    async def _append(self, slot: Slot, verdict: Verdict, entries: Sequence[Entry]) -> bool:
        """Makes the turn's events durable. False: they are not; the state was dropped, the entries are seen to."""
        assert verdict.append is not None
        try:
            await self._log.append(verdict.append)
            return True
        except KeyTaken as taken:
            self._residents.drop(slot)
            claimant = verdict.claimants[taken.key]
            claimant.settle(outcome.Error(taken))
            others = [entry for entry in entries if entry is not claimant]
            slot.put_back(
                [entry for entry in others if entry.effect is not None],
                [entry for entry in others if entry.effect is None],
            )
        except VersionConflict as conflict:
            self._lose(slot, entries, Fenced(f"another process writes this log ({conflict}): this one has stopped"))
        except (OutcomeUnknown, Corrupt) as error:
            self._lose(slot, entries, error)
        except Unavailable as error:
            self._residents.drop(slot)
            self._offer_again(slot, entries, error)
            if slot.reports:
                await trio.sleep(RETRY_S)
        return False

    def _offer_again(self, slot: Slot, entries: Sequence[Entry], error: Exception) -> None:
        """After a failed append: commands are judged once more, reports are offered until they are durable."""
        reports: list[Entry] = []
        commands: list[Entry] = []
        for entry in entries:
            if entry.effect is not None:
                if entry.command is not None and not entry.owed:
                    entry.owed = True
                    self.owed_reports += 1
                reports.append(entry)
            elif entry.retried:
                entry.settle(outcome.Error(error))
            else:
                entry.retried = True
                commands.append(entry)
        slot.put_back(reports, commands)

    def _kept(self, entry: Entry) -> None:
        """A report that was owed is durable, or nobody wants it any more."""
        entry.owed = False
        self.owed_reports -= 1
        if self.owed_reports == 0 and self.effects is not None:
            self.effects.resume_purchases()

    def _lose(self, slot: Slot, entries: Sequence[Entry], failure: Exception) -> None:
        """The log is lost to this process: nothing is written any more, whoever waits is told."""
        self._residents.drop(slot)
        if self.failure is None:
            self.failure = failure
            logger.critical("%s", failure)
            self._stopped(failure)
        for entry in entries:
            entry.settle(outcome.Error(failure))

    def _defective(self, slot: Slot, entries: Sequence[Entry], error: Exception) -> None:
        """The kind's code raised while folding: each entry is judged alone, and the one that it fails on is refused."""
        self._residents.drop(slot)
        if len(entries) > 1 and not all(entry.alone for entry in entries):
            for entry in entries:
                entry.alone = True
            slot.put_back(
                [entry for entry in entries if entry.effect is not None],
                [entry for entry in entries if entry.effect is None],
            )
            return
        logger.error("the code of kind %r failed on %s", slot.kind.name, slot.actor, exc_info=error)
        defect = Defect(f"kind {slot.kind.name!r} failed on {slot.actor}: {error!r}; nothing of this was recorded")
        for entry in entries:
            if entry.command is None:
                ended(slot, entry)
            if entry.owed:
                self._kept(entry)
            entry.settle(outcome.Error(defect))


def _hold_back(slot: Slot, aggregate: Aggregate, due: int | None) -> None:
    """Applies the wait that effects asked for before the actor went dormant: the row is due later than the fold."""
    if due is None or not aggregate.asked or due <= min(moment for moment, _ in aggregate.asked):
        return
    for moment, effect in aggregate.asked:
        if moment < due and effect.id not in slot.effects:
            slot.again.setdefault(effect.id, due)
