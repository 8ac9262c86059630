"""Views and handles: an operation as applications see it. Waiting for a result is a loop over the log.

A view keeps no actor in memory and holds no result: it reads, and when there is nothing yet it sleeps until a hint says
that something was committed. The same result comes out in every process, as often as one asks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, Protocol, TypeVar

import trio
from msgspec import Struct

from perdure.actors.batch.ports import BatchProvider
from perdure.actors.live import LiveProvider
from perdure.actors.looking import Looking
from perdure.actors.runtime.aggregate import Aggregate, KindFold
from perdure.actors.runtime.slot import Told
from perdure.events.command import Command, Revive
from perdure.events.errors import (
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OutcomeUncertain,
    Timeout,
)
from perdure.store.blobs import BlobReader
from perdure.store.log import LogReader
from perdure.store.recorded_event import RecordedEvent, with_event
from perdure.store.records import ActorRow
from perdure.store.replay import state_at

R_co = TypeVar("R_co", covariant=True)

Status = Literal["pending", "running", "blocked", "succeeded", "failed", "cancelled", "expired", "uncertain", "parked"]
ENDED = frozenset({"succeeded", "failed", "cancelled", "expired", "uncertain", "parked"})
"""Statuses that move on only when somebody acts."""


class Progress(Struct, frozen=True):
    """How far an operation is: `done` of `total` steps (lines of a batch), and why it waits, if it is blocked."""

    status: str
    done: int
    total: int
    note: str = ""


class Summary(Struct, frozen=True):
    """One operation in a list."""

    id: str
    kind: str
    key: str | None
    provider: str
    status: str
    created_at: datetime
    updated_at: datetime
    progress: Progress
    tags: Mapping[str, str]


class Backing(Protocol):
    """What a view reads from."""

    @property
    def log(self) -> LogReader:
        """The log."""
        ...

    @property
    def blobs(self) -> BlobReader:
        """The blobs beside the log."""
        ...

    @property
    def folds(self) -> Sequence[KindFold]:
        """The kinds that can be folded here."""
        ...

    @property
    def providers(self) -> Mapping[str, BatchProvider]:
        """The providers whose batches can be read here."""
        ...

    @property
    def live(self) -> Mapping[str, LiveProvider]:
        """The providers whose answers to single requests can be read here."""
        ...

    @property
    def looking(self) -> Looking:
        """Reads rows, short streams and lines together with whoever reads at the same time."""
        ...

    def signal(self, actor: str, item: int | None = None) -> trio.Event:
        """An event that the next commit of `actor` (that touches `item`) sets; take it before reading."""
        ...

    def check_open(self) -> None:
        """Raises `Closed` when nothing more will happen here."""
        ...


class Teller(Backing, Protocol):
    """What a handle acts through."""

    async def tell(self, row: ActorRow, command: Command) -> Told:
        """Has the actor judge a command."""
        ...


def moment(at_us: int) -> datetime:
    """A time of the log as a datetime, UTC."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)


def progress_of(row: ActorRow) -> Progress:
    """The progress that a row tells: "done/total note"."""
    counts, _, note = row.standing.progress.partition(" ")
    done, _, total = counts.partition("/")
    known = done.isdigit() and total.isdigit()
    return Progress(row.standing.status, int(done) if known else 0, int(total) if known else 0, note)


def summary_of(row: ActorRow) -> Summary:
    """A row as an entry of a list."""
    return Summary(
        id=row.actor,
        kind=row.kind,
        key=row.key,
        provider=row.standing.provider,
        status=row.standing.status,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
        progress=progress_of(row),
        tags=row.standing.tags,
    )


