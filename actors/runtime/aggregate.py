"""An actor's state as the fold of its stream: the kind's own state with the runtime's supervision beside it.

Used by the running service and, through `KindFold`, by replay and verification: both fold the same way or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from perdure.actors.kind import NO_INDEX, Effect, Index, Kind, Row
from perdure.actors.runtime.snapshot import Snapshot, decode_snapshot
from perdure.actors.runtime.supervision import Supervision
from perdure.events.codec import Codec
from perdure.events.command import Command, Revive
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.supervision import SUPERVISION_EVENTS, Revived
from perdure.store.records import Standing


class Aggregate:
    """One actor's folded state. It owns `state`, which `evolve` may change in place."""

    __slots__ = ("actor", "asked", "at", "kept", "kind", "state", "supervision", "tenant", "version")

    def __init__(self, kind: Kind[Any, Any], actor: str, tenant: str) -> None:
        self.kind = kind
        self.actor = actor
        self.tenant = tenant
        self.state: Any = kind.initial(actor, tenant)
        self.supervision = Supervision()
        self.version = 0
        self.kept = 0
        """The version of the newest snapshot."""
        self.at = 0
        self.asked: Sequence[tuple[int, Effect]] = ()

    def decide(self, command: Command, at: int) -> Sequence[Event]:
        """The events that `command` leads to; the runtime's own commands are judged here, all others by the kind."""
        if isinstance(command, Revive):
            if self.supervision.parked is None:
                raise Rejected(f"{self.actor} is not parked: there is nothing to revive", field="actor")
            return (Revived(),)
        return self.kind.decide(self.state, command, at)

    def evolve(self, event: Event, at: int) -> None:
        """Folds one event, which happened at `at` (µs since 1970, UTC)."""
        if isinstance(event, SUPERVISION_EVENTS):
            self.supervision.evolve(event)
        else:
            self.state = self.kind.evolve(self.state, event)
            if self.supervision.failures:
                self.supervision.forget(effect.id for effect in self.kind.effects(self.state))
        self.version += 1
        self.at = at

    def settle(self) -> Sequence[tuple[int, Effect]]:
        """Recomputes what the state asks for, `(due, effect)` each, after a run of events."""
        if self.supervision.parked is not None:
            self.asked = ()
        else:
            retry_at = self.supervision.retry_at
            self.asked = [
                (max(effect.not_before, retry_at(effect.id)), effect) for effect in self.kind.effects(self.state)
            ]
        return self.asked

    def snapshot(self) -> bytes:
        """All of it as of this version, to be kept beside the stream: see `snapshot.py`."""
        return msgspec.json.encode(
            Snapshot(
                version=self.version,
                at=self.at,
                state=msgspec.Raw(msgspec.json.encode(self.state)),
                failures=self.supervision.failures,
                parked=self.supervision.parked,
            )
        )

    def restore(self, payload: bytes) -> bool:
        """Goes on, while still at version 0, from where a snapshot left off. False, and nothing changed, if it cannot
        be read."""
        try:
            snapshot = decode_snapshot(payload)
            state: Any = msgspec.json.decode(snapshot.state, type=self.state.__class__)
        except msgspec.MsgspecError:
            return False
        self.state = state
        self.version = self.kept = snapshot.version
        self.at = snapshot.at
        self.supervision.failures = dict(snapshot.failures)
        self.supervision.parked = snapshot.parked
        return True

    def owes(self, effect: str) -> bool:
        """Whether `effect` is a purchase with its intent on record, which is owed while the actor is parked too."""
        return self.supervision.parked is not None and any(
            wanted.id == effect and wanted.purchase and wanted.intended for wanted in self.kind.effects(self.state)
        )

    def standing(self, row: Row | None = None, due_after: Callable[[], int | None] | None = None) -> Standing:
        """The actor's row after its last event; `settle` must have been called for it.

        `due_after` may give a later due time, where effects asked to be run again later; it never takes it away.
        """
        if row is None:
            row = self.kind.row(self.state)
        next_due = min((due for due, _ in self.asked), default=None) if self.asked else None
        if next_due is not None and due_after is not None:
            next_due = max(next_due, due_after() or 0)
        return Standing(
            status="parked" if self.supervision.parked is not None else row.status,
            fold=self.kind.fold,
            next_due=next_due,
            terminal=row.terminal,
            provider=row.provider,
            group=row.group,
            tags=row.tags,
            progress=row.progress,
        )


class KindFold:
    """A kind as replay and verification see it: something that folds a stream and says what its row should be."""

    def __init__(self, kind: Kind[Any, Any]) -> None:
        self.name = kind.name
        self.fold = kind.fold
        self.codec: Codec[Any] = kind.codec
        self._kind = kind

    def initial(self, actor: str, tenant: str) -> Aggregate:
        """The aggregate before its first event."""
        return Aggregate(self._kind, actor, tenant)

    def evolve(self, aggregate: Aggregate, event: Event, at: int = 0) -> Aggregate:
        """The aggregate after `event`."""
        aggregate.evolve(event, at)
        return aggregate

    def standing(self, aggregate: Aggregate) -> Standing:
        """What the actor's row should say now."""
        aggregate.settle()
        return aggregate.standing()

    def index(self, event: Event) -> Index:
        """What `event` adds to the read models."""
        return index_of(self._kind, event)

    def snapshot(self, aggregate: Aggregate) -> bytes:
        """What a snapshot of the aggregate holds."""
        return aggregate.snapshot()

    def anomalies(self, aggregate: Aggregate) -> int:
        """How many events the kind could not place, where it counts them."""
        return int(getattr(aggregate.state, "anomalies", 0))


def index_of(kind: Kind[Any, Any], event: Event) -> Index:
    """What `event` adds to the read models; the runtime's own events add nothing."""
    return NO_INDEX if isinstance(event, SUPERVISION_EVENTS) else kind.index(event)
