"""A file at a provider, the pure part: what happens to it and what it asks for.

It is put there once, as a purchase whose identity is its file name, and then its owner is told. The owner repeats its
order until it has an answer, so every command here may come twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from perdure.actors.kind import Effect, Index, Row
from perdure.actors.lane import LOCAL, Lane
from perdure.actors.purchase import SECOND_US, Purchase, PurchaseEffect
from perdure.events.codec import Codec
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.provider_file import (
    PROVIDER_FILE_EVENTS,
    PROVIDER_FILE_UPCASTERS,
    AskUpload,
    FailUpload,
    FileProcessed,
    FileUploaded,
    KeepUploadSession,
    NoteFileProcessed,
    NoteOwnerTold,
    NoteOwnerWarned,
    NoteUploaded,
    OwnerTold,
    OwnerWarned,
    ResumeUpload,
    UploadFailed,
    UploadOrdered,
    UploadSessionKept,
    UploadWithdrawn,
    WithdrawUpload,
)
from perdure.events.purchase import (
    PURCHASE_EVENTS,
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
    RefusePurchase,
)
from perdure.events.sealed import plain
from perdure.events.supervision import SUPERVISION_EVENTS

KIND = "provider_file"
FOLD = 3

UPLOAD_EVENTS: tuple[type[Event], ...] = tuple(event for event in PURCHASE_EVENTS if event is not PurchaseLost)
"""What may happen to an upload as a purchase: it is never lost, for doubt only means another try."""

CODEC: Codec[Event] = Codec(KIND, (*PROVIDER_FILE_EVENTS, *UPLOAD_EVENTS, *SUPERVISION_EVENTS), PROVIDER_FILE_UPCASTERS)


PURCHASE_REPORTS = (IntendPurchase, DoubtPurchase, RefusePurchase, MissPurchase, LosePurchase, NoteDuplicate)


FIRST_LOOK_US = 1 * SECOND_US
"""When a file that is being processed is first looked at, from when it was stored."""

_STATUSES = {"asked": "running", "processing": "running", "uploaded": "succeeded", "withdrawn": "cancelled"}


class FileState(Struct):
    """A file between its order and its end.

    `status`: `new`, `asked`, `processing`, `uploaded`, `failed` or `withdrawn`. `session`: where an upload that broke
    off can be taken up again. `stored_at`: since when it is processed (µs UTC).
    """

    actor: str
    tenant: str
    purchase: Purchase
    order: UploadOrdered | None = None
    status: str = "new"
    withdrawn: bool = False
    session: str = ""
    provider_file: str = ""
    stored_at: int = 0
    code: str = ""
    message: str = ""
    warned: int = 0
    owner_told: bool = False
    anomalies: int = 0


class UploadEffect(PurchaseEffect, frozen=True, kw_only=True):
    """Put the order's blobs at the provider, or find them there. `session`: where an earlier attempt can be taken up
    again, "" for nowhere."""

    order: UploadOrdered
    session: str


class WatchUpload(Effect, frozen=True, kw_only=True):
    """Look whether the provider has processed the file, which it has had since `since` (µs since 1970 UTC)."""

    provider: str
    provider_file: str
    since: int


class WarnOwner(Effect, frozen=True, kw_only=True):
    """Tell the owner that attempt `attempt` is blocked, and why."""

    owner_kind: str
    owner: str
    part: int
    attempt: int
    error: str


class TellOwner(Effect, frozen=True, kw_only=True):
    """Tell the owner how it ended."""

    owner_kind: str
    owner: str
    part: int
    provider_file: str
    code: str
    message: str


def initial(actor: str, tenant: str) -> FileState:
    """The state before the order."""
    return FileState(actor=actor, tenant=tenant, purchase=Purchase(ordinal=0))


def decide(state: FileState, command: Command, at: int) -> Sequence[Event]:
    """Judges a command; raises `Rejected` for an order that contradicts the first one, and for what is not a file's."""
    match command:
        case AskUpload():
            return _asked(state, command)
        case WithdrawUpload():
            wanted = state.status in ("asked", "processing") and not state.withdrawn
            return (UploadWithdrawn(),) if wanted else ()
        case ResumeUpload():
            blocked = state.status == "asked" and state.purchase.phase == "open" and state.purchase.blocked
            return (PurchaseResumed(ordinal=0, attempt=state.purchase.attempt),) if blocked else ()
        case NoteUploaded():
            return _uploaded(state, command, at) if command.attempt == state.purchase.attempt else ()
        case KeepUploadSession():
            mine = state.status == "asked" and command.attempt == state.purchase.attempt
            news = mine and command.session != state.session
            return (UploadSessionKept(session=plain(command.session)),) if news else ()
        case NoteFileProcessed():
            return (FileProcessed(),) if state.status == "processing" else ()
        case Orphan(report=NoteUploaded() as report):
            # A second copy of an input file costs nothing and expires by itself: nobody has to take it back.
            return _uploaded(state, report, at) if state.purchase.phase == "open" else ()
        case FailUpload():
            surely_not_whole = state.status == "asked" and state.purchase.phase in ("open", "intended")
            fails = surely_not_whole or state.status == "processing"
            return (UploadFailed(code=command.code, message=plain(command.message)),) if fails else ()
        case NoteOwnerWarned():
            news = state.status == "asked" and state.warned < command.attempt == state.purchase.attempt
            return (OwnerWarned(attempt=command.attempt),) if news else ()
        case NoteOwnerTold():
            news = state.status in ("uploaded", "failed") and not state.owner_told
            return (OwnerTold(),) if news else ()
        case _ if isinstance(command, PURCHASE_REPORTS):
            return _purchase(state, command, at)
        case _:
            raise Rejected(f"a provider file does nothing at {type(command).__name__}", field="command")


