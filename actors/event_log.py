"""The log as an audit and an observer see it: what happened, in order, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from perdure.actors.replaying import Replayed, replay
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.subscription import SAVE_EVERY_S, Selection, Start, Subscription, Tail, check_reached, place_of
from perdure.events.codec import Codec, tag_of
from perdure.events.errors import InvalidRequest
from perdure.events.event import Event
from perdure.store.cursor import START
from perdure.store.cursor_store import CursorStore
from perdure.store.recorded_event import RecordedEvent, with_event
from perdure.store.replay import state_at
from perdure.store.sqlite.log import SqliteLog
from perdure.store.sqlite.reader import SqliteReader
from perdure.store.sqlite.tracking import TrackedCursor
from perdure.store.sqlite.verify import Verified

Types: TypeAlias = type[Event] | str | Collection[type[Event] | str] | None
"""Event classes, or tags as stored; None: all."""


class EventLog:
    """The log as an audit sees it: everything that happened, in order, and whether it can be trusted."""

    def __init__(self, log: SqliteReader, folds: Sequence[KindFold]) -> None:
        self._log = log
        self._folds = folds
        self._codecs: Mapping[str, Codec[Any]] = {fold.name: fold.codec for fold in folds}

    async def read(
        self,
        *,
        after: str | int = START,
        until: int | None = None,
        actor: str | None = None,
        kind: str | None = None,
        types: Types = None,
    ) -> AsyncGenerator[RecordedEvent]:
        """The records after `after`, up to position `until`, in order; at the end of the log it ends.

        `after` and the filters are those of `tail`.
        """
        selection = Selection(actor, kind, _tags(types))
        position, version = place_of(self._log, after), 0
        await check_reached(self._log, after)
        while True:
            if actor is None:
                page = await self._log.records(after=position, until=until)
            else:
                page = await self._log.stream(actor, after=version)
            for bare in page:
                if until is not None and bare.position > until:
                    return
                record = with_event(bare, self._log.log_id, self._codecs)
                if bare.position > position and record in selection:
                    yield record
                version = bare.version
            if not page:
                return
            position = max(position, page[-1].position)

    def tail(
        self,
        *,
        after: str | int = START,
        actor: str | None = None,
        kind: str | None = None,
        types: Types = None,
    ) -> AsyncIterator[RecordedEvent]:
        """The records after `after`, in the order in which they were committed, then those to come, for ever.

        `after` is the `cursor` of the last record that is behind you (a bare position is taken too). Only records of
        one actor, of one kind, of some `types` (event classes, or tags as stored). What was given is final: no record
        appears later before it. Positions have gaps.

        Raises `InvalidRequest` for a cursor of another log, or one behind the end of this one.
        """
        return Tail(self._log, self._codecs, after, Selection(actor, kind, _tags(types)))

    def subscribe(
        self,
        name: str | CursorStore,
        /,
        *,
        start: Start = "beginning",
        actor: str | None = None,
        kind: str | None = None,
        types: Types = None,
        save_every_s: float = SAVE_EVERY_S,
    ) -> Subscription:
        """A `tail` whose place is durable, so that a subscriber that was down misses nothing: at least once, in order.

            async with service.log.subscribe("billing") as records:
                async for record in records:
                    ...
                    await records.done(record)

        A service keeps the place in the log, under `name`. Who only reads the log gives a place of its own, such as
        `FileCursor(path)`. A subscriber that has none yet begins at `start`. The place is saved at most once every
        `save_every_s` seconds, and when the block is left; what was done since the last save comes again after a crash.

        Raises `InvalidRequest`; on entering also what the store raises.
        """
        if isinstance(name, str):
            if not isinstance(self._log, SqliteLog):
                raise InvalidRequest(
                    "who only reads a log cannot keep a place in it: subscribe with FileCursor(path)", field="name"
                )
            if not name:
                raise InvalidRequest("a subscriber needs a name", field="name")
            store: CursorStore = TrackedCursor(self._log, name)
        else:
            store = name
        if start not in ("beginning", "now"):
            raise InvalidRequest("a subscriber starts at the beginning or now", field="start", value=start)
        if not save_every_s >= 0:  # not a number, too
            raise InvalidRequest("save_every_s is a number of seconds", field="save_every_s", value=save_every_s)
        selection = Selection(actor, kind, _tags(types))
        return Subscription(self._log, self._codecs, store, selection, start=start, save_every_s=save_every_s)

    @property
    def id(self) -> str:
        """The log's id, which is part of every mark that is planted at a provider."""
        return self._log.log_id

    async def head(self) -> int:
        """The last durable position, 0 for an empty log."""
        return await self._log.head()

    async def replay(self) -> Replayed:
        """Folds every actor with today's code and compares it with its row; see `Replayed`."""
        return await replay(self._log, self._folds)

    async def verify(self, *, kept_head: str | None = None) -> Verified:
        """Checks the chain of all commits and folds every actor again; see `Verified`. Raises nothing for a bad log."""
        return await self._log.verify(self._folds, kept_head=kept_head)

    async def state(self, id: str, at: int | datetime | None = None) -> Any:
        """The state of an actor now, after version `at`, or at a time. Raises `NotFound`."""
        return (await self.folded(id, at))[1]

    async def folded(self, id: str, at: int | datetime | None = None) -> tuple[int, Any]:
        """The version and the state of an actor now, after version `at`, or at a time. Raises `NotFound`."""
        version = at if isinstance(at, int) else None
        time = int(at.timestamp() * 1_000_000) if isinstance(at, datetime) else None
        reached, aggregate = await state_at(self._log, id, self._folds, version=version, time=time)
        return reached, aggregate.state


def _tags(types: Types) -> Collection[str] | None:
    if types is None:
        return None
    several = (types,) if isinstance(types, (str, type)) else types
    return frozenset(one if isinstance(one, str) else tag_of(one) for one in several)
