"""One turn of an actor: judge what waits, append all that happened in one call, then answer.

The one invariant: no answer leaves before everything it was judged on is durable, rejections and "already done" too. A
failed append drops the state; it is folded again and the same entries are judged once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import outcome
from msgspec import Struct

from perdure.actors.runtime.aggregate import Aggregate, index_of
from perdure.actors.runtime.slot import Entry, Slot, Told
from perdure.events.command import Orphan
from perdure.events.errors import PerdureError, Rejected, Superseded
from perdure.events.event import EncodedEvent, Event, Origin
from perdure.store.records import Append, ItemRow, Standing

logger = logging.getLogger("perdure")


class Defect(PerdureError):
    """The code of a kind raised where it must not. The command was not recorded."""


class Verdict(Struct):
    """What a turn came to: the answers to give once `append` (None: nothing happened) is durable."""

    answers: list[tuple[Entry, outcome.Outcome[Told]]]
    ended: list[Entry]
    append: Append | None
    items: Sequence[ItemRow]


def judge(
    slot: Slot, aggregate: Aggregate, entries: Sequence[Entry], at: int, due_after: Callable[[], int | None]
) -> Verdict:
    """Decides `entries` in order on the state as evolved so far. Changes `aggregate`, writes nothing.

    `due_after` gives the actor's next due time after all of them, waits that effects asked for included.
    """
    kind = slot.kind
    before = aggregate.version
    encoded: list[EncodedEvent] = []
    items: list[ItemRow] = []
    references: list[str] = []
    answers: list[tuple[Entry, outcome.Outcome[Told]]] = []
    ended: list[Entry] = []
    key: str | None = None
    causation = ""
    stale = False

    def take_in(events: Sequence[Event]) -> None:
        for event in events:
            encoded.append(kind.codec.encode(event, at))
            aggregate.evolve(event, at)
            index = index_of(kind, event)
            items.extend(index.items)
            references.extend(index.references)

    for entry in entries:
        if entry.effect is not None and stale:
            aggregate.settle()
            stale = False
        try:
            if entry.command is None:
                events = _end(slot, aggregate, entry, at)
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
            take_in(events)
            stale = True
            key = key or entry.key
            if entry.effect is not None:
                causation = causation or entry.effect.effect.id
        answers.append((entry, outcome.Value(Told(aggregate.version, "", bool(events)))))
    append: Append | None = None
    if encoded:
        aggregate.settle()
        standing = aggregate.standing()
        if standing.next_due is not None:
            standing = _with_due(standing, due_after())
        first = next((entry for entry in entries if entry.command is not None), entries[0])
        append = Append(
            actor=slot.actor,
            kind=kind.name,
            tenant=slot.tenant,
            expected_version=before,
            events=encoded,
            standing=standing,
            origin=Origin(trace=first.trace, causation=causation, principal=first.principal),
            key=key if before == 0 else None,
            release_key=not aggregate.kind.row(aggregate.state).keep_key,
            items=items,
            references=references,
        )
    elif stale:
        aggregate.settle()
    status = "parked" if aggregate.supervision.parked is not None else kind.row(aggregate.state).status
    answers = [
        (entry, answer if isinstance(answer, outcome.Error) else outcome.Value(_with_status(answer.unwrap(), status)))
        for entry, answer in answers
    ]
    return Verdict(answers=answers, ended=ended, append=append, items=items)


def _report(aggregate: Aggregate, entry: Entry, at: int) -> Sequence[Event]:
    assert entry.effect is not None
    assert entry.command is not None
    effect = entry.effect.effect
    if any(asked.id == effect.id for _, asked in aggregate.asked):
        return aggregate.decide(entry.command, at)
    if entry.command.bought:
        return aggregate.decide(Orphan(effect=effect.id, report=entry.command), at)
    raise Superseded(
        f"{aggregate.actor} no longer asks for effect {effect.id!r}: its report was not recorded", field="effect"
    )


def _end(slot: Slot, aggregate: Aggregate, entry: Entry, at: int) -> Sequence[Event]:
    """What the end of an effect comes to: nothing, or one more failure if it is still asked for."""
    running = entry.effect
    assert running is not None
    if running.result is not None:
        slot.again[running.effect.id] = at + int(running.result.after_s * 1_000_000)
        return ()
    if running.cut or not any(asked.id == running.effect.id for _, asked in aggregate.asked):
        return ()
    error = running.error or "it ended without a report that changed what is asked for"
    return (aggregate.supervision.failed(running.effect.id, error, running.traceback, at),)


def _with_due(standing: Standing, due: int | None) -> Standing:
    if due is None or standing.next_due is None or due <= standing.next_due:
        return standing
    return Standing(
        status=standing.status,
        fold=standing.fold,
        next_due=due,
        terminal=standing.terminal,
        provider=standing.provider,
        group=standing.group,
        tags=standing.tags,
        progress=standing.progress,
    )


def _with_status(told: Told, status: str) -> Told:
    return Told(told.version, status, told.changed)
