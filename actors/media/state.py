"""An operation that makes images or speech, the part that is pure: judgement, fold, what it asks for.

It is one purchase that nobody can look up at the provider, and it is over only when the bytes are kept. The invariant:
one effect buys, reports the answer with its cost, and keeps the bytes. While they are in its memory the state goes on
asking for that effect by the same id; so whoever starts it on a state that is answered is another process, and the
bytes are lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from perdure.actors.costs.rows import cost_index
from perdure.actors.kind import NO_INDEX, Effect, Index, Row
from perdure.actors.lane import LOCAL, Lane
from perdure.actors.purchase import Purchase, PurchaseEffect, jitter
from perdure.actors.request.state import PATIENCE_US, PURCHASE_REPORTS, REQUEST_PURCHASES, RESUBMIT_WAITS_US
from perdure.events.codec import Codec
from perdure.events.command import Command, Orphan
from perdure.events.cost import CostRecorded, recorded_cost
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.file_warnings import FILE_WARNINGS, FileWarning
from perdure.events.media import (
    MEDIA_EVENTS,
    CancelMedia,
    ExpireMedia,
    FailMedia,
    KeepMedia,
    LoseMedia,
    MediaAnswered,
    MediaCancelled,
    MediaExpired,
    MediaFailed,
    MediaFilesReleased,
    MediaLost,
    MediaOrdered,
    MediaStored,
    NoteMediaAnswered,
    OrderMedia,
    ReleaseMediaFiles,
    ResubmitMedia,
    ResumeMedia,
    SpoilMedia,
    StoredItem,
)
from perdure.events.purchase import (
    IntendPurchase,
    LosePurchase,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
    RefusePurchase,
)
from perdure.events.request import NoteFileWarnings
from perdure.events.sealed import plain
from perdure.events.supervision import SUPERVISION_EVENTS

IMAGE: Final = "image"
AUDIO: Final = "audio"
FOLD: Final = 1
TRAFFIC: Final = "media"
"""The traffic class of its lanes."""

PREFIXES: Final[Mapping[str, str]] = {IMAGE: "img", AUDIO: "aud"}
"""How the ids of each kind begin."""

LOST: Final = "answer_lost"
"""Our code for an answer whose bytes were lost."""

_EVENTS: Final[Sequence[type[Event]]] = (
    *MEDIA_EVENTS,
    *REQUEST_PURCHASES,
    *FILE_WARNINGS,
    CostRecorded,
    *SUPERVISION_EVENTS,
)
CODECS: Final[Mapping[str, Codec[Event]]] = {kind: Codec(kind, _EVENTS) for kind in PREFIXES}


class MediaState(Struct):
    """An operation. `status`: `new`, `open`, `stored`, `failed`, `cancelled`, `expired`.

    `saving`: the attempt whose answer is paid for and not kept yet, 0: none. `items` are there once anything was kept,
    in whatever status. `cost_ticks` is what all answers cost, 1e-10 US dollars, None while nothing with a price came.
    """

    actor: str
    tenant: str
    purchase: Purchase
    status: str = "new"
    ordered: MediaOrdered | None = None
    answered: int = 0
    saving: int = 0
    resubmits: int = 0
    items: Sequence[StoredItem] = ()
    cost_ticks: int | None = None
    code: str = ""
    message: str = ""
    http_status: int = 0
    holds: bool = False
    warnings: list[FileWarning] = field(default_factory=list[FileWarning])
    surplus: int = 0
    anomalies: int = 0


class Make(PurchaseEffect, frozen=True, kw_only=True):
    """Have it made and keep the bytes; `intended`: say that it cannot be told what became of it; `answered`: say that
    the bytes are lost."""

    order: MediaOrdered
    answered: bool


class LetSourcesGo(Effect, frozen=True, kw_only=True):
    """Nothing needs the bytes of its sources any more."""


class ReachDeadline(Effect, frozen=True, kw_only=True):
    """The caller's deadline is here."""


