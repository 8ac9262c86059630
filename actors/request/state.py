"""One live request, the part that is pure: judgement, fold, what it asks for.

It is one purchase that nobody can look up at the provider. So when it cannot be told whether it was bought, the
request's own policy decides, and the log says which: `PurchaseResubmitted` or `PurchaseLost`. The invariant: nothing is
sent for a request that has ended, and one that ended while something was owed asks for it until it is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from perdure.actors.costs.rows import cost_index
from perdure.actors.kind import NO_INDEX, Effect, Index, Row
from perdure.actors.lane import LOCAL, Lane
from perdure.actors.purchase import SECOND_US, Purchase, PurchaseEffect, jitter
from perdure.events.codec import Codec
from perdure.events.command import Command, Orphan
from perdure.events.cost import CostRecorded, recorded_cost
from perdure.events.errors import Rejected
from perdure.events.event import Event
from perdure.events.file_warnings import FILE_WARNINGS, FileWarning
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    PurchaseIntended,
    PurchaseLost,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseResumed,
    PurchaseUncertain,
    RefusePurchase,
)
from perdure.events.request import (
    REQUEST_EVENTS,
    CancelRequest,
    Content,
    ExpireRequest,
    FailRequest,
    NoteAnswered,
    NoteFileWarnings,
    OpenRequest,
    ReleaseFiles,
    RequestAnswered,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestFilesReleased,
    RequestOpened,
    ResubmitRequest,
    ResumeRequest,
)
from perdure.events.sealed import Sealed, plain
from perdure.events.supervision import SUPERVISION_EVENTS

KIND: Final = "request"
FOLD: Final = 2

REQUEST_PURCHASES: Final[tuple[type[Event], ...]] = (
    PurchaseIntended,
    PurchaseUncertain,
    PurchaseRefused,
    PurchaseLost,
    PurchaseResubmitted,
    PurchaseResumed,
)
"""What may happen to it as a purchase: never surely absent, never found twice, for there is no list to look at."""

CODEC: Final[Codec[Event]] = Codec(KIND, (*REQUEST_EVENTS, *REQUEST_PURCHASES, CostRecorded, *SUPERVISION_EVENTS))

RESUBMIT_WAITS_US: Final = (1 * SECOND_US, 8 * SECOND_US, 60 * SECOND_US)
"""How long a request whose outcome is unknown waits before it is asked again, each time; then it rests uncertain. Each
of these attempts may be paid for, so they are few, and they span the minute that a gateway takes to come back."""

PATIENCE_US: Final = 86_400 * SECOND_US
"""How long refusals that may pass are borne where no deadline says it: a day, as long as a batch would take."""

PURCHASE_REPORTS: Final = (IntendPurchase, DoubtPurchase, RefusePurchase, LosePurchase)


class RequestState(Struct):
    """A request. `status`: `new`, `open`, `answered`, `failed`, `cancelled`, `expired`.

    `answer` is there once something was paid for, in whatever status; `answered` is the attempt that it came to.
    `holds`: the bytes of its files are kept for it.
    """

    actor: str
    tenant: str
    purchase: Purchase
    status: str = "new"
    opened: RequestOpened | None = None
    resubmits: int = 0
    answer: Content | None = None
    answered: int = 0
    surplus: int = 0
    code: str = ""
    message: str = ""
    http_status: int = 0
    holds: bool = False
    warnings: list[FileWarning] = field(default_factory=list[FileWarning])
    anomalies: int = 0


class Ask(PurchaseEffect, frozen=True, kw_only=True):
    """Send the request, or, `intended`, say that it cannot be told what became of it."""

    request: RequestOpened


class LetFilesGo(Effect, frozen=True, kw_only=True):
    """Nothing needs the bytes of its files any more."""


class ReachDeadline(Effect, frozen=True, kw_only=True):
    """The caller's deadline is here."""


def initial(actor: str, tenant: str) -> RequestState:
    """The state before it is opened."""
    return RequestState(actor=actor, tenant=tenant, purchase=Purchase(ordinal=0))


# ---------------------------------------------------------------- judgement


