"""A toy kind and short ways to append to a log, for the tests of the log on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from perdure.events.codec import Codec
from perdure.events.event import EncodedEvent, Event, Origin
from perdure.store.records import Append, Appended, Claim, CostRow, ItemRow, Standing
from perdure.store.sqlite import SqliteLog

AT = 1_700_000_000_000_000


class Opened(Event, tag="opened", frozen=True):
    """The actor began."""

    name: str = ""


class Added(Event, tag="added", frozen=True):
    """A number was added; `items`, `blobs`, `released`, `claims` and `cost` go to the read models."""

    by: int = 0
    items: Sequence[ItemRow] = ()
    claims: Sequence[Claim] = ()
    blobs: Sequence[str] = ()
    released: Sequence[str] = ()
    cost: CostRow | None = None


class Ended(Event, tag="ended", frozen=True):
    """The actor ended."""


CODEC: Codec[Event] = Codec("toy", [Opened, Added, Ended])


class Sum(Struct):
    """The state of a toy."""

    total: int = 0
    version: int = 0
    ended: bool = False
    misplaced: int = 0


class Index(Struct, frozen=True):
    """What an event adds to the read models."""

    items: Sequence[ItemRow] = ()
    references: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    released: Sequence[str] = ()
    cost: CostRow | None = None


class Toy:
    """Folds toys."""

    name = "toy"
    fold = 1
    codec: Codec[Any] = CODEC

    def initial(self, actor: str, tenant: str) -> Sum:
        """An empty sum."""
        return Sum()

    def evolve(self, state: Sum, event: Event, at: int) -> Sum:
        """Adds."""
        state.version += 1
        if state.ended:
            state.misplaced += 1
        elif isinstance(event, Added):
            state.total += event.by
        elif isinstance(event, Ended):
            state.ended = True
        return state

    def standing(self, state: Sum) -> Standing:
        """Running until it ended."""
        return Standing(
            status="ended" if state.ended else "running",
            fold=self.fold,
            next_due=None if state.ended else AT,
            terminal=state.ended,
            progress=str(state.total),
        )

    def index(self, event: Event) -> Index:
        """What the event carries."""
        return (
            Index(event.items, event.blobs, event.claims, event.released, event.cost)
            if isinstance(event, Added)
            else Index()
        )

    def anomalies(self, state: Sum) -> int:
        """Events after the end."""
        return state.misplaced


TOY = Toy()


class Hand:
    """Appends to one toy and keeps its state, as the runtime would."""

    def __init__(self, actor: str, *, tenant: str = "", tags: Mapping[str, str] | None = None) -> None:
        self.actor = actor
        self.tenant = tenant
        self.tags = dict(tags or {})
        self.state = TOY.initial(actor, tenant)
        self.version = 0

    def events(self, *events: Event, key: str | None = None, release_key: bool = False, trace: str = "") -> Append:
        """The append of `events`; the state is as if they were written."""
        items: list[ItemRow] = []
        references: list[str] = []
        claims: list[Claim] = []
        released: list[str] = []
        costs: list[tuple[int, CostRow]] = []
        for place, event in enumerate(events):
            self.state = TOY.evolve(self.state, event, AT)
            items.extend(TOY.index(event).items)
            references.extend(TOY.index(event).references)
            claims.extend(TOY.index(event).claims)
            released.extend(TOY.index(event).released)
            cost = TOY.index(event).cost
            if cost is not None:
                costs.append((place, cost))
        expected, self.version = self.version, self.version + len(events)
        return Append(
            actor=self.actor,
            kind="toy",
            tenant=self.tenant,
            expected_version=expected,
            events=[CODEC.encode(event, AT) for event in events],
            standing=TOY.standing(self.state),
            origin=Origin(trace=trace),
            key=key,
            release_key=release_key,
            items=items,
            claims=claims,
            references=references,
            released=released,
            costs=costs,
        )

    async def add(self, log: SqliteLog, *numbers: int, key: str | None = None) -> Appended:
        """Appends an `Added` for each number."""
        return await log.append(self.events(*(Added(by=number) for number in numbers), key=key))


def append(actor: str, expected: int, *, count: int = 1, size: int = 10, **more: Any) -> Append:
    """An append of `count` events of about `size` bytes."""
    body = b'{"event":"opened","name":"' + b"x" * size + b'"}'
    events = [EncodedEvent("opened", 1, AT, body)] * count
    standing = more.pop("standing", Standing(status="running", fold=1, next_due=None))
    tenant = more.pop("tenant", "")
    return Append(
        actor=actor, kind="toy", tenant=tenant, expected_version=expected, events=events, standing=standing, **more
    )


def listing(directory: Path) -> dict[str, tuple[int, int]]:
    """Name to mode and size of the files in a directory."""
    return {file.name: (file.stat().st_mode & 0o777, file.stat().st_size) for file in directory.iterdir()}


def tamper(path: Path, statement: str, *values: Any) -> None:
    """Changes a closed log behind its back."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(statement, values)
    finally:
        connection.close()