class View(ABC, Generic[R_co]):
    """An operation, as any process sees it. `status` and `progress` are as of the last look; looking is free."""

    def __init__(self, backing: Backing, row: ActorRow) -> None:
        self._backing = backing
        self._row = row

    @property
    def id(self) -> str:
        """The operation's id."""
        return self._row.actor

    @property
    def kind(self) -> str:
        """The kind of actor behind it."""
        return self._row.kind

    @property
    def key(self) -> str | None:
        """The caller's key, or None."""
        return self._row.key

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._row.standing.provider

    @property
    def created_at(self) -> datetime:
        """When its first event happened, UTC."""
        return moment(self._row.created_at)

    @property
    def status(self) -> str:
        """One of `Status`, as of the last look."""
        return self._row.standing.status

    @property
    def progress(self) -> Progress:
        """How far it is, as of the last look."""
        return progress_of(self._row)

    @property
    def tags(self) -> Mapping[str, str]:
        """What its caller tagged it with."""
        return self._row.standing.tags

    async def refresh(self) -> str:
        """Looks again and returns the status."""
        self._row = await self._backing.looking.row(self.id)
        return self.status

    async def result(self, *, timeout_s: float | None = None) -> R_co:
        """The result: the same every time, in every process.

        Raises `OperationFailed`, `OperationCancelled`, `OperationExpired`, `OutcomeUncertain`; `Timeout` after
        `timeout_s` seconds (the operation goes on); `Closed` when the service stops first.
        """
        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            await self.ended()
            return await self._result()
        raise Timeout(
            f"{self.id} had no result within {timeout_s} s: it goes on; ask again by its id"
            + (f" or its key {self.key!r}" if self.key else "")
        )

    async def ended(self) -> str:
        """Waits until the operation has come to an end, of whatever kind; returns the status. Raises `Closed`."""
        return await self._until(lambda row: row.standing.status in ENDED)

    async def events(self, *, after: int = 0, follow: bool = True) -> AsyncGenerator[RecordedEvent]:
        """The history after version `after`, then what comes (with `follow`), to the last event of a finished one."""
        codecs = {fold.name: fold.codec for fold in self._backing.folds}
        while True:
            signal = self._signal()
            page = await self._backing.log.stream(self.id, after=after)
            for record in page:
                yield with_event(record, self._backing.log.log_id, codecs)
                after = record.version
            if page:
                continue
            await self.refresh()
            if not follow or (self._row.standing.terminal and self._row.version <= after):
                return
            self._backing.check_open()
            await signal.wait()

    async def progress_updates(self) -> AsyncGenerator[Progress]:
        """Progress whenever it has changed, the latest only, until the operation has come to an end."""
        shown: Progress | None = None
        while True:
            signal = self._signal()
            await self.refresh()
            if self.progress != shown:
                shown = self.progress
                yield shown
            if self.status in ENDED:
                return
            self._backing.check_open()
            await signal.wait()

    async def state(self, *, at: int | datetime | None = None) -> Any:
        """The state as folded from the log: now, after version `at`, or at a time. A value of one's own."""
        return (await self._fold(at)).state

    def _signal(self) -> trio.Event:
        """An event that is set when looking again may show something new; take it before reading."""
        return self._backing.signal(self.id)

    def _stream(self) -> str:
        """The actor whose stream tells about this operation."""
        return self.id

    async def _fold(self, at: int | datetime | None = None) -> Aggregate:
        version = at if isinstance(at, int) else None
        time = int(at.timestamp() * 1_000_000) if isinstance(at, datetime) else None
        _, aggregate = await state_at(
            self._backing.log, self._stream(), self._backing.folds, version=version, time=time
        )
        folded: Aggregate = aggregate
        return folded

    async def _until(self, reached: Callable[[ActorRow], bool]) -> str:
        while True:
            signal = self._signal()
            await self.refresh()
            if reached(self._row):
                return self.status
            self._backing.check_open()
            await signal.wait()

    async def _result(self) -> R_co:
        """The value of an ended operation; kinds with a richer one override `_value`."""
        status = self.status
        if status == "succeeded":
            return await self._value()
        raise await self._failure(status)

    @abstractmethod
    async def _value(self) -> R_co:
        """What `result` returns for an operation that succeeded."""

    async def _reason(self) -> str:
        """Why the operation ended as it did, in one line."""
        return ""

    async def _failure(self, status: str) -> Exception:
        reason = await self._reason()
        if status == "cancelled":
            return OperationCancelled(f"{self.id} was cancelled{reason and ': ' + reason}", id=self.id)
        if status == "expired":
            return OperationExpired(f"{self.id} expired{reason and ': ' + reason}", id=self.id)
        if status == "uncertain":
            return OutcomeUncertain(
                f"whether {self.provider} took {self.id} cannot be told: look there, then resubmit() or cancel()",
                id=self.id,
                policy="fail",
            )
        if status == "parked":
            parked = (await self._fold()).supervision.parked
            reason = f"it is parked after effect {parked.effect!r} failed too often: {parked.error}" if parked else ""
        return OperationFailed(f"{self.id} failed: {reason or 'no reason is on record'}", id=self.id, cause=reason)


class Handle(View[R_co]):
    """An operation of a running service: a view that can also act."""

    def __init__(self, backing: Teller, row: ActorRow) -> None:
        super().__init__(backing, row)
        self._teller = backing

    async def cancel(self, *, wait: bool = False) -> Literal["cancelled", "requested", "too_late"]:
        """Asks for the end; durable when it returns. What the provider has is cancelled there first.

        With `wait` it returns once the operation has come to its end. Asking again changes nothing.
        """
        await self.refresh()
        if self.status in ("succeeded", "failed", "expired"):
            return "too_late"
        told = await self._teller.tell(self._row, self._cancel_command())
        status = await self.ended() if wait else told.status
        if status == "cancelled":
            return "cancelled"
        return "too_late" if status in ("succeeded", "failed", "expired") else "requested"

    async def resubmit(self) -> None:
        """Buys again what is uncertain, or revives what is parked: a new attempt, on record. Raises `Rejected`."""
        await self.refresh()
        command = Revive() if self.status == "parked" else self._resubmit_command()
        await self._teller.tell(self._target(), command)

    async def resume(self) -> None:
        """Tries a blocked operation again now: its key or its quota may have changed."""
        await self._teller.tell(self._target(), self._resume_command())

    def _target(self) -> ActorRow:
        """The actor that is told."""
        return self._row

    @abstractmethod
    def _cancel_command(self) -> Command:
        """The command that ends the operation."""

    @abstractmethod
    def _resubmit_command(self) -> Command:
        """The command that buys again what is in doubt."""

    @abstractmethod
    def _resume_command(self) -> Command:
        """The command that tries a blocked operation again."""