def decide(state: RequestState, command: Command, at: int) -> Sequence[Event]:
    """Judges a command at `at` (µs since 1970 UTC); raises only `Rejected` kinds."""
    if isinstance(command, OpenRequest):
        return _open(state, command, at)
    opened = state.opened
    if opened is None:
        raise Rejected(f"{state.actor} does not exist: open it first", field="request")
    match command:
        case NoteAnswered() | Orphan(report=NoteAnswered()):
            return _answered(state, command.report if isinstance(command, Orphan) else command)
        case CancelRequest():
            return (RequestCancelled(),) if state.status == "open" else ()
        case ExpireRequest():
            return (RequestExpired(),) if state.status == "open" else ()
        case ResumeRequest():
            return (PurchaseResumed(ordinal=0, attempt=state.purchase.attempt),) if state.purchase.blocked else ()
        case ResubmitRequest():
            return _resubmit(state)
        case NoteFileWarnings():
            return [warning for warning in command.warnings if warning not in state.warnings]
        case ReleaseFiles():
            held = tuple({file.blob: None for file in opened.files}) if state.holds and not _wanted(state) else ()
            return (RequestFilesReleased(held),) if held else ()
        case FailRequest():
            unsent = state.purchase.phase == "open"
            return (RequestFailed(code=command.code, message=plain(command.message)),) if unsent else ()
        case _ if isinstance(command, PURCHASE_REPORTS):
            return _purchase(state, opened, command, at)
        case _:
            raise Rejected(f"a request does nothing at {type(command).__name__}", field="command")


def difference(state: RequestState, command: OpenRequest) -> str | None:
    """How a request differs from the one that was opened; None when it is the same. Bodies are not repeated."""
    if state.opened is None:
        return None
    for name in ("provider", "endpoint", "model", "credential"):
        was, wanted = getattr(state.opened, name), getattr(command, name)
        if was != wanted:
            return f"{name} was {was!r} and is now {wanted!r}"
    return None if state.opened.digest == command.digest else "body is another"


def _open(state: RequestState, command: OpenRequest, at: int) -> Sequence[Event]:
    if state.opened is not None:
        differs = difference(state, command)
        if differs is not None:
            raise Rejected(f"{state.actor} is open with another request: its {differs}", field="request")
        return ()
    return (
        RequestOpened(
            provider=command.provider,
            endpoint=command.endpoint,
            model=command.model,
            credential=command.credential,
            body=command.body,
            digest=command.digest,
            on_uncertain=command.on_uncertain,
            deadline_at=at + command.deadline_us if command.deadline_us else 0,
            custom_id=command.custom_id,
            tags=command.tags,
            neutral=command.neutral,
            files=command.files,
            subject=command.subject,
        ),
    )


def _answered(state: RequestState, report: Command) -> Sequence[Event]:
    """What was paid for is recorded, whether or not anybody still wants it; the same report again is not."""
    assert isinstance(report, NoteAnswered)
    if not 1 <= report.attempt <= state.purchase.attempt:
        raise Rejected(f"{state.actor} made no attempt {report.attempt}", field="attempt", value=report.attempt)
    if report.attempt == state.answered:
        return ()
    answered = RequestAnswered(
        attempt=report.attempt,
        body=report.body,
        code=report.code,
        message=plain(report.message) if report.message else Sealed(),
        status=report.status,
    )
    return (answered,) if report.cost is None else (recorded_cost(report.cost), answered)


def _resubmit(state: RequestState) -> Sequence[Event]:
    if state.status != "open" or state.purchase.phase != "lost":
        raise Rejected(f"{state.actor} is not in doubt: there is nothing to ask again", field="request")
    return (PurchaseResubmitted(ordinal=0, attempt=state.purchase.attempt, policy="caller"),)


def _purchase(state: RequestState, opened: RequestOpened, command: Command, at: int) -> Sequence[Event]:
    purchase = state.purchase
    if state.status != "open" and isinstance(command, IntendPurchase):
        raise purchase.superseded(state.actor, command.attempt)
    if isinstance(command, LosePurchase):
        return _lost(state, opened, command, at)
    # With a deadline patience never ends: until then it may pass, and then it expires.
    patience_us = at if opened.deadline_at else PATIENCE_US
    events = purchase.decide(state.actor, command, at, patience_us=patience_us)
    if events is None:
        assert isinstance(command, RefusePurchase)
        message = plain(command.message)
        return (RequestFailed(code=command.code or command.kind, message=message, status=command.status),)
    return events


def _lost(state: RequestState, opened: RequestOpened, command: LosePurchase, at: int) -> Sequence[Event]:
    """It cannot be told whether it was bought: the policy says what comes of it, and asks no more often than it may."""
    purchase = state.purchase
    if command.attempt != purchase.attempt or not purchase.owed:
        return ()
    wanted = state.status == "open" and opened.on_uncertain == "resubmit"
    if not wanted or state.resubmits >= len(RESUBMIT_WAITS_US):
        return (PurchaseLost(ordinal=0, attempt=purchase.attempt),)
    wait_us = RESUBMIT_WAITS_US[state.resubmits] * jitter(state.actor, f"resubmit/{purchase.attempt}")
    retry_at = at + int(wait_us)
    return (PurchaseResubmitted(ordinal=0, attempt=purchase.attempt, policy="resubmit", retry_at=retry_at),)


