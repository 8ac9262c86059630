"""An orphan as applications see it, once a sweep has found it."""

from __future__ import annotations

from perdure.actors.orphan.state import CANCELLED, OrphanState
from perdure.actors.views import Handle, View, moment
from perdure.events.command import Command
from perdure.events.files import RemoteOrphan, SweptOrphan
from perdure.events.orphan import LeaveOrphan, RetryOrphan


class OrphanView(View[SweptOrphan]):
    """A remote file that nothing needs, on its way out. Its result says that it is gone."""

    async def _value(self) -> SweptOrphan:
        state: OrphanState = await self.state()
        return swept(state)

    async def _reason(self) -> str:
        state: OrphanState = await self.state()
        return reason_of(state)


class OrphanHandle(OrphanView, Handle[SweptOrphan]):
    """An orphan of a running service."""

    def _cancel_command(self) -> Command:
        return LeaveOrphan(CANCELLED)

    def _resubmit_command(self) -> Command:
        return RetryOrphan()

    def _resume_command(self) -> Command:
        return RetryOrphan()


def swept(state: OrphanState, orphan: RemoteOrphan | None = None) -> SweptOrphan:
    """What became of one that a sweep had found; `orphan` is how the provider showed it, if that is at hand."""
    found = state.found
    assert found is not None
    return SweptOrphan(
        orphan=orphan
        or RemoteOrphan(
            provider=found.provider,
            credential=found.credential,
            id=found.remote_id,
            filename=found.filename,
            why=found.why,
        ),
        deleted=state.status == "deleted",
        reason=reason_of(state),
        at=moment(state.deleted_at or found.at),
    )


def reason_of(state: OrphanState) -> str:
    """Why it was left, "" where it was not."""
    return ": ".join(part for part in (state.code, state.message) if part) if state.status == "left" else ""
