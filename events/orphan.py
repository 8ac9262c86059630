"""What happens to a file at a provider that nothing in the log needs: it is found, and then deleted there or left."""

from __future__ import annotations

from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.sealed import Sealed


class OrphanFound(Event, frozen=True, tag="OrphanFound"):
    """At `at` (µs since 1970 UTC) somebody wanted it deleted: `remote_id` is what the provider's file routes call it,
    `filename` the name under which this log had put it there. `why` is one of the words of `RemoteOrphan.why`.
    """

    provider: str
    credential: str
    remote_id: str
    filename: str
    why: str
    at: int


class OrphanDeleted(Event, frozen=True, tag="OrphanDeleted"):
    """The provider does not have it any more, as was learnt at `at` (µs since 1970 UTC)."""

    at: int


class OrphanLeft(Event, frozen=True, tag="OrphanLeft"):
    """It could not be deleted and may still be there; another sweep tries again."""

    code: str
    message: Sealed[str] = Sealed()


ORPHAN_EVENTS: tuple[type[Event], ...] = (OrphanFound, OrphanDeleted, OrphanLeft)
"""The types that are written today."""


class DeleteOrphan(Command, frozen=True, kw_only=True):
    """Wants it deleted; fields as in `OrphanFound`. Nothing happens while that is under way."""

    provider: str
    credential: str
    remote_id: str
    filename: str
    why: str


class RetryOrphan(Command, frozen=True):
    """Wants one that was left deleted after all."""


class NoteOrphanDeleted(Command, frozen=True):
    """Report: the provider does not have it any more."""


class LeaveOrphan(Command, frozen=True):
    """Report or wish: it is not deleted, and nothing more is tried."""

    code: str
    message: str = ""