# ---------------------------------------------------------------- fold


def evolve(state: RequestState, event: Event) -> RequestState:
    """Folds one event; never raises."""
    purchase = state.purchase
    match event:
        case RequestOpened() if state.opened is None:
            state.opened, state.status, state.holds = event, "open", bool(event.files)
        case RequestAnswered():
            _take(state, event)
        case RequestFailed():
            purchase.end()
            _fail(state, event.code, event.message, event.status)
        case RequestFilesReleased():
            state.holds = False
        case _ if isinstance(event, FILE_WARNINGS):
            state.warnings.append(event)
        case CostRecorded():
            pass  # it is added up by the read models
        case RequestCancelled() if state.status == "open":
            state.status = "cancelled"
        case RequestExpired() if state.status == "open":
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


def _take(state: RequestState, event: RequestAnswered) -> None:
    purchase = state.purchase
    if event.attempt == purchase.attempt or not purchase.owed:
        purchase.phase, purchase.blocked = "bought", ""
    if state.answer is not None:
        state.surplus += 1
        return
    state.answer, state.answered = event.body, event.attempt
    if event.code:
        _fail(state, event.code, event.message, event.status)
    elif state.status == "open":
        state.status = "answered"


def _fail(state: RequestState, code: str, message: Sealed[str], http_status: int) -> None:
    """Ends it, unless it has ended for its caller: then it stays as that caller saw it."""
    if state.status != "open":
        return
    said = message.open()
    state.status, state.code, state.http_status = "failed", code, http_status
    state.message = said if isinstance(said, str) else ""


# ---------------------------------------------------------------- what it asks for and shows


def effects(state: RequestState) -> Sequence[Effect]:
    """The request while it is open or owed, and its deadline; at last that its files are let go."""
    opened, purchase = state.opened, state.purchase
    if opened is None:
        return ()
    if not (purchase.phase == "open" or purchase.owed):
        return (LetFilesGo(id="release", lane=LOCAL),) if state.holds and not _wanted(state) else ()
    ask = Ask(
        id=purchase.effect_id(),
        lane=Lane(state.tenant, opened.provider, opened.credential, "live"),
        not_before=purchase.not_before(settle_us=0),
        purchase=True,
        intended=purchase.owed,
        searchable=False,
        ordinal=0,
        attempt=purchase.attempt,
        since=purchase.intended_at,
        can_find=False,
        request=opened,
    )
    if opened.deadline_at and state.status == "open":
        return (ask, ReachDeadline(id="deadline", lane=LOCAL, not_before=opened.deadline_at))
    return (ask,)


def _wanted(state: RequestState) -> bool:
    """Whether it may be sent yet, now or because somebody asks for it again."""
    return state.status == "open" or state.purchase.owed


def row(state: RequestState) -> Row:
    """What lists show. One in doubt is terminal: only `ResubmitRequest` or a cancel moves it on."""
    opened, purchase = state.opened, state.purchase
    done = int(state.status in ("answered", "failed"))
    return Row(
        status=_status(state),
        terminal=state.status != "new" and not effects(state),
        provider=opened.provider if opened else "",
        tags=opened.tags if opened else {},
        progress=f"{done}/1 {purchase.blocked}".rstrip(),
    )


def _status(state: RequestState) -> str:
    """The status in the words of the API."""
    purchase = state.purchase
    if state.status == "answered":
        return "succeeded"
    if state.status not in ("new", "open"):
        return state.status
    if purchase.phase == "lost":
        return "uncertain"
    if purchase.blocked:
        return "blocked"
    return "running" if purchase.owed else "pending"


def index(event: Event) -> Index:
    """Its bodies, where they are blobs, are kept as long as the log, its files until it has ended; what it cost."""
    if isinstance(event, CostRecorded):
        return cost_index(event)
    if isinstance(event, RequestFilesReleased):
        return Index(released=event.blobs)
    if not isinstance(event, (RequestOpened, RequestAnswered)):
        return NO_INDEX
    held = [file.blob for file in event.files] if isinstance(event, RequestOpened) else []
    references = [event.body.blob, *held] if event.body.blob else held
    return Index(references=references) if references else NO_INDEX


def weight(state: RequestState) -> int:
    """About how many bytes a state holds in memory."""
    bodies = (state.opened.body if state.opened else None, state.answer)
    return 1_500 + sum(body.size_bytes for body in bodies if body is not None and not body.blob)
