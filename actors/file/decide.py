"""A file, the pure part: judgement. What each command leads to, given the state and the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perdure.actors.file.state import (
    Copy,
    FileState,
    current_copy,
    find_copy,
    find_deletion,
    life_at,
    needs_content,
)
from perdure.actors.purchase import SECOND_US
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected, Superseded, TooLarge
from perdure.events.event import Event
from perdure.events.file import (
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
    CreateFile,
    ExpireCopy,
    ExpireFile,
    FailCopy,
    FileCreated,
    FileRemoved,
    FileTimedOut,
    KeepSession,
    LeaveCopy,
    LoseCopy,
    NoteCopyDeleted,
    NoteCopyReady,
    NoteCopyStored,
    PushFile,
    ReleaseContent,
    RemoveFile,
    ResumeCopies,
    SurplusFound,
    WithdrawCopy,
)
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseResubmitted,
    PurchaseResumed,
    RefusePurchase,
)
from perdure.events.sealed import Sealed, plain

PATIENCE_US: Final = 86_400 * SECOND_US
"""How long refusals of an upload that may pass are borne."""

DOUBTS: Final = 20
"""How often in a row the outcome of an upload may be unknown before it is given up: a quarter of an hour of waits, and
more than any run of crashes that somebody would want to sit out."""

PURCHASE_REPORTS: Final = (IntendPurchase, DoubtPurchase, RefusePurchase, MissPurchase, LosePurchase, NoteDuplicate)


def decide(state: FileState, command: Command, at: int) -> Sequence[Event]:
    """Judges a command at `at` (µs since 1970 UTC); raises only `Rejected` kinds."""
    if isinstance(command, CreateFile):
        return _create(state, command, at)
    created = state.created
    if created is None:
        raise Rejected(f"{state.actor} does not exist: upload it first", field="file")
    match command:
        case ExpireFile():
            return (FileTimedOut(),) if state.life == "kept" and life_at(state, at) == "expired" else ()
        case RemoveFile():
            return _remove(state, command, at)
        case ReleaseContent():
            return () if state.released or needs_content(state) else (ContentReleased(created.blob),)
        case PushFile():
            return _push(state, created, command, at)
        case LoseCopy():
            return _lose(state, command, at)
        case ResumeCopies():
            return _resume(state, command)
        case NoteCopyStored() | Orphan(report=NoteCopyStored()):
            report = command.report if isinstance(command, Orphan) else command
            assert isinstance(report, NoteCopyStored)
            return _stored(state, report, at)
        case NoteCopyDeleted() | LeaveCopy():
            return _deleted(state, command)
        case WithdrawCopy() | KeepSession() | NoteCopyReady() | FailCopy() | ExpireCopy():
            copy = find_copy(state, command.ordinal)
            return () if copy is None else _of_copy(copy, command, at)
        case _ if isinstance(command, PURCHASE_REPORTS):
            return _purchase(state, command, at)
        case _:
            raise Rejected(f"a file does nothing at {type(command).__name__}", field="command")


# ---------------------------------------------------------------- the file


def _create(state: FileState, command: CreateFile, at: int) -> Sequence[Event]:
    created = state.created
    if created is not None:
        if created.blob != command.blob:
            raise Rejected(f"{state.actor} has other content: use another id", field="file")
        return ()
    return (
        FileCreated(
            blob=command.blob,
            size_bytes=command.size_bytes,
            filename=plain(command.filename),
            mime_type=command.mime_type,
            at=at,
            expires_at=at + command.ttl_us if command.ttl_us else 0,
            shown=plain(command.shown) if command.shown not in ("", command.filename) else Sealed(),
            declared=command.declared,
            charset=command.charset,
            subject=command.subject,
            tags=command.tags,
        ),
    )


def _remove(state: FileState, command: RemoveFile, at: int) -> Sequence[Event]:
    """The first wish counts, and a later one that wants more: the copies too, also after the file's own end."""
    ended = state.life != "kept"
    over: Sequence[Event] = (FileTimedOut(),) if not ended and life_at(state, at) == "expired" else ()
    wanted = not state.everywhere_at if command.everywhere else not (ended or over)
    return (*over, FileRemoved(at=at, everywhere=command.everywhere)) if wanted else over


# ---------------------------------------------------------------- its copies


def _push(state: FileState, created: FileCreated, command: PushFile, at: int) -> Sequence[Event]:
    if life_at(state, at) != "kept":
        raise Rejected(f"{state.actor} is over: it is not sent anywhere any more", field="file")
    if created.size_bytes > command.max_bytes:
        raise TooLarge(
            f"{state.actor} has {created.size_bytes:,} bytes and {command.provider} takes files up to "
            f"{command.max_bytes:,}: nothing was sent",
            limit=command.max_bytes,
            size=created.size_bytes,
            field="file",
        )
    copy = current_copy(state, command.provider, command.credential)
    status = None if copy is None else copy.status_at(at)
    if status in ("pending", "processing"):
        return ()
    if copy is not None and status == "uploaded" and copy.lasts(at, command.life_us):
        return ()
    order = CopyOrdered(
        ordinal=state.next_ordinal,
        provider=command.provider,
        credential=command.credential,
        purpose=command.purpose,
        at=at,
        settle_us=command.settle_us,
        searchable=command.searchable,
    )
    if copy is not None and copy.status == "uploaded" != status:
        return (CopyExpired(copy.order.ordinal), order)
    return (order,)


