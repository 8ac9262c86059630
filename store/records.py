"""What goes into the log and comes out of it, apart from the events themselves: plain rows, no SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from perdure.events.event import EncodedEvent, Origin


class Standing(Struct, frozen=True, kw_only=True):
    """Where an actor stands after its last event: what a kind's `row(state)` says, plus what the runtime adds.

    Written in the transaction of the events it follows from. `next_due` is the earliest `not_before` of everything the
    state asks for (µs since 1970 UTC; the past means now), None only where it asks for nothing. `fold` is the kind's
    fold number at the time of writing.
    """

    status: str
    fold: int
    next_due: int | None
    terminal: bool = False
    provider: str = ""
    group: str = ""
    tags: Mapping[str, str] = {}
    progress: str = ""


class ActorRow(Struct, frozen=True, kw_only=True):
    """An actor as the log lists it. Times are µs since 1970, UTC."""

    actor: str
    kind: str
    tenant: str
    key: str | None
    version: int
    created_at: int
    updated_at: int
    standing: Standing


class ItemRow(Struct, frozen=True, gc=False):
    """One numbered part of an actor's work and where its bytes lie; a later row of the same number replaces all fields
    but `name`, which an empty string leaves as it was, and `tags` (a JSON object, "" for none), which stay."""

    number: int
    name: str
    status: str
    blob: str
    offset: int
    length: int
    tags: str = ""


class CostRow(Struct, frozen=True, gc=False, kw_only=True):
    """What an event says that something cost: `amount` in ticks of 1e-10 US dollars for so many `requests`.

    `source` is `unknown` where no price was known. `lines` are the numbers of the items that it is made up of, with
    what each cost; empty where nobody asks for one by itself. Tokens are None where none were reported.
    """

    provider: str
    model: str
    credential: str
    tier: str
    source: str
    amount: int
    requests: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    lines: Sequence[tuple[int, int]] = ()


class Claim(Struct, frozen=True, gc=False):
    """A key that belongs to one numbered item of an actor, and the digest of the request that claimed it."""

    key: str
    number: int
    digest: str


class Holder(Struct, frozen=True, gc=False):
    """Who holds a key: an actor, or one of its items (`number` is then not None) with its request's digest."""

    actor: str
    number: int | None = None
    digest: str = ""


class Append(Struct, kw_only=True):
    """Everything one actor adds to the log at once: all of it becomes durable, or none.

    `key` is claimed for (tenant, key) with the actor's first event; `release_key` gives it back. `claims` are keys of
    single items, claimed for the same namespace. `references` are the digests of the blobs that the events name,
    `released` of those that the actor names no more: unless another one does, a sweep may remove them. No digest stands
    in both. `costs` are what some of `events` say that something cost, each with its event's place among them.
    `known_as` are names that something outside has for the actor from now on. `snapshot` replaces the actor's snapshot,
    as of the last of `events`.
    """

    actor: str
    kind: str
    tenant: str
    expected_version: int
    events: Sequence[EncodedEvent]
    standing: Standing
    origin: Origin = Origin()
    key: str | None = None
    release_key: bool = False
    items: Sequence[ItemRow] = ()
    claims: Sequence[Claim] = ()
    references: Sequence[str] = ()
    released: Sequence[str] = ()
    costs: Sequence[tuple[int, CostRow]] = ()
    known_as: Sequence[str] = ()
    snapshot: bytes | None = None


class Appended(Struct, frozen=True, gc=False):
    """The answer to an append that is durable: the position of its last event and the actor's version after it."""

    position: int
    version: int


class KeyTaken(Exception):
    """`key` belongs to `holder` already. Nothing of this append was written."""

    def __init__(self, key: str, holder: Holder) -> None:
        super().__init__(f"the key belongs to {holder.actor}")
        self.key = key
        self.holder = holder


class Stream(Struct, frozen=True):
    """An actor's row and its events after some version, read in one go: `(version, at, payload)` in order.

    `snapshot`, where it was asked for and there is one, is what the events go on from.
    """

    row: ActorRow
    events: Sequence[tuple[int, int, bytes]]
    snapshot: bytes | None = None
