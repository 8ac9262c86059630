"""A file, the pure part: its state and how events change it.

Two lives are folded here: that of the file, which ends once, and those of its copies at providers, of which the newest
for a provider and credential is the current one. The invariant: a copy is dropped from the state only when nothing of
it is owed and a newer one has taken its place, so the state grows with providers, never with history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from perdure.actors.purchase import SECOND_US, Purchase
from perdure.events.codec import Codec
from perdure.events.event import Event
from perdure.events.file import (
    FILE_EVENTS,
    ContentReleased,
    CopyDeleted,
    CopyExpired,
    CopyFailed,
    CopyLeft,
    CopyLost,
    CopyOrdered,
    CopyReady,
    CopySessionKept,
    CopyStored,
    CopyWithdrawn,
    FileCreated,
    FileRemoved,
    FileTimedOut,
    SurplusFound,
)
from perdure.events.purchase import (
    DuplicatePurchase,
    PurchaseAbsent,
    PurchaseIntended,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseResumed,
    PurchaseUncertain,
)
from perdure.events.sealed import Sealed
from perdure.events.supervision import SUPERVISION_EVENTS

KIND: Final = "file"
FOLD: Final = 1

COPY_PURCHASES: Final = (
    PurchaseIntended,
    PurchaseUncertain,
    PurchaseRefused,
    PurchaseAbsent,
    PurchaseResubmitted,
    PurchaseResumed,
    DuplicatePurchase,
)
"""What may happen to a copy as a purchase: it is never lost, for a second copy costs nothing but its place."""

CODEC: Final[Codec[Event]] = Codec(KIND, (*FILE_EVENTS, *COPY_PURCHASES, *SUPERVISION_EVENTS))

MARGIN_US: Final = 600 * SECOND_US
"""How long before its expiry a copy is not used any more: a request that names it takes a while, and clocks differ. Of
copies that live less than a hundred minutes it is a tenth of their life."""

FIRST_WAIT_US: Final = 1 * SECOND_US
LONGEST_WAIT_US: Final = 60 * SECOND_US
"""How long an upload that was surely absent waits before it is sent again: doubling from the first to the longest."""

Life = Literal["new", "kept", "expired", "deleted"]

CopyStatus = Literal["pending", "processing", "uploaded", "expired", "deleting", "deleted", "error"]


class Copy(Struct):
    """The file at one provider. `at` is when the provider had it, µs since 1970 UTC; `expires_at` 0: never.

    `ready` stays True once it could be used, whatever becomes of it. `code` and `message` say why it is not usable;
    `doubts` counts how often in a row its outcome was unknown.
    """

    order: CopyOrdered
    purchase: Purchase
    status: CopyStatus = "pending"
    ready: bool = False
    session: str = ""
    remote_id: str = ""
    reference: str = ""
    at: int = 0
    expires_at: int = 0
    doubts: int = 0
    code: str = ""
    message: str = ""
    http_status: int = 0

    @property
    def usable_until(self) -> int:
        """The time (µs since 1970 UTC) from which requests must not name it any more; 0: they always may."""
        if not self.expires_at:
            return 0
        return self.expires_at - min(MARGIN_US, max(0, self.expires_at - self.at) // 10)

    def status_at(self, now: int) -> CopyStatus:
        """The status at a time: an uploaded copy expires by itself, whether or not that is on record yet."""
        over = self.status == "uploaded" and self.usable_until and now >= self.usable_until
        return "expired" if over else self.status

    def lasts(self, now: int, life_us: int) -> bool:
        """Whether it can be used for `life_us` from `now` on, or for nine tenths of its whole life where that is less:
        a new copy would hardly last longer."""
        until = self.usable_until
        return not until or until - now >= min(life_us, (until - self.at) * 9 // 10)

    def fail(self, code: str, message: str = "", http_status: int = 0) -> None:
        """It is of no use."""
        self.purchase.end()
        self.status, self.code, self.message, self.http_status = "error", code, message, http_status


class Deletion(Struct, frozen=True):
    """Something that is to be deleted at a provider, since a time in µs since 1970 UTC."""

    provider: str
    credential: str
    remote_id: str
    since: int


class FileState(Struct):
    """A file. `copies` stand in the order of their ordinals. `everywhere_at` is when somebody wanted them deleted too,
    in µs since 1970 UTC, 0: nobody did. `released`: its bytes may be gone."""

    actor: str
    tenant: str
    created: FileCreated | None = None
    life: Life = "new"
    everywhere_at: int = 0
    released: bool = False
    next_ordinal: int = 0
    copies: list[Copy] = []
    deletions: list[Deletion] = []
    anomalies: int = 0


def initial(actor: str, tenant: str) -> FileState:
    """The state before there is content."""
    return FileState(actor=actor, tenant=tenant)


# ---------------------------------------------------------------- what can be read from it


def life_at(state: FileState, now: int) -> Life:
    """The life at a time (µs since 1970 UTC): a file expires by itself, whether or not that is on record yet."""
    created = state.created
    if state.life == "kept" and created is not None and created.expires_at and now >= created.expires_at:
        return "expired"
    return state.life


def current_copy(state: FileState, provider: str, credential: str) -> Copy | None:
    """The newest copy for a provider and credential, whatever its status."""
    found = None
    for copy in state.copies:
        if (copy.order.provider, copy.order.credential) == (provider, credential):
            found = copy
    return found


def find_copy(state: FileState, ordinal: int) -> Copy | None:
    """The copy with this ordinal; None when there is none or a newer one has taken its place."""
    return next((copy for copy in state.copies if copy.order.ordinal == ordinal), None)


def needs_content(state: FileState) -> bool:
    """Whether anything may still read the file's bytes."""
    return state.life == "kept" or any(copy.status == "pending" for copy in state.copies)


