"""An orphan, the pure part: a remote file that is to be deleted, and what became of that.

What is told to be one is never needed again (see `perdure.actors.file.orphans`), so deleting needs no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from perdure.actors.kind import Effect, Row
from perdure.actors.lane import Lane
from perdure.events.codec import Codec
from perdure.events.command import Command
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.ids import make_id
from perdure.events.orphan import (
    ORPHAN_EVENTS,
    DeleteOrphan,
    LeaveOrphan,
    NoteOrphanDeleted,
    OrphanDeleted,
    OrphanFound,
    OrphanLeft,
    RetryOrphan,
)
from perdure.events.sealed import plain
from perdure.events.supervision import SUPERVISION_EVENTS

KIND: Final = "orphan"
FOLD: Final = 1

CODEC: Final[Codec[Event]] = Codec(KIND, (*ORPHAN_EVENTS, *SUPERVISION_EVENTS))

CANCELLED: Final = "cancelled"
"""The code of one that was left because somebody wanted that."""


class OrphanState(Struct):
    """`found` is the newest wish to delete it; `deleted_at` is µs since 1970 UTC, 0: it is not known to be gone."""

    actor: str
    tenant: str
    found: OrphanFound | None = None
    status: Literal["new", "leaving", "deleted", "left"] = "new"
    deleted_at: int = 0
    code: str = ""
    message: str = ""
    anomalies: int = 0


class DeleteRemote(Effect, frozen=True, kw_only=True):
    """Delete it at its provider."""

    found: OrphanFound


def orphan_id(actor: str, provider: str, remote_id: str) -> str:
    """The id of the orphan that a remote file is which was planted for `actor`: the same in every sweep."""
    digest = hashlib.sha256(f"{provider}\0{remote_id}".encode()).digest()
    milliseconds = int(actor.rpartition("_")[2][:12], 16)
    return make_id(KIND, milliseconds * 1_000, int.from_bytes(digest[:10], "big"))


def initial(actor: str, tenant: str) -> OrphanState:
    """The state before it was found."""
    return OrphanState(actor=actor, tenant=tenant)


def decide(state: OrphanState, command: Command, at: int) -> Sequence[Event]:
    """Judges a command at `at` (µs since 1970 UTC); raises only `Rejected` kinds."""
    leaving = state.status == "leaving"
    match command:
        case DeleteOrphan():
            return () if leaving else (_found(command, at),)
        case RetryOrphan():
            return (_found(state.found, at),) if state.status == "left" and state.found is not None else ()
        case NoteOrphanDeleted():
            return (OrphanDeleted(at),) if leaving else ()
        case LeaveOrphan():
            return (OrphanLeft(command.code, plain(command.message)),) if leaving else ()
        case _:
            raise Rejected(f"an orphan does nothing at {type(command).__name__}", field="command")


def _found(said: DeleteOrphan | OrphanFound, at: int) -> OrphanFound:
    return OrphanFound(
        provider=said.provider,
        credential=said.credential,
        remote_id=said.remote_id,
        filename=said.filename,
        why=said.why,
        at=at,
    )


def evolve(state: OrphanState, event: Event) -> OrphanState:
    """Folds one event; never raises."""
    match event:
        case OrphanFound():
            state.found, state.status, state.deleted_at, state.code, state.message = event, "leaving", 0, "", ""
        case OrphanDeleted():
            state.status, state.deleted_at = "deleted", event.at
        case OrphanLeft():
            said = event.message.open()
            state.status, state.code = "left", event.code
            state.message = said if isinstance(said, str) else ""
        case _:
            state.anomalies += 1
    return state


def effects(state: OrphanState) -> Sequence[Effect]:
    """The deletion, until it is known how that ended."""
    found = state.found
    if found is None or state.status != "leaving":
        return ()
    lane = Lane(state.tenant, found.provider, found.credential, "files")
    return (DeleteRemote(id=f"delete/{found.at}", lane=lane, found=found),)


def row(state: OrphanState) -> Row:
    """What lists show: it has succeeded when it is gone."""
    left = "cancelled" if state.code == CANCELLED else "failed"
    return Row(
        status={"new": "pending", "leaving": "running", "deleted": "succeeded", "left": left}[state.status],
        terminal=state.status in ("deleted", "left"),
        provider=state.found.provider if state.found else "",
    )