def initial(actor: str, tenant: str) -> MediaState:
    """The state before it is ordered."""
    return MediaState(actor=actor, tenant=tenant, purchase=Purchase(ordinal=0))


# ---------------------------------------------------------------- judgement


def decide(state: MediaState, command: Command, at: int) -> Sequence[Event]:
    """Judges a command at `at` (µs since 1970 UTC); raises only `Rejected` kinds."""
    if isinstance(command, OrderMedia):
        return _order(state, command, at)
    ordered = state.ordered
    if ordered is None:
        raise Rejected(f"{state.actor} does not exist: order it first", field="request")
    if isinstance(command, Orphan):
        command = command.report
    match command:
        case NoteMediaAnswered():
            return _answered(state, command)
        case KeepMedia():
            return (MediaStored(command.attempt, command.items),) if command.attempt == state.saving else ()
        case SpoilMedia() if command.attempt == state.saving:
            return (MediaFailed(command.code, plain(command.message)),)
        case LoseMedia() if command.attempt == state.saving:
            return _lost_bytes(state, ordered, command.attempt, at)
        case SpoilMedia() | LoseMedia():
            return ()
        case CancelMedia():
            return (MediaCancelled(),) if state.status == "open" else ()
        case ExpireMedia():
            return (MediaExpired(),) if state.status == "open" else ()
        case ResumeMedia():
            return (PurchaseResumed(ordinal=0, attempt=state.purchase.attempt),) if state.purchase.blocked else ()
        case ResubmitMedia():
            return _resubmit(state)
        case NoteFileWarnings():
            return [warning for warning in command.warnings if warning not in state.warnings]
        case ReleaseMediaFiles():
            held = tuple({file.blob: None for file in ordered.files}) if state.holds and not _wanted(state) else ()
            return (MediaFilesReleased(held),) if held else ()
        case FailMedia():
            unsent = state.purchase.phase == "open"
            return (MediaFailed(command.code, plain(command.message)),) if unsent else ()
        case _ if isinstance(command, PURCHASE_REPORTS):
            return _purchase(state, ordered, command, at)
        case _:
            raise Rejected(f"media do nothing at {type(command).__name__}", field="command")


def difference(ordered: MediaOrdered, command: OrderMedia) -> str | None:
    """How an order differs from the one that is on record; None when it is the same. Requests are not repeated."""
    for name in ("provider", "capability", "model", "credential"):
        was, wanted = getattr(ordered, name), getattr(command, name)
        if was != wanted:
            return f"{name} was {was!r} and is now {wanted!r}"
    return None if ordered.digest == command.digest else "request is another"


def _order(state: MediaState, command: OrderMedia, at: int) -> Sequence[Event]:
    if state.ordered is not None:
        differs = difference(state.ordered, command)
        if differs is not None:
            raise Rejected(f"{state.actor} was ordered otherwise: its {differs}", field="request")
        return ()
    return (
        MediaOrdered(
            provider=command.provider,
            capability=command.capability,
            model=command.model,
            credential=command.credential,
            request=command.request,
            digest=command.digest,
            on_uncertain=command.on_uncertain,
            deadline_at=at + command.deadline_us if command.deadline_us else 0,
            tags=command.tags,
            files=command.files,
            subject=command.subject,
        ),
    )


def _answered(state: MediaState, report: NoteMediaAnswered) -> Sequence[Event]:
    """What was paid for is recorded, whether or not anybody still wants it; the same report again is not."""
    if not 1 <= report.attempt <= state.purchase.attempt:
        raise Rejected(f"{state.actor} made no attempt {report.attempt}", field="attempt", value=report.attempt)
    if report.attempt == state.answered:
        return ()
    answered = MediaAnswered(attempt=report.attempt, count=report.count, usage=report.usage)
    return (answered,) if report.cost is None else (recorded_cost(report.cost), answered)


