"""One turn of an actor: judge what waits, append all that happened in one call, then answer.

The one invariant: no answer leaves before everything it was judged on is durable, rejections and "already done" too. A
failed append drops the state; it is folded again and the same entries are judged once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import outcome
from msgspec import Struct

from perdure.actors.runtime.aggregate import Aggregate, index_of
from perdure.actors.runtime.slot import Entry, Slot, Told
from perdure.actors.runtime.snapshot import EVERY as SNAPSHOT_EVERY
from perdure.events.command import Orphan
from perdure.events.errors import PerdureError, Rejected, Superseded
from perdure.events.event import EncodedEvent, Event, Origin
from perdure.events.supervision import EffectRecovered
from perdure.store.records import Append, Claim, CostRow, ItemRow

logger = logging.getLogger("perdure")


class Defect(PerdureError):
    """The code of a kind raised where it must not. The command was not recorded."""


class Verdict(Struct):
    """What a turn came to: the answers to give once `append` (None: nothing happened) is durable."""

    answers: list[tuple[Entry, outcome.Outcome[Told]]]
    ended: list[Entry]
    append: Append | None
    items: Sequence[ItemRow]
    claimants: Mapping[str, Entry]
    """The keys that are claimed, each with the command that claims it."""


def judge(
    slot: Slot,
    aggregate: Aggregate,
    entries: Sequence[Entry],
    at: int,
    now: int,
    due_after: Callable[[], int | None],
) -> Verdict:
    """Decides `entries` in order on the state as evolved so far. Changes `aggregate`, writes nothing.

    `at` dates what happens and never goes back; `now` is the clock as it is, from which waits count. `due_after` gives
    the actor's next due time after all of them, waits that effects asked for included. What the fold of a kind raises
    is not caught: the state is then neither the old nor the new one.
    """
    kind = slot.kind
    before = aggregate.version
    encoded: list[EncodedEvent] = []
    items: list[ItemRow] = []
    claims: list[Claim] = []
    claimants: dict[str, Entry] = {}
    references: dict[str, bool] = {}
    costs: list[tuple[int, CostRow]] = []
    known_as: list[str] = []
    answers: list[tuple[Entry, outcome.Outcome[Told]]] = []
    told: list[tuple[Entry, int, bool]] = []
    ended: list[Entry] = []
    creator: Entry | None = None
    causation = ""
    stale = False

    def take_in(events: Sequence[Event], entry: Entry) -> None:
        for event in events:
            encoded.append(kind.codec.encode(event, at))
            aggregate.evolve(event, at)
            index = index_of(kind, event)
            items.extend(index.items)
            if index.references or index.released:
                references.update(dict.fromkeys(index.references, True))
                references.update(dict.fromkeys(index.released, False))
            if index.cost is not None:
                costs.append((len(encoded) - 1, index.cost))
            known_as.extend(index.known_as)
            if index.claims:
                claims.extend(index.claims)
                claimants.update((claim.key, entry) for claim in index.claims)

    for entry in entries:
        if entry.effect is not None and stale:
            aggregate.settle()
            stale = False
        try:
            if entry.command is None:
                events = _end(slot, aggregate, entry, now)
                ended.append(entry)
            else:
                events = aggregate.decide(entry.command, at) if entry.effect is None else _report(aggregate, entry, at)
        except Rejected as refusal:
            answers.append((entry, outcome.Error(refusal)))
            continue
        except Exception as error:
            logger.exception("the code of kind %r failed on a command for %s", kind.name, slot.actor)
            answers.append(
                (entry, outcome.Error(Defect(f"kind {kind.name!r} failed on a command for {slot.actor}: {error!r}")))
            )
            continue
        if events:
            take_in(events, entry)
            stale = True
            if creator is None and entry.key is not None:
                creator = entry
            if entry.effect is not None:
                causation = causation or entry.effect.effect.id
        told.append((entry, aggregate.version, bool(events)))
    append: Append | None = None
    row = kind.row(aggregate.state)
    if encoded:
        aggregate.settle()
        standing = aggregate.standing(row, due_after)
        first = next((entry for entry in entries if entry.command is not None), entries[0])
        append = Append(
            actor=slot.actor,
            kind=kind.name,
            tenant=slot.tenant,
            expected_version=before,
            events=encoded,
            standing=standing,
            origin=Origin(trace=first.trace, causation=causation, principal=first.principal),
            key=creator.key if creator is not None and before == 0 else None,
            release_key=not row.keep_key,
            items=items,
            claims=claims,
            references=[digest for digest, named in references.items() if named],
            released=[digest for digest, named in references.items() if not named],
            costs=costs,
            known_as=known_as,
        )
        if append.key is not None and creator is not None:
            claimants[append.key] = creator
        if aggregate.version - aggregate.kept >= SNAPSHOT_EVERY:
            append.snapshot = aggregate.snapshot()
            aggregate.kept = aggregate.version
    status = "parked" if aggregate.supervision.parked is not None else row.status
    for entry, version, changed in told:
        answers.append((entry, outcome.Value(Told(version, status, changed))))
    return Verdict(answers=answers, ended=ended, append=append, items=items, claimants=claimants)


def _report(aggregate: Aggregate, entry: Entry, at: int) -> Sequence[Event]:
    assert entry.effect is not None
    assert entry.command is not None
    effect = entry.effect.effect
    if any(asked.id == effect.id for _, asked in aggregate.asked) or aggregate.owes(effect.id):
        return aggregate.decide(entry.command, at)
    if entry.command.bought:
        return aggregate.decide(Orphan(effect=effect.id, report=entry.command), at)
    raise Superseded(
        f"{aggregate.actor} no longer asks for effect {effect.id!r}: its report was not recorded", field="effect"
    )


def _end(slot: Slot, aggregate: Aggregate, entry: Entry, now: int) -> Sequence[Event]:
    """What the end of an effect comes to: nothing, one more failure if it is still asked for, or a recovery."""
    running = entry.effect
    assert running is not None
    effect = running.effect.id
    if running.result is not None:
        slot.again[effect] = now + max(0, int(running.result.after_s * 1_000_000))
        return (EffectRecovered(effect=effect),) if effect in aggregate.supervision.failures else ()
    if running.cut or not any(asked.id == effect for _, asked in aggregate.asked):
        return ()
    error = running.error or "it ended without a report that changed what is asked for"
    return (aggregate.supervision.failed(effect, error, running.traceback, now),)
