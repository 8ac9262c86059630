"""How a simulated video goes, at every provider: a pure function of what is recorded and of the time.

An operation waits for the first tenth of its time (`queued`), runs, and ends as `completed`, `failed` or `cancelled`.
Nothing is due for it when somebody looks: its bytes are made when they are fetched, by `shelf.py`. So ten thousand
that wait cost ten thousand rows. Providers add what they show to `Operation` and word its stages; what they share is
`OperationDesk`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Literal, Protocol, TypeVar

from msgspec import Struct, json
from msgspec.structs import replace

from perdure.adapters.simulator.storage import Page, Tables
from perdure.adapters.simulator.world import World

QUEUED_SHARE: Final = 0.1
"""The share of its time that an operation waits before it runs."""

FAILS_AT_SHARE: Final = 0.5
"""The share of its time after which an operation fails that does."""

DOWNLOAD_LIFE_S: Final = 3_600.0
"""How long a video can be fetched, in seconds (about an hour at OpenAI and xAI, `contracts/providers.md`)."""

Phase = Literal["queued", "running", "completed", "failed", "cancelled"]

ENDED: Final = frozenset[Phase]({"completed", "failed", "cancelled"})

_NEVER: Final = float("inf")


class Complaint(Struct, frozen=True):
    """Why an operation failed. `code` is one of the provider's words."""

    code: str
    message: str


class Mishap(Struct, frozen=True):
    """What goes wrong with one thing that is made.

    `fails`: it ends so, half-way. `stuck_at`: it stays at this share of its time. `expired`: what it made is gone as
    soon as it ends. `empty`: it ends well, and made nothing. `wrong`: this is sent instead of what was made.
    """

    fails: Complaint | None = None
    stuck_at: float | None = None
    expired: bool = False
    empty: bool = False
    wrong: str | None = None


Arrange = Callable[[Mishap], Mishap]
"""Adds what is armed to a mishap."""


class CannotAfflict(Exception):
    """An operation that exists cannot be made to go wrong in this way; the message says why."""


class Operation(Struct, frozen=True, kw_only=True):
    """What is stored of any operation. Times are seconds by the simulator's clock.

    `pace_s` is how long it takes without trouble, `life_s` how long its output can be fetched.
    """

    id: str
    created_at: float
    pace_s: float
    life_s: float = DOWNLOAD_LIFE_S
    mishap: Mishap = Mishap()
    cancel_at: float | None = None
    expire_at: float | None = None


class Standing(Struct, frozen=True):
    """Where an operation stands: since when, and how far it is, in whole percent. `expires_at` is when its output goes,
    None as long as there is none."""

    phase: Phase
    since: float
    percent: int
    expires_at: float | None = None

    def gone(self, now: float) -> bool:
        """Whether the output's time is over."""
        return self.expires_at is not None and now >= self.expires_at


def standing(operation: Operation, now: float) -> Standing:
    """Where an operation stands at `now`."""
    created, pace, mishap = operation.created_at, operation.pace_s, operation.mishap
    runs = created + QUEUED_SHARE * pace
    done = _NEVER if mishap.stuck_at is not None else created + pace
    fails = created + FAILS_AT_SHARE * pace if mishap.fails is not None else _NEVER
    cancelled = _NEVER if operation.cancel_at is None else operation.cancel_at
    ends = min(done, fails, cancelled)
    if now < ends:
        if now < runs:
            return Standing("queued", created, 0)
        return Standing("running", runs, _percent(operation, now))
    if ends == cancelled:
        return Standing("cancelled", ends, _percent(operation, ends))
    if ends == fails:
        return Standing("failed", ends, _percent(operation, ends))
    return Standing("completed", ends, 100, _expires_at(operation, ends))


def _expires_at(operation: Operation, ends: float) -> float:
    if operation.mishap.expired:
        return ends
    usual = ends + operation.life_s
    return usual if operation.expire_at is None else max(ends, min(usual, operation.expire_at))


def _percent(operation: Operation, moment: float) -> int:
    """How far an operation that has not ended well is: 99 at most."""
    share = (moment - operation.created_at) / operation.pace_s if operation.pace_s > 0 else 0.99
    if operation.mishap.stuck_at is not None:
        share = min(share, operation.mishap.stuck_at)
    return min(max(int(share * 100), 0), 99)


class SimulatedOperations(Protocol):
    """A provider's operations, as far as the simulator as a whole deals with them."""

    async def afflict(self, id_: str, arrange: Arrange) -> bool:
        """Makes something go wrong with an operation that exists, at once; False: there is none with this id.

        Raises `CannotAfflict`.
        """
        ...


O = TypeVar("O", bound=Operation)  # noqa: E741


class OperationDesk(Generic[O]):
    """The operations of one provider; implements `SimulatedOperations`.

    Args:
        kind: under which the storage keeps them.
        record: what is kept of each.
    """

    def __init__(self, world: World, kind: str, record: type[O]) -> None:
        self.world = world
        self.kind = kind
        self._decode = json.Decoder(record).decode

    def add(self, tables: Tables, operation: O) -> None:
        """Keeps a new operation."""
        tables.add(self.kind, operation.id, json.encode(operation))

    def find(self, tables: Tables, id_: str) -> O | None:
        """The operation with this id, None when there is none."""
        doc = tables.get(self.kind, id_, self.world.clock.now())
        return None if doc is None else self._decode(doc)

    async def read(self, id_: str) -> O | None:
        """As `find`, in a transaction of its own."""
        return await self.world.storage.run(lambda tables: self.find(tables, id_))

    def listed(self, page: Page) -> list[O]:
        """The operations on a page of the list of `kind`."""
        return [self._decode(doc) for doc in page.docs]

    async def remove(self, id_: str) -> bool:
        """Deletes an operation; whether there was one."""

        def remove(tables: Tables) -> bool:
            found = self.find(tables, id_)
            if found is not None:
                tables.remove(id_)
            return found is not None

        return await self.world.storage.run(remove)

    async def cancel(self, id_: str) -> Standing | None:
        """Cancels an operation that has not ended; where it stood before, None when there is none."""

        def cancel(tables: Tables) -> Standing | None:
            now = self.world.clock.now()
            found = self.find(tables, id_)
            if found is None:
                return None
            at = standing(found, now)
            if at.phase not in ENDED:
                tables.replace(id_, json.encode(replace(found, cancel_at=now)))
            return at

        return await self.world.storage.run(cancel)

    async def afflict(self, id_: str, arrange: Arrange) -> bool:
        """See `SimulatedOperations`."""

        def afflict(tables: Tables) -> bool:
            now = self.world.clock.now()
            found = self.find(tables, id_)
            if found is None:
                return False
            mishap = arrange(found.mishap)
            changed = replace(found, mishap=mishap)
            if standing(found, now).phase in ENDED and standing(changed, now).phase != standing(found, now).phase:
                raise CannotAfflict(f"the operation '{id_}' has ended")
            tables.replace(id_, json.encode(changed))
            return True

        return await self.world.storage.run(afflict)