def _asked(state: FileState, command: AskUpload) -> Sequence[Event]:
    asked = UploadOrdered(**{field: getattr(command, field) for field in command.__struct_fields__})
    if state.order is None:
        return (asked,)
    if list(asked.segments) != list(state.order.segments):
        raise Rejected(f"{state.actor} was asked for other bytes before: use another id", field="segments")
    return ()


def _uploaded(state: FileState, report: NoteUploaded, at: int) -> Sequence[Event]:
    if state.status != "asked":
        return ()
    return (
        FileUploaded(
            attempt=report.attempt,
            provider_file=report.provider_file,
            expires_at=report.expires_at,
            reconciled=report.reconciled,
            processing_since=at if report.processing else 0,
        ),
    )


def _purchase(state: FileState, command: Command, at: int) -> Sequence[Event]:
    purchase = state.purchase
    if state.order is None or state.status != "asked":
        if isinstance(command, IntendPurchase):
            raise purchase.superseded(state.actor, command.attempt)
        return ()
    if isinstance(command, LosePurchase):
        if command.attempt != purchase.attempt or not purchase.owed:
            return ()
        # A second copy of an input file costs nothing and expires by itself, so doubt never fails an upload.
        return (PurchaseResubmitted(ordinal=0, attempt=command.attempt, policy="resubmit"),)
    events = purchase.decide(state.actor, command, at, patience_us=state.order.patience_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        return (UploadFailed(code=command.kind, message=plain(command.message)),)
    return events


def evolve(state: FileState, event: Event) -> FileState:
    """Folds one event; never raises."""
    match event:
        case UploadOrdered() if state.order is None:
            state.order, state.status = event, "asked"
        case FileUploaded():
            state.purchase.phase = "bought"
            state.status = "processing" if event.processing_since else "uploaded"
            state.provider_file, state.stored_at, state.session = event.provider_file, event.processing_since, ""
        case FileProcessed():
            state.status = "uploaded"
        case UploadSessionKept():
            opened = event.session.open()
            state.session = opened if isinstance(opened, str) else ""
        case UploadFailed():
            opened = event.message.open()
            state.purchase.end()
            state.status, state.code, state.provider_file = "failed", event.code, ""
            state.message = opened if isinstance(opened, str) else ""
        case UploadWithdrawn():
            state.withdrawn = True
        case OwnerWarned():
            state.warned = event.attempt
        case OwnerTold():
            state.owner_told = True
        case _ if isinstance(event, UPLOAD_EVENTS):
            state.purchase.evolve(event)
        case _:
            state.anomalies += 1
    if state.withdrawn and state.status in ("asked", "processing") and not state.purchase.owed:
        state.purchase.end()
        state.status = "withdrawn"
    return state


def effects(state: FileState) -> Sequence[Effect]:
    """The upload while it is open or owed, then telling the owner; between them a warning when it is blocked."""
    order = state.order
    if order is None:
        return ()
    if state.status == "asked":
        purchase = state.purchase
        warning = WarnOwner(
            id=f"warn-owner/{purchase.attempt}",
            owner_kind=order.owner_kind,
            owner=order.owner,
            part=order.part,
            attempt=purchase.attempt,
            error=purchase.blocked,
        )
        return (
            *((warning,) if purchase.blocked and state.warned < purchase.attempt else ()),
            UploadEffect(
                id=purchase.effect_id(),
                lane=Lane(state.tenant, order.provider, order.credential, "files"),
                not_before=purchase.not_before(order.settle_us),
                purchase=True,
                intended=purchase.owed,
                searchable=order.searchable,
                ordinal=0,
                attempt=purchase.attempt,
                since=purchase.intended_at,
                can_find=order.searchable,
                settle_us=order.settle_us,
                order=order,
                session=state.session,
            ),
        )
    if state.status == "processing":
        return (
            WatchUpload(
                id="watch",
                lane=Lane(state.tenant, order.provider, order.credential, "files"),
                not_before=state.stored_at + FIRST_LOOK_US,
                provider=order.provider,
                provider_file=state.provider_file,
                since=state.stored_at,
            ),
        )
    if state.status in ("uploaded", "failed") and not state.owner_told:
        return (
            TellOwner(
                id="tell-owner",
                lane=LOCAL,
                owner_kind=order.owner_kind,
                owner=order.owner,
                part=order.part,
                provider_file=state.provider_file,
                code=state.code,
                message=state.message,
            ),
        )
    return ()


def row(state: FileState) -> Row:
    """What lists show."""
    blocked = state.status == "asked" and state.purchase.blocked
    return Row(
        status="blocked" if blocked else _STATUSES.get(state.status, state.status),
        terminal=state.status == "withdrawn" or state.owner_told,
        provider=state.order.provider if state.order else "",
        group=state.order.owner if state.order else "",
        progress=state.purchase.blocked if blocked else "",
    )


def index(event: Event) -> Index:
    """An order names its blobs."""
    if isinstance(event, UploadOrdered):
        return Index(references=[digest for digest, _ in event.segments])
    return Index()
