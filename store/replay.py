"""Replay: an actor's state at any version, from its events alone.

Folding does no I/O by construction, so any log can be replayed with today's code, in any process, with nothing started
and nothing bought. What is folded is a `Foldable`: a kind of actor as replay and verification see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from perdure.events.codec import Codec
from perdure.events.errors import NotFound
from perdure.events.event import Event
from perdure.store.log import LogReader
from perdure.store.records import Claim, CostRow, ItemRow, Standing

S = TypeVar("S")

PAGE_EVENTS = 2_000
"""Events read at a time, so that a long stream is never in memory whole."""


class Indexed(Protocol):
    """What one event adds to the read models."""

    @property
    def items(self) -> Sequence[ItemRow]:
        """Numbered items; a later row of a number replaces all but an empty name."""
        ...

    @property
    def references(self) -> Sequence[str]:
        """Digests of the blobs that the event names."""
        ...

    @property
    def released(self) -> Sequence[str]:
        """Digests of blobs that earlier events named and that the actor has no use for any more."""
        ...

    @property
    def claims(self) -> Sequence[Claim]:
        """Keys of single items."""
        ...

    @property
    def cost(self) -> CostRow | None:
        """What the event says that something cost."""
        ...


class Foldable(Protocol[S]):
    """A kind of actor as far as folding goes. None of it reads a clock, draws a number or does I/O."""

    name: str
    """The kind."""
    fold: int
    """Raised whenever folding may give another answer; rows written under another number are not compared."""
    codec: Codec[Any]

    def initial(self, actor: str, tenant: str) -> S:
        """The state before the first event."""
        ...

    def evolve(self, state: S, event: Event, at: int, /) -> S:
        """The state after `event`, which happened at `at` (µs since 1970, UTC). Owns `state`; never raises."""
        ...

    def standing(self, state: S, /) -> Standing:
        """What the actor's row should say."""
        ...

    def index(self, event: Event, /) -> Indexed:
        """What `event` adds to the read models."""
        ...


@runtime_checkable
class CountsAnomalies(Protocol):
    """A `Foldable` that counts the events which it could not place, instead of hiding them."""

    def anomalies(self, state: Any, /) -> int:
        """How many events of this actor could not be placed."""
        ...


@runtime_checkable
class KeepsSnapshots(Protocol):
    """A `Foldable` whose states are kept as snapshots, so that they can be compared with the fold."""

    def snapshot(self, state: Any, /) -> bytes:
        """The snapshot that is kept of this state."""
        ...


def by_kind(folds: Iterable[Foldable[Any]]) -> Mapping[str, Foldable[Any]]:
    """`folds` by the name of their kind. Raises `ValueError` for two of one kind."""
    found: dict[str, Foldable[Any]] = {}
    for fold in folds:
        if found.setdefault(fold.name, fold) is not fold:
            raise ValueError(f"two folds for kind {fold.name!r}: give one")
    return found


async def state_at(
    log: LogReader, actor: str, folds: Iterable[Foldable[Any]], *, version: int | None = None, time: int | None = None
) -> tuple[int, Any]:
    """An actor's version and state as they were after `version`, or at `time` (µs since 1970, UTC), or are now.

    Raises `NotFound` (no such actor, or no fold for its kind) and `UndecodableEvent`.
    """
    folded = 0
    state: Any = None
    fold: Foldable[Any] | None = None
    while version is None or folded < version or fold is None:
        until = folded + PAGE_EVENTS if version is None else min(folded + PAGE_EVENTS, version)
        streams = await log.load([actor], after=folded, until=until)
        if not streams:
            raise NotFound(f"there is no actor {actor}", id=actor)
        row, events = streams[0].row, streams[0].events
        if fold is None:
            fold = by_kind(folds).get(row.kind)
            if fold is None:
                raise NotFound(f"nothing here folds actors of kind {row.kind!r}", id=actor)
            state = fold.initial(actor, row.tenant)
        for number, at, payload in events:
            if time is not None and at > time:
                return folded, state
            state = fold.evolve(state, fold.codec.decode(payload), at)
            folded = number
        if folded < until:
            break
    return folded, state
