"""What a kind of actor is: pure functions that judge, fold and ask, and one function that does I/O.

    command --> decide --> events --> log --> evolve --> state --> effects --> perform --> report (a command)

Nothing here knows a provider, a log or a socket. The invariant every kind keeps: `decide`, `evolve`, `effects`, `row`
and `index` touch no clock, no randomness and no I/O, and an event folds the same way for ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from perdure.actors.lane import LOCAL, Lane
from perdure.events.codec import Codec
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.store.records import Claim, CostRow, ItemRow


class Effect(Struct, frozen=True, kw_only=True):
    """Something that should be going on outside, given a state. Kinds subclass it with what `perform` needs to know.

    `id` is unique within the actor and changes with each attempt; the runtime never runs one id twice at a time.
    `not_before` is µs since 1970 UTC, 0 for now. A `purchase` costs money or leaves something at a provider;
    `intended` says that an intent without an outcome is on record, so a process died in between (or the outcome was
    unknown): reconcile, do not buy. `searchable` says that the identity can be found again at the provider.
    """

    id: str
    lane: Lane = LOCAL
    not_before: int = 0
    purchase: bool = False
    intended: bool = False
    searchable: bool = True


class Again(Struct, frozen=True):
    """What `perform` returns when it learnt nothing: run the same effect again `after_s` seconds from now.

    Nothing is written; the wait is a hint that may be lost, so an early repeat must be harmless.
    """

    after_s: float


class Row(Struct, frozen=True, kw_only=True):
    """What a kind says of its state for lists. `group` names what actors of one kind share, such as an open window."""

    status: str
    terminal: bool = False
    provider: str = ""
    group: str = ""
    tags: Mapping[str, str] = {}
    progress: str = ""
    keep_key: bool = True


class Index(Struct, frozen=True):
    """What an event adds to the read models: numbered items, keys that name single ones, digests of blobs it needs.

    `released` are digests of blobs that earlier events needed and that the actor will not read again. `cost` is what
    the event says that something cost. `known_as` are names that something outside has for the actor, such as the id of
    a batch at its provider: hints for finding it, which may be lost.
    """

    items: Sequence[ItemRow] = ()
    references: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    released: Sequence[str] = ()
    cost: CostRow | None = None
    known_as: Sequence[str] = ()


NO_INDEX = Index()

S = TypeVar("S")
F_contra = TypeVar("F_contra", bound=Effect, contravariant=True)


class Port(Protocol):
    """What a running effect is handed."""

    actor: str
    tenant: str
    trace: str

    async def report(self, command: Command) -> None:
        """Says what happened. Durable on return. Raises `Superseded` when the state no longer wants to hear it."""
        ...

    async def tell(self, kind: str, actor: str, command: Command) -> None:
        """Has another actor of the same tenant judge `command`; durable there when it returns.

        A repeat is answered as the first time: the receiver's `decide` sees to that.
        """
        ...

    def events(self, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """This actor's committed events after a version, then those to come: `(version, event)`."""
        ...

    def now(self) -> int:
        """The runtime's time: µs since 1970, UTC."""
        ...


class Kind(Protocol[S, F_contra]):
    """One kind of actor. `fold` is raised by hand whenever `evolve`, `effects` or `row` may answer differently."""

    name: str
    fold: int
    codec: Codec[Any]

    def initial(self, actor: str, tenant: str) -> S:
        """The state before the first event."""
        ...

    def decide(self, state: S, command: Command, at: int) -> Sequence[Event]:
        """What happens when `command` reaches `state` at `at` (µs since 1970 UTC). Raises only `Rejected` kinds."""
        ...

    def evolve(self, state: S, event: Event) -> S:
        """The state after `event`; owns `state` and may change it in place. Never raises."""
        ...

    def effects(self, state: S) -> Sequence[Effect]:
        """What should be going on outside now; at most some tens, in time of that order."""
        ...

    def row(self, state: S) -> Row:
        """What lists show of the state."""
        ...

    def index(self, event: Event) -> Index:
        """What `event` adds to the read models."""
        ...

    def weight(self, state: S) -> int:
        """About how many bytes the state holds in memory."""
        ...

    async def perform(self, effect: F_contra, port: Port) -> Again | None:
        """Does one effect. Whatever it raises counts as a failure of the effect: tried again after growing waits."""
        ...