def opened(text: Sealed[str]) -> str:
    """A sealed text, "" where it was erased or never set."""
    said = text.open()
    return said if isinstance(said, str) else ""


# ---------------------------------------------------------------- fold


def evolve(state: FileState, event: Event) -> FileState:
    """Folds one event; never raises."""
    match event:
        case FileCreated() if state.created is None:
            state.created, state.life = event, "kept"
        case FileTimedOut() if state.life == "kept":
            state.life = "expired"
        case FileRemoved() if state.life != "new":
            state.life = "deleted" if state.life == "kept" else state.life
            state.everywhere_at = state.everywhere_at or event.at * event.everywhere
        case ContentReleased():
            state.released = True
        case CopyOrdered():
            _order(state, event)
        case SurplusFound():
            _delete(state, Deletion(event.provider, event.credential, event.remote_id, event.at))
        case CopyDeleted():
            _forget(state, event, "deleted")
        case CopyLeft():
            _forget(state, event, "error", event.code, opened(event.message))
        case _:
            copy = find_copy(state, getattr(event, "ordinal", -1))
            if copy is None or not _evolve_copy(state, copy, event):
                state.anomalies += 1
    if state.life not in ("new", "kept"):
        _leave(state)
    return state


def _order(state: FileState, event: CopyOrdered) -> None:
    before = current_copy(state, event.provider, event.credential)
    if before is not None and before.status in ("expired", "deleted", "error"):
        state.copies.remove(before)
    state.copies.append(Copy(event, Purchase(ordinal=event.ordinal)))
    state.next_ordinal = max(state.next_ordinal, event.ordinal + 1)


def _evolve_copy(state: FileState, copy: Copy, event: Event) -> bool:
    """Folds an event about one copy; False for one that says nothing about copies."""
    purchase = copy.purchase
    match event:
        case CopySessionKept():
            copy.session = opened(event.session)
        case CopyStored():
            purchase.phase, purchase.blocked = "bought", ""
            copy.status, copy.ready = ("processing", False) if event.processing else ("uploaded", True)
            copy.remote_id, copy.reference, copy.session = event.remote_id, event.reference, ""
            copy.at, copy.expires_at = event.at, event.expires_at
        case CopyReady():
            copy.status, copy.ready = "uploaded", True
            copy.reference, copy.expires_at = event.reference, event.expires_at
        case CopyFailed():
            copy.fail(event.code, opened(event.message), event.status)
            if copy.remote_id:
                _delete(state, _deletion(copy))
        case CopyWithdrawn():
            copy.fail("withdrawn")
        case CopyExpired():
            copy.status = "expired"
        case CopyLost():
            copy.status, copy.code = "expired", "lost"
        case DuplicatePurchase():
            _delete(
                state, Deletion(copy.order.provider, copy.order.credential, event.provider_id, purchase.intended_at)
            )
        case PurchaseAbsent() | PurchaseResubmitted():
            purchase.evolve(event)
            wait = min(FIRST_WAIT_US * 2 ** min(copy.doubts, 10), LONGEST_WAIT_US)
            purchase.retry_at = purchase.intended_at + wait
            copy.doubts += 1
        case _ if isinstance(event, COPY_PURCHASES):
            purchase.evolve(event)
            if isinstance(event, PurchaseRefused):
                copy.doubts = 0
        case _:
            return False
    return True


def _leave(state: FileState) -> None:
    """What the end of the file means for its copies: none is begun any more; they go with it if that was asked for."""
    for copy in state.copies:
        if copy.status == "pending" and copy.purchase.phase == "open":
            copy.fail(f"file_{state.life}")
        elif state.everywhere_at and copy.status in ("processing", "uploaded"):
            copy.status = "deleting"
            _delete(state, _deletion(copy, state.everywhere_at))


def _deletion(copy: Copy, since: int = 0) -> Deletion:
    return Deletion(copy.order.provider, copy.order.credential, copy.remote_id, max(since, copy.at))


def _delete(state: FileState, wanted: Deletion) -> None:
    if find_deletion(state.deletions, wanted.provider, wanted.credential, wanted.remote_id) is None:
        state.deletions.append(wanted)


def find_deletion(deletions: Sequence[Deletion], provider: str, credential: str, remote_id: str) -> Deletion | None:
    """The wanted deletion of a thing at a provider, or None."""
    wanted = (provider, credential, remote_id)
    return next((one for one in deletions if (one.provider, one.credential, one.remote_id) == wanted), None)


def _forget(
    state: FileState, event: CopyDeleted | CopyLeft, status: CopyStatus, code: str = "", message: str = ""
) -> None:
    deletion = find_deletion(state.deletions, event.provider, event.credential, event.remote_id)
    if deletion is None:
        state.anomalies += 1
        return
    state.deletions.remove(deletion)
    for copy in state.copies:
        if copy.status == "deleting" and copy.remote_id == event.remote_id:
            copy.status, copy.code, copy.message = status, code, message