def _lost_bytes(state: MediaState, ordered: MediaOrdered, attempt: int, at: int) -> Sequence[Event]:
    """They were paid for and are gone: the policy says whether they are bought again."""
    lost = MediaLost(attempt)
    if state.status != "open":
        return (lost,)
    if ordered.on_uncertain == "resubmit" and state.resubmits < len(RESUBMIT_WAITS_US):
        return lost, _again(state, attempt, at)
    said = "it was made and paid for, and the process ended before its bytes were kept: order it again, or with"
    return lost, MediaFailed(LOST, plain(f"{said} on_uncertain='resubmit', which does so by itself"))


def _again(state: MediaState, attempt: int, at: int) -> PurchaseResubmitted:
    wait_us = int(RESUBMIT_WAITS_US[state.resubmits] * jitter(state.actor, f"resubmit/{attempt}"))
    return PurchaseResubmitted(ordinal=0, attempt=attempt, policy="resubmit", retry_at=at + wait_us)


def _resubmit(state: MediaState) -> Sequence[Event]:
    if state.status != "open" or state.purchase.phase != "lost":
        raise Rejected(f"{state.actor} is not in doubt: there is nothing to order again", field="request")
    return (PurchaseResubmitted(ordinal=0, attempt=state.purchase.attempt, policy="caller"),)


