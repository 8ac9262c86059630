"""A subscription: following the log from a place that outlives the subscriber.

Nobody waits for a subscriber and nothing is queued for one: it reads the log at its own pace, a page at a time, and
what it has not read costs nothing. The invariant: the saved place is never ahead of what the subscriber called `done`,
so a record may be seen twice and none is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any, Final, Literal

import trio
from msgspec import Struct

from perdure.events.codec import Codec
from perdure.events.errors import InvalidRequest, PerdureError
from perdure.store.cursor import cursor_after, position_of
from perdure.store.cursor_store import CursorStore
from perdure.store.log import LogReader
from perdure.store.recorded_event import RecordedEvent, with_event

Start = Literal["beginning", "now"]
"""Where a subscriber begins that has no saved place: before the first record of the log, or behind the last."""

SAVE_EVERY_S: Final = 1.0
"""A save costs a commit (in a file: an fsync): at most one a second, and a crash repeats what was done since."""

LEAVE_S: Final = 5.0
"""How long the last save may hold up whoever leaves."""


class Selection(Struct, frozen=True):
    """Which records are asked for. None: all."""

    actor: str | None = None
    kind: str | None = None
    tags: Collection[str] | None = None

    def __contains__(self, record: RecordedEvent) -> bool:
        return (
            self.actor in (None, record.actor)
            and self.kind in (None, record.kind)
            and (self.tags is None or record.is_one_of(self.tags))
        )


class Tail:
    """The iterator of `EventLog.tail`. Not a generator: one that is left half-way needs no closing."""

    def __init__(
        self, log: LogReader, codecs: Mapping[str, Codec[Any]], after: str | int, selection: Selection
    ) -> None:
        self._log = log
        self._codecs = codecs
        self._selection = selection
        self._records = log.follow(after=place_of(log, after), actor=selection.actor)
        self._unchecked = after

    def __aiter__(self) -> Tail:
        return self

    async def __anext__(self) -> RecordedEvent:
        while (record := await self.any_next()) not in self._selection:
            pass
        return record

    async def any_next(self) -> RecordedEvent:
        """The next record, asked for or not. Nothing is lost when it is cancelled."""
        if self._unchecked:
            await check_reached(self._log, self._unchecked)
            self._unchecked = 0
        return with_event(await anext(self._records), self._log.log_id, self._codecs)


class Subscription:
    """What `EventLog.subscribe` gives: an async context manager and, inside it, an async iterator without an end.

    For one task. Leaving the block saves the place, also when it is left by an exception or a cancellation.
    """

    def __init__(
        self,
        log: LogReader,
        codecs: Mapping[str, Codec[Any]],
        store: CursorStore,
        selection: Selection,
        *,
        start: Start,
        save_every_s: float,
    ) -> None:
        self._log = log
        self._codecs = codecs
        self._store = store
        self._selection = selection
        self._start = start
        self._save_every_s = save_every_s
        self._given = self._done = self._saved = 0
        self._save_at = 0.0
        self._tail: Tail | None = None

    async def __aenter__(self) -> Subscription:
        cursor = await self._store.load()
        if cursor is None:
            cursor = cursor_after(self._log.log_id, 0 if self._start == "beginning" else await self._log.head())
            # "now" is this moment for good: what comes from here on is not missed, even if nothing is ever done.
            await self._store.save(cursor)
        self._given = self._done = self._saved = position_of(self._log.log_id, cursor)
        self._save_at = trio.current_time() + self._save_every_s
        await check_reached(self._log, cursor)
        self._tail = Tail(self._log, self._codecs, self._saved, self._selection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tail = None
        with trio.move_on_after(LEAVE_S, shield=True):
            try:
                await self._save()
            except PerdureError:
                if error is None:  # else the place stays behind, which only repeats, and `error` tells more
                    raise

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> RecordedEvent:
        """The next record that is asked for. Waits for it; what was done is saved meanwhile, when that is due.

        Raises as saving does, and `Corrupt` for records that cannot be read.
        """
        if self._tail is None:
            raise RuntimeError("a subscription is read inside its own `async with`")
        while True:
            with trio.move_on_at(self._save_at if self._done > self._saved else float("inf")):
                record = await self._tail.any_next()
                if record in self._selection:
                    self._given = record.position
                    return record
                if self._done == self._given:
                    self._given = self._done = record.position  # nobody wants it: not looked at again either
                continue
            await self._save()

    async def done(self, record: RecordedEvent) -> None:
        """Says that `record` and all before it are dealt with: they are not given again once the place is saved.

        The place is saved at most once every `save_every_s` seconds and when the block is left; with 0, it is durable
        when this returns. Raises as saving does (nothing is lost then: call it again, or go on).
        """
        self._done = max(self._done, record.position)
        if self._done > self._saved and trio.current_time() >= self._save_at:
            await self._save()
        else:
            await trio.lowlevel.checkpoint()

    async def _save(self) -> None:
        done = self._done
        if done > self._saved:
            await self._store.save(cursor_after(self._log.log_id, done))
            self._saved = done
            self._save_at = trio.current_time() + self._save_every_s


def place_of(log: LogReader, after: str | int) -> int:
    """The position that a cursor (or a position) means. Raises `InvalidRequest`, also for a cursor of another log."""
    return after if isinstance(after, int) else position_of(log.log_id, after)


async def check_reached(log: LogReader, after: str | int) -> None:
    """Raises `InvalidRequest` for a cursor behind the end of the log: it was handed out before the log lost its end.

    Waiting there would pass over whatever takes the lost positions. A bare position is not judged: any may be given.
    """
    if isinstance(after, str) and place_of(log, after) > await log.head():
        raise InvalidRequest(
            "this cursor lies behind the end of the log, which was restored from a backup or cut; begin at its start",
            field="after",
            value=after,
        )
