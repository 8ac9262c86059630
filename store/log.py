"""The log as the runtime sees it: a protocol that each backend implements.

An append is durable when `append` returns. Reads see committed records only. Nothing here starts an effect.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from perdure.events.event import Recorded
from perdure.store.records import ActorRow, Append, Appended, Holder, ItemRow, Standing, Stream

CommitListener: TypeAlias = Callable[[Sequence[tuple[Append, Appended]]], None]
"""Told of each commit on the trio thread, before its appends return. Must be quick and must not raise."""


FARTHEST_AHEAD_US: Final = 7_200_000_000
"""How far a clock may be fast and still be believed by those who come after it, in µs: an hour or two is a mistake with
time zones, more is a clock that was in another year."""


class LogReader(Protocol):
    """Reads a log; any number of processes may, while one writes it."""

    log_id: str
    """`log_` and a UUID: part of every identity planted at a provider."""

    async def row(self, actor: str) -> ActorRow | None:
        """The actor's row, or None."""
        ...

    async def find_key(self, tenant: str, key: str) -> Holder | None:
        """Who holds `key`, or None."""
        ...

    async def find_keys(self, tenant: str, keys: Sequence[str]) -> Mapping[str, Holder]:
        """Who holds each of these keys, in one read; those that nobody holds are left out."""
        ...

    async def rows(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        provider: str | None = None,
        tenant: str | None = None,
        group: str | None = None,
        tag: tuple[str, str] | None = None,
        after: str | None = None,
        limit: int = 500,
    ) -> Sequence[ActorRow]:
        """A page of rows, newest actor first; pass the last row's `actor` as `after` for the next page."""
        ...

    async def load(self, actors: Sequence[str], *, after: int = 0, until: int | None = None) -> Sequence[Stream]:
        """Rows and events of several actors in one read; actors that do not exist are left out."""
        ...

    async def stream(self, actor: str, *, after: int = 0, limit: int = 1_000) -> Sequence[Recorded]:
        """A page of one actor's records with their envelopes, in order of version."""
        ...

    async def records(self, *, after: int = 0, until: int | None = None, limit: int = 1_000) -> Sequence[Recorded]:
        """A page of the whole log in order of position. Positions have gaps."""
        ...

    def follow(self, *, after: int = 0, actor: str | None = None) -> AsyncIterator[Recorded]:
        """All records after a position (of one actor, or of all), then those to come, for ever."""
        ...

    async def head(self) -> int:
        """The last durable position, 0 for an empty log."""
        ...

    async def items(self, actor: str, *, first: int, last: int) -> Sequence[ItemRow]:
        """The item rows with numbers from `first` to `last`, both included, in order."""
        ...

    async def items_by_number(self, actor: str, numbers: Sequence[int]) -> Mapping[int, ItemRow]:
        """The item rows of some numbers."""
        ...

    async def item_named(self, actor: str, name: str) -> ItemRow | None:
        """The item row with this name, or None."""
        ...


class Log(LogReader, Protocol):
    """Reads and writes a log. There is one in the world for each log at any time."""

    @property
    def healthy(self) -> bool:
        """False once a commit ended without a certain outcome: nothing is written any more until a restart."""
        ...

    def append(self, append: Append) -> Coroutine[Any, Any, Appended]:
        """Makes `append` durable together with whatever else waits (group commit). Not cancelled once handed over.

        Raises `KeyTaken` and `VersionConflict` (this append alone was not written), `DiskFull` and other `Unavailable`
        (certainly not written), `OutcomeUnknown` (it cannot be told; the log is unhealthy from here on), `Closed`.
        """
        ...

    def move_due(self, actor: str, next_due: int) -> None:
        """Moves an actor's due time: a hint that rides with the next commit and may be lost. Never blocks."""
        ...

    async def resume(self, actors: Sequence[str], *, folds: Mapping[str, int]) -> Sequence[Stream]:
        """As `load`, but from each actor's snapshot on where one was written under its kind's number in `folds`."""
        ...

    async def due(self, *, after: tuple[int, str] | None = None, limit: int = 500) -> Sequence[ActorRow]:
        """A page of the rows that wait for a time, earliest first; `after`: (next_due, actor) of the last seen."""
        ...

    async def known_as(self, name: str) -> Sequence[ActorRow]:
        """The actors that something outside knows by this name, oldest first. Names are hints: some may be missing."""
        ...

    async def outdated(self, kind: str, fold: int, *, limit: int = 500) -> Sequence[str]:
        """Actors of a kind whose row was written under another fold number, open ones first."""
        ...

    async def restate(self, rows: Mapping[str, Standing]) -> None:
        """Rewrites the standing of actors (`{actor: Standing}`) at their present version: after a change of fold."""
        ...