def _purchase(state: MediaState, ordered: MediaOrdered, command: Command, at: int) -> Sequence[Event]:
    purchase = state.purchase
    if state.status != "open" and isinstance(command, IntendPurchase):
        raise purchase.superseded(state.actor, command.attempt)
    if isinstance(command, LosePurchase):
        return _lost(state, ordered, command, at)
    # With a deadline patience never ends: until then it may pass, and then it expires.
    patience_us = at if ordered.deadline_at else PATIENCE_US
    events = purchase.decide(state.actor, command, at, patience_us=patience_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        return (MediaFailed(command.code or command.kind, plain(command.message), command.status),)
    return events


def _lost(state: MediaState, ordered: MediaOrdered, command: LosePurchase, at: int) -> Sequence[Event]:
    """It cannot be told whether it was bought: the policy says what comes of it, and asks no more often than it may."""
    purchase = state.purchase
    if command.attempt != purchase.attempt or not purchase.owed:
        return ()
    wanted = state.status == "open" and ordered.on_uncertain == "resubmit"
    if not wanted or state.resubmits >= len(RESUBMIT_WAITS_US):
        return (PurchaseLost(ordinal=0, attempt=purchase.attempt),)
    return (_again(state, purchase.attempt, at),)


# ---------------------------------------------------------------- fold


def evolve(state: MediaState, event: Event) -> MediaState:
    """Folds one event; never raises."""
    purchase = state.purchase
    match event:
        case MediaOrdered() if state.ordered is None:
            state.ordered, state.status, state.holds = event, "open", bool(event.files)
        case MediaAnswered():
            _take(state, event)
        case MediaStored():
            _keep(state, event)
        case MediaLost():
            state.saving = 0
        case MediaFailed():
            purchase.end()
            state.saving = 0
            _fail(state, event)
        case MediaFilesReleased():
            state.holds = False
        case _ if isinstance(event, FILE_WARNINGS):
            state.warnings.append(event)
        case CostRecorded():
            if event.source != "unknown":
                state.cost_ticks = (state.cost_ticks or 0) + event.amount
        case MediaCancelled() if state.status == "open":
            state.status = "cancelled"
        case MediaExpired() if state.status == "open":
            state.status = "expired"
        case PurchaseResubmitted():
            purchase.evolve(event)
            purchase.retry_at, purchase.refused_since = event.retry_at, 0
            state.resubmits = 0 if event.policy == "caller" else state.resubmits + 1
        case _ if isinstance(event, REQUEST_PURCHASES):
            purchase.evolve(event)
        case _:
            state.anomalies += 1
    if purchase.phase == "open" and state.status not in ("new", "open"):
        purchase.end()  # settled without having been bought, and nobody wants it any more
    return state


def _take(state: MediaState, event: MediaAnswered) -> None:
    purchase = state.purchase
    if event.attempt == purchase.attempt or not purchase.owed:
        purchase.phase, purchase.blocked = "bought", ""
    if state.answered:
        state.surplus += 1
    state.answered = state.saving = event.attempt


def _keep(state: MediaState, event: MediaStored) -> None:
    if event.attempt == state.saving:
        state.saving = 0
    if state.items:
        return
    state.items = event.items
    if state.status == "open":
        state.status = "stored"


def _fail(state: MediaState, event: MediaFailed) -> None:
    """Ends it, unless it has ended for its caller: then it stays as that caller saw it."""
    if state.status != "open":
        return
    said = event.message.open()
    state.status, state.code, state.http_status = "failed", event.code, event.status
    state.message = said if isinstance(said, str) else ""


# ---------------------------------------------------------------- what it asks for and shows


def effects(state: MediaState) -> Sequence[Effect]:
    """Its making while it is open, owed or not kept yet, and its deadline; at last that its sources are let go."""
    ordered, purchase = state.ordered, state.purchase
    if ordered is None:
        return ()
    if not _wanted(state):
        return (LetSourcesGo(id="release", lane=LOCAL),) if state.holds and not _may_be_sent(state) else ()
    attempt = state.saving or purchase.attempt
    make = Make(
        id=f"buy/0/{attempt}" if state.saving else purchase.effect_id(),
        lane=Lane(state.tenant, ordered.provider, ordered.credential, TRAFFIC),
        not_before=0 if state.saving else purchase.not_before(settle_us=0),
        purchase=True,
        intended=bool(state.saving) or purchase.owed,
        searchable=False,
        ordinal=0,
        attempt=attempt,
        since=purchase.intended_at,
        can_find=False,
        order=ordered,
        answered=bool(state.saving),
    )
    if ordered.deadline_at and state.status == "open":
        return (make, ReachDeadline(id="deadline", lane=LOCAL, not_before=ordered.deadline_at))
    return (make,)


def _wanted(state: MediaState) -> bool:
    """Whether there is anything left to make or to keep."""
    return state.purchase.phase == "open" or state.purchase.owed or state.saving > 0


def _may_be_sent(state: MediaState) -> bool:
    """Whether it may be sent yet, because somebody asks for it again."""
    return state.status == "open"


def row(state: MediaState) -> Row:
    """What lists show. One in doubt is terminal: only `ResubmitMedia` or a cancel moves it on."""
    ordered, purchase = state.ordered, state.purchase
    done = int(state.status in ("stored", "failed"))
    return Row(
        status=_status(state),
        terminal=state.status != "new" and not effects(state),
        provider=ordered.provider if ordered else "",
        tags=ordered.tags if ordered else {},
        progress=f"{done}/1 {purchase.blocked}".rstrip(),
    )


def _status(state: MediaState) -> str:
    """The status in the words of the API."""
    purchase = state.purchase
    if state.status == "stored":
        return "succeeded"
    if state.status not in ("new", "open"):
        return state.status
    if purchase.phase == "lost":
        return "uncertain"
    if purchase.blocked:
        return "blocked"
    return "running" if purchase.owed or state.saving else "pending"


def index(event: Event) -> Index:
    """What was made is kept as long as the log, its sources until it has ended; what it cost."""
    if isinstance(event, CostRecorded):
        return cost_index(event)
    if isinstance(event, MediaFilesReleased):
        return Index(released=event.blobs)
    if isinstance(event, MediaStored):
        return Index(references=[item.blob for item in event.items])
    if isinstance(event, MediaOrdered):
        held = [file.blob for file in event.files]
        return Index(references=[event.request.blob, *held] if event.request.blob else held)
    return NO_INDEX


def weight(state: MediaState) -> int:
    """About how many bytes a state holds in memory."""
    ordered = state.ordered
    inline = ordered.request.size_bytes if ordered is not None and not ordered.request.blob else 0
    return 1_500 + inline + 400 * len(state.items)