def _lose(state: FileState, command: LoseCopy, at: int) -> Sequence[Event]:
    """Flips what was lost and puts it there once more: a replacement that is lost too waits for somebody to push it."""
    events: list[Event] = []
    ordinal = state.next_ordinal
    for copy in state.copies:
        order = copy.order
        if order.provider != command.provider or copy.reference != command.reference or copy.status != "uploaded":
            continue
        events.append(CopyLost(order.ordinal))
        if life_at(state, at) == "kept" and not order.replaces_lost:
            events.append(_again(order, ordinal, at))
            ordinal += 1
    return events


def _again(order: CopyOrdered, ordinal: int, at: int) -> CopyOrdered:
    return CopyOrdered(
        ordinal=ordinal,
        provider=order.provider,
        credential=order.credential,
        purpose=order.purpose,
        at=at,
        settle_us=order.settle_us,
        searchable=order.searchable,
        replaces_lost=True,
    )


def _resume(state: FileState, command: ResumeCopies) -> Sequence[Event]:
    return [
        PurchaseResumed(ordinal=copy.order.ordinal, attempt=copy.purchase.attempt)
        for copy in state.copies
        if copy.purchase.blocked and copy.status == "pending" and command.ordinal in (-1, copy.order.ordinal)
    ]


def _stored(state: FileState, report: NoteCopyStored, at: int) -> Sequence[Event]:
    """What was stored is adopted by the copy that waits for it; anything else is taken away from the provider again."""
    copy = find_copy(state, report.ordinal)
    if copy is not None and copy.status == "pending":
        newest = report.attempt == copy.purchase.attempt
        if newest or (0 < report.attempt < copy.purchase.attempt and not copy.purchase.owed):
            stored = CopyStored(
                ordinal=report.ordinal,
                attempt=report.attempt,
                remote_id=report.remote_id,
                reference=report.reference,
                at=at,
                expires_at=report.expires_at,
                processing=report.processing or bool(report.failed),
                reconciled=report.reconciled,
            )
            if report.failed:
                return (stored, CopyFailed(report.ordinal, "processing_failed", plain(report.failed)))
            return (stored,)
    known = find_deletion(state.deletions, report.provider, report.credential, report.remote_id) is not None
    if known or any(other.remote_id == report.remote_id for other in state.copies):
        return ()
    return (SurplusFound(report.provider, report.credential, report.remote_id, at),)


def _deleted(state: FileState, command: NoteCopyDeleted | LeaveCopy) -> Sequence[Event]:
    provider, credential, remote_id = command.provider, command.credential, command.remote_id
    if find_deletion(state.deletions, provider, credential, remote_id) is None:
        return ()
    if isinstance(command, NoteCopyDeleted):
        return (CopyDeleted(provider, credential, remote_id),)
    return (CopyLeft(provider, credential, remote_id, command.code, plain(command.message)),)


def _of_copy(
    copy: Copy, command: WithdrawCopy | KeepSession | NoteCopyReady | FailCopy | ExpireCopy, at: int
) -> Sequence[Event]:
    pending = copy.status == "pending"
    match command:
        case WithdrawCopy():
            return (CopyWithdrawn(command.ordinal),) if pending and not copy.purchase.owed else ()
        case KeepSession():
            mine = pending and command.attempt == copy.purchase.attempt and command.session != copy.session
            return (CopySessionKept(command.ordinal, plain(command.session)),) if mine else ()
        case NoteCopyReady():
            ready = CopyReady(command.ordinal, command.reference, command.expires_at)
            return (ready,) if copy.status == "processing" else ()
        case FailCopy():
            surely_not_whole = pending and copy.purchase.phase in ("open", "intended")
            failed = CopyFailed(command.ordinal, command.code, plain(command.message))
            return (failed,) if surely_not_whole or copy.status == "processing" else ()
        case ExpireCopy():
            over = copy.status == "uploaded" and copy.status_at(at) == "expired"
            return (CopyExpired(command.ordinal),) if over else ()


def _purchase(state: FileState, command: Command, at: int) -> Sequence[Event]:
    assert isinstance(command, PURCHASE_REPORTS)
    copy = find_copy(state, command.ordinal)
    if copy is None or copy.status != "pending":
        if isinstance(command, IntendPurchase):
            raise Superseded(f"copy {command.ordinal} of {state.actor} is over: nothing may be sent", field="ordinal")
        return ()
    purchase = copy.purchase
    if isinstance(command, NoteDuplicate):
        order = copy.order
        if find_deletion(state.deletions, order.provider, order.credential, command.provider_id) is not None:
            return ()
    if isinstance(command, LosePurchase):
        if command.attempt != purchase.attempt or not purchase.owed:
            return ()
        if state.life != "kept" or copy.doubts >= DOUBTS:
            return (_given_up(copy),)
        return (PurchaseResubmitted(ordinal=command.ordinal, attempt=command.attempt, policy="resubmit"),)
    events = purchase.decide(state.actor, command, at, patience_us=PATIENCE_US)
    if events is None:
        assert isinstance(command, RefusePurchase)
        code = command.code or command.kind
        return (CopyFailed(command.ordinal, code, plain(command.message), command.status),)
    if isinstance(command, MissPurchase) and events and copy.doubts >= DOUBTS:
        return (*events, _given_up(copy))
    return events


def _given_up(copy: Copy) -> CopyFailed:
    message = f"the outcome of the upload to {copy.order.provider} was unknown {copy.doubts + 1} times in a row"
    return CopyFailed(copy.order.ordinal, "outcome_unknown", plain(message))
