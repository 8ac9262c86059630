"""A file, the pure part: what it asks for and what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perdure.actors.file.state import Copy, Deletion, FileState, needs_content
from perdure.actors.kind import NO_INDEX, Effect, Index, Row
from perdure.actors.lane import LOCAL, Lane
from perdure.actors.purchase import SECOND_US, PurchaseEffect
from perdure.events.event import Event
from perdure.events.file import ContentReleased, CopyOrdered, FileCreated

FIRST_LOOK_US: Final = 1 * SECOND_US
"""When a copy that is being processed is first looked at, from when it was stored."""

DELETIONS_AT_A_TIME: Final = 16


class Put(PurchaseEffect, frozen=True, kw_only=True):
    """Send the file, or find it there. `session`: where an earlier attempt can be taken up again, "" for nowhere."""

    file: FileCreated
    order: CopyOrdered
    session: str


class Watch(Effect, frozen=True, kw_only=True):
    """Look whether a copy has been processed, which was stored at `since` (µs since 1970 UTC)."""

    order: CopyOrdered
    remote_id: str
    since: int


class Delete(Effect, frozen=True, kw_only=True):
    """Delete something at a provider."""

    deletion: Deletion


class LapseCopy(Effect, frozen=True, kw_only=True):
    """A copy is not to be used from now on."""

    ordinal: int


class EndLife(Effect, frozen=True, kw_only=True):
    """The file's time to live is over."""


class LetGo(Effect, frozen=True, kw_only=True):
    """Nothing needs the file's bytes any more."""


def effects(state: FileState) -> Sequence[Effect]:
    """Its timer while it is kept, what its copies need, what is to be deleted; at last that its bytes are let go."""
    created = state.created
    if created is None:
        return ()
    asked: list[Effect] = []
    if state.life == "kept" and created.expires_at:
        asked.append(EndLife(id="expire", lane=LOCAL, not_before=created.expires_at))
    for copy in state.copies:
        asked.extend(_of_copy(state, created, copy))
    asked.extend(
        Delete(
            id=f"delete/{deletion.provider}/{deletion.credential}/{deletion.remote_id}",
            lane=_lane(state, deletion.provider, deletion.credential),
            deletion=deletion,
        )
        for deletion in state.deletions[:DELETIONS_AT_A_TIME]
    )
    if not state.released and not needs_content(state):
        asked.append(LetGo(id="release", lane=LOCAL))
    return asked


def _of_copy(state: FileState, created: FileCreated, copy: Copy) -> Iterator[Effect]:
    order, purchase = copy.order, copy.purchase
    lane = _lane(state, order.provider, order.credential)
    if copy.status == "pending":
        yield Put(
            id=purchase.effect_id(),
            lane=lane,
            not_before=purchase.not_before(order.settle_us),
            purchase=True,
            intended=purchase.owed,
            searchable=order.searchable,
            ordinal=order.ordinal,
            attempt=purchase.attempt,
            since=purchase.intended_at,
            can_find=order.searchable,
            settle_us=order.settle_us,
            file=created,
            order=order,
            session=copy.session,
        )
    elif copy.status == "processing":
        yield Watch(
            id=f"watch/{order.ordinal}",
            lane=lane,
            not_before=copy.at + FIRST_LOOK_US,
            order=order,
            remote_id=copy.remote_id,
            since=copy.at,
        )
    elif copy.status == "uploaded" and copy.usable_until and state.life == "kept":
        yield LapseCopy(id=f"lapse/{order.ordinal}", lane=LOCAL, not_before=copy.usable_until, ordinal=order.ordinal)


def _lane(state: FileState, provider: str, credential: str) -> Lane:
    return Lane(state.tenant, provider, credential, "files")


# ---------------------------------------------------------------- what it shows


def row(state: FileState) -> Row:
    """What lists show: progress is the copies that are there, of all that were wanted, and why one waits.

    A file that is over gives its key back, so that the same program may upload it again.
    """
    copies = state.copies
    there = sum(copy.status == "uploaded" for copy in copies)
    blocked = next((copy.purchase.blocked for copy in copies if copy.purchase.blocked), "")
    return Row(
        status={"new": "pending", "kept": "succeeded", "deleted": "cancelled"}.get(state.life, state.life),
        terminal=state.life not in ("new", "kept") and not effects(state),
        tags=state.created.tags if state.created else {},
        progress=f"{there}/{len(copies)} {blocked}".rstrip(),
        keep_key=state.life in ("new", "kept"),
    )


def index(event: Event) -> Index:
    """A file needs its content until it lets go of it."""
    if isinstance(event, FileCreated):
        return Index(references=(event.blob,))
    return Index(released=(event.blob,)) if isinstance(event, ContentReleased) else NO_INDEX


def weight(state: FileState) -> int:
    """About how many bytes a state holds in memory."""
    return 1_500 + 1_200 * len(state.copies) + 400 * len(state.deletions)
