"""A file, the pure part: every command in every phase, and what each phase asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from msgspec.structs import replace

from perdure.actors.file import state as pure
from perdure.actors.file.asks import Delete, Put, Watch
from perdure.actors.file.decide import DOUBTS, PATIENCE_US
from perdure.actors.file.effects import Files, planted_name
from perdure.actors.file.state import LONGEST_WAIT_US, MARGIN_US, FileState, current_copy, life_at
from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import CloseBatch
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected, Superseded, TooLarge
from perdure.events.event import Event
from perdure.events.file import (
    ContentReleased,
    CopyDeleted,
    CopyExpired,
    CopyFailed,
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
    WithdrawCopy,
)
from perdure.events.ids import make_id
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseAbsent,
    PurchaseIntended,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseUncertain,
    RefusePurchase,
)
from perdure.events.sealed import plain
from tests.actors.living import EPOCH_US as AT

KIND: Final = Files.unwired()
ACTOR: Final = make_id("file", AT, 1)
HOUR_US: Final = 3_600 * SECOND_US
TTL_US: Final = 24 * HOUR_US
CREATE: Final = CreateFile(
    blob="a" * 64, size_bytes=1_000, filename="a.pdf", mime_type="application/pdf", ttl_us=TTL_US, tags={"a": "b"}
)
CREATED: Final = FileCreated(
    blob="a" * 64,
    size_bytes=1_000,
    filename=plain("a.pdf"),
    mime_type="application/pdf",
    at=AT,
    expires_at=AT + TTL_US,
    tags={"a": "b"},
)
PUSH: Final = PushFile(
    provider="google", credential="default", purpose="p", settle_us=SECOND_US, searchable=True, max_bytes=5_000
)


def ordered(ordinal: int = 0, *, provider: str = "google", replaces_lost: bool = False) -> CopyOrdered:
    """A copy is wanted."""
    return CopyOrdered(
        ordinal=ordinal,
        provider=provider,
        credential="default",
        purpose="p",
        at=AT,
        settle_us=SECOND_US,
        searchable=True,
        replaces_lost=replaces_lost,
    )


def intended(ordinal: int = 0, attempt: int = 1) -> PurchaseIntended:
    """The intent of an upload."""
    return PurchaseIntended(ordinal=ordinal, attempt=attempt, identity="i", at=AT)


def stored(ordinal: int = 0, *, expires_at: int = AT + 10 * HOUR_US, processing: bool = False) -> CopyStored:
    """The provider has a copy."""
    return CopyStored(
        ordinal=ordinal,
        attempt=1,
        remote_id=f"r-{ordinal}",
        reference=f"ref-{ordinal}",
        at=AT,
        expires_at=expires_at,
        processing=processing,
    )


KEPT: Final[Sequence[Event]] = (CREATED,)
PENDING: Final[Sequence[Event]] = (*KEPT, ordered())
INTENDED: Final[Sequence[Event]] = (*PENDING, intended())
DOUBTFUL: Final[Sequence[Event]] = (*INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="cut"))
BLOCKED: Final[Sequence[Event]] = (
    *PENDING,
    PurchaseRefused(ordinal=0, attempt=1, reason="auth", at=AT, retry_at=AT + 300 * SECOND_US, blocked=True),
)
PROCESSING: Final[Sequence[Event]] = (*INTENDED, stored(processing=True))
UPLOADED: Final[Sequence[Event]] = (*INTENDED, stored())
TIMED_OUT: Final = FileTimedOut()
REMOVED: Final = FileRemoved(at=AT + HOUR_US)
EVERYWHERE: Final = FileRemoved(at=AT + HOUR_US, everywhere=True)
PHASES: Final[Mapping[str, Sequence[Event]]] = {
    "new": (),
    "kept": KEPT,
    "pending": PENDING,
    "blocked": BLOCKED,
    "intended": INTENDED,
    "doubtful": DOUBTFUL,
    "processing": PROCESSING,
    "uploaded": UPLOADED,
    "expired": (*UPLOADED, CopyExpired(0)),
    "lost": (*UPLOADED, CopyLost(0)),
    "error": (*INTENDED, CopyFailed(0, "invalid_request")),
    "timed out": (*UPLOADED, TIMED_OUT),
    "leaving": (*INTENDED, TIMED_OUT),
    "removed": (*PENDING, REMOVED),
    "deleting": (*UPLOADED, EVERYWHERE),
    "deleted": (*UPLOADED, EVERYWHERE, CopyDeleted("google", "default", "r-0")),
    "released": (*KEPT, TIMED_OUT, ContentReleased("a" * 64)),
}
STORED_REPORT: Final = NoteCopyStored(
    ordinal=0, attempt=1, provider="google", credential="default", remote_id="r-0", reference="ref-0", expires_at=AT
)
COMMANDS: Final[Mapping[str, Command]] = {
    "CreateFile": CREATE,
    "ExpireFile": ExpireFile(),
    "RemoveFile": RemoveFile(),
    "RemoveFile everywhere": RemoveFile(everywhere=True),
    "ReleaseContent": ReleaseContent(),
    "PushFile": PUSH,
    "PushFile elsewhere": replace(PUSH, provider="openai"),
    "LoseCopy": LoseCopy("google", "ref-0"),
    "LoseCopy elsewhere": LoseCopy("google", "ref-9"),
    "ResumeCopies": ResumeCopies(),
    "ResumeCopies of another": ResumeCopies(1),
    "WithdrawCopy": WithdrawCopy(0),
    "KeepSession": KeepSession(0, 1, "https://there"),
    "KeepSession of another attempt": KeepSession(0, 9, "https://there"),
    "NoteCopyStored": STORED_REPORT,
    "Orphan": Orphan(effect="buy/0/1", report=STORED_REPORT),
    "Orphan of no copy": Orphan(effect="buy/7/1", report=replace(STORED_REPORT, ordinal=7, remote_id="r-7")),
    "NoteCopyStored of a failed file": replace(STORED_REPORT, failed="no"),
    "NoteCopyReady": NoteCopyReady(0, "ref", 0),
    "FailCopy": FailCopy(0, "blob_lost", "m"),
    "ExpireCopy": ExpireCopy(0),
    "NoteCopyDeleted": NoteCopyDeleted("google", "default", "r-0"),
    "LeaveCopy": LeaveCopy("google", "default", "r-0", "not_found", "m"),
    "IntendPurchase": IntendPurchase(ordinal=0, attempt=1, identity="i"),
    "DoubtPurchase": DoubtPurchase(ordinal=0, attempt=1, reason="cut"),
    "RefusePurchase": RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"),
    "RefusePurchase for good": RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
    "MissPurchase": MissPurchase(ordinal=0, attempt=1),
    "LosePurchase": LosePurchase(ordinal=0, attempt=1),
    "NoteDuplicate": NoteDuplicate(ordinal=0, provider_id="r-2"),
    "of another kind": CloseBatch(),
}
KEPT_PHASES: Final = "kept, pending, blocked, intended, doubtful, processing, uploaded, expired, lost, error"
WAITING: Final = "pending, blocked, intended, doubtful, leaving"
TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "CreateFile": {"new": "FileCreated", "else": "nothing"},
    "ExpireFile": {"else": "nothing"},
    "RemoveFile": {KEPT_PHASES: "FileRemoved", "else": "nothing"},
    "RemoveFile everywhere": {"deleting, deleted": "nothing", "else": "FileRemoved"},
    "ReleaseContent": {"timed out, removed, deleting, deleted": "ContentReleased", "else": "nothing"},
    "PushFile": {
        "kept, expired, lost, error": "CopyOrdered",
        "pending, blocked, intended, doubtful, processing, uploaded": "nothing",
        "else": "Rejected",
    },
    "PushFile elsewhere": {KEPT_PHASES: "CopyOrdered", "else": "Rejected"},
    "LoseCopy": {"uploaded": "CopyLost CopyOrdered", "timed out": "CopyLost", "else": "nothing"},
    "LoseCopy elsewhere": {"else": "nothing"},
    "ResumeCopies": {"blocked": "PurchaseResumed", "else": "nothing"},
    "ResumeCopies of another": {"else": "nothing"},
    "WithdrawCopy": {"pending, blocked": "CopyWithdrawn", "else": "nothing"},
    "KeepSession": {"pending, intended, doubtful, leaving": "CopySessionKept", "else": "nothing"},
    "KeepSession of another attempt": {"else": "nothing"},
    "NoteCopyStored": {
        WAITING: "CopyStored",
        "kept, error, removed, released": "SurplusFound",
        "else": "nothing",
    },
    "Orphan": {WAITING: "CopyStored", "kept, error, removed, released": "SurplusFound", "else": "nothing"},
    "Orphan of no copy": {"else": "SurplusFound"},
    "NoteCopyStored of a failed file": {
        WAITING: "CopyStored CopyFailed",
        "kept, error, removed, released": "SurplusFound",
        "else": "nothing",
    },
    "NoteCopyReady": {"processing": "CopyReady", "else": "nothing"},
    "FailCopy": {"pending, blocked, intended, processing, leaving": "CopyFailed", "else": "nothing"},
    "ExpireCopy": {"else": "nothing"},
    "NoteCopyDeleted": {"deleting": "CopyDeleted", "else": "nothing"},
    "LeaveCopy": {"deleting": "CopyLeft", "else": "nothing"},
    "IntendPurchase": {"pending": "PurchaseIntended", "intended, leaving": "nothing", "else": "Superseded"},
    "DoubtPurchase": {"intended, leaving": "PurchaseUncertain", "else": "nothing"},
    "RefusePurchase": {"pending, intended, leaving": "PurchaseRefused", "else": "nothing"},
    "RefusePurchase for good": {"pending, intended, leaving": "CopyFailed", "else": "nothing"},
    "MissPurchase": {"intended, doubtful, leaving": "PurchaseAbsent", "else": "nothing"},
    "LosePurchase": {"intended, doubtful": "PurchaseResubmitted", "leaving": "CopyFailed", "else": "nothing"},
    "NoteDuplicate": {WAITING: "DuplicatePurchase", "else": "nothing"},
    "of another kind": {"else": "Rejected"},
}
CASES: Final = [(command, phase) for command in COMMANDS for phase in PHASES]


def fold(*events: Event) -> FileState:
    """The state after `events`."""
    state = pure.initial(ACTOR, "")
    for event in events:
        state = pure.evolve(state, event)
    assert state.anomalies == 0
    return state


def when(given: Sequence[Event], command: Command, at: int = AT) -> list[Event]:
    """What happens when `command` comes after `given`."""
    return list(KIND.decide(fold(*given), command, at))


def asked(*events: Event) -> dict[str, Effect]:
    """What is asked for after `events`, by id."""
    return {effect.id: effect for effect in KIND.effects(fold(*events))}


def statuses(*events: Event) -> list[str]:
    """The statuses of the copies after `events`."""
    return [copy.status for copy in fold(*events).copies]


@pytest.mark.parametrize(("command", "phase"), CASES, ids=[f"{command} when {phase}" for command, phase in CASES])
def test_every_command_in_every_phase(command: str, phase: str) -> None:
    expected = next(
        (said for phases, said in TABLE[command].items() if phase in phases.split(", ")), TABLE[command]["else"]
    )
    if phase == "new" and command != "CreateFile":
        expected = "Rejected"
    try:
        events = when(PHASES[phase], COMMANDS[command])
        happened = " ".join(type(event).__name__ for event in events) or "nothing"
    except Rejected as refusal:
        happened = type(refusal).__name__
    assert happened == expected


@pytest.mark.parametrize(
    ("phase", "effects", "status", "terminal", "progress"),
    [
        ("new", [], "pending", False, "0/0"),
        ("kept", ["expire"], "succeeded", False, "0/0"),
        ("pending", ["expire", "buy/0/1"], "succeeded", False, "0/1"),
        ("blocked", ["expire", "buy/0/2"], "succeeded", False, "0/1 auth"),
        ("intended", ["expire", "buy/0/1"], "succeeded", False, "0/1"),
        ("doubtful", ["expire", "find/0/1"], "succeeded", False, "0/1"),
        ("processing", ["expire", "watch/0"], "succeeded", False, "0/1"),
        ("uploaded", ["expire", "lapse/0"], "succeeded", False, "1/1"),
        ("expired", ["expire"], "succeeded", False, "0/1"),
        ("lost", ["expire"], "succeeded", False, "0/1"),
        ("error", ["expire"], "succeeded", False, "0/1"),
        ("timed out", ["release"], "expired", False, "1/1"),
        ("leaving", ["buy/0/1"], "expired", False, "0/1"),
        ("removed", ["release"], "cancelled", False, "0/1"),
        ("deleting", ["delete/google/default/r-0", "release"], "cancelled", False, "0/1"),
        ("deleted", ["release"], "cancelled", False, "0/1"),
        ("released", [], "expired", True, "0/0"),
    ],
)
def test_what_each_phase_asks_for(phase: str, effects: list[str], status: str, terminal: bool, progress: str) -> None:
    state = fold(*PHASES[phase])
    assert [effect.id for effect in KIND.effects(state)] == effects
    row = KIND.row(state)
    assert (row.status, row.terminal, row.progress) == (status, terminal, progress)
    assert row.keep_key == (row.status in ("pending", "succeeded")), "a file that is over gives its key back"


# ---------------------------------------------------------------- the file


def test_a_file_says_what_it_is_and_until_when() -> None:
    (event,) = when((), CREATE)
    assert event == CREATED
    named = replace(CREATE, shown="dir/a.pdf", declared="text/plain", charset="utf-8", subject="s", ttl_us=0)
    (event,) = when((), named)
    assert event == replace(
        CREATED, shown=plain("dir/a.pdf"), declared="text/plain", charset="utf-8", subject="s", expires_at=0
    )
    assert asked(event) == {}, "without a time to live it asks for nothing"
    with pytest.raises(Rejected, match="other content"):
        when(KEPT, replace(CREATE, blob="b" * 64))


def test_its_time_to_live_is_a_timer_and_a_pure_function_of_time() -> None:
    (expire,) = asked(*KEPT).values()
    assert expire.not_before == AT + TTL_US
    state = fold(*KEPT)
    assert (life_at(state, AT + TTL_US - 1), life_at(state, AT + TTL_US)) == ("kept", "expired")
    assert when(KEPT, ExpireFile(), AT + TTL_US - 1) == []
    assert when(KEPT, ExpireFile(), AT + TTL_US) == [TIMED_OUT]
    with pytest.raises(Rejected, match="is over"):
        when(KEPT, PUSH, AT + TTL_US)
    assert when(KEPT, RemoveFile(), AT + TTL_US) == [TIMED_OUT], "what was over before is not deleted"
    everywhere = when(KEPT, RemoveFile(everywhere=True), AT + TTL_US)
    assert everywhere == [TIMED_OUT, FileRemoved(at=AT + TTL_US, everywhere=True)]
    assert fold(*KEPT, *everywhere).life == "expired"


def test_its_bytes_stay_until_what_is_being_sent_has_let_go() -> None:
    leaving = [*INTENDED, TIMED_OUT]
    assert list(asked(*leaving)) == ["buy/0/1"]
    assert when(leaving, ReleaseContent()) == []
    for report in (
        STORED_REPORT,
        RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"),
        RefusePurchase(ordinal=0, attempt=1, kind="auth", message="m"),
        RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
        MissPurchase(ordinal=0, attempt=1),
        LosePurchase(ordinal=0, attempt=1),
    ):
        settled = [*leaving, *when(leaving, report)]
        assert list(asked(*settled)) == ["release"], report
        (released,) = when(settled, ReleaseContent())
        assert released == ContentReleased("a" * 64)
        assert KIND.row(fold(*settled, released)).terminal


def test_references_to_its_blob_begin_and_end() -> None:
    assert list(KIND.index(CREATED).references) == ["a" * 64]
    assert list(KIND.index(ContentReleased("a" * 64)).released) == ["a" * 64]
    assert KIND.index(TIMED_OUT).references == KIND.index(TIMED_OUT).released == ()


def test_what_has_not_been_sent_is_not_begun_any_more() -> None:
    for life, end in (("expired", TIMED_OUT), ("deleted", REMOVED)):
        for phase in ("pending", "blocked"):
            (copy,) = fold(*PHASES[phase], end).copies
            assert (copy.status, copy.code) == ("error", f"file_{life}")
            with pytest.raises(Superseded):
                when([*PHASES[phase], end], IntendPurchase(ordinal=0, attempt=1, identity="i"))


# ---------------------------------------------------------------- sending


def test_what_is_too_large_is_refused_with_both_figures() -> None:
    with pytest.raises(TooLarge, match=r"1,000 bytes and google takes files up to 999") as refused:
        when(KEPT, replace(PUSH, max_bytes=999))
    assert (refused.value.limit, refused.value.size) == (999, 1_000)


def test_f8_not_available_before_the_upload_available_after_it_and_expired_after_its_time() -> None:
    (event,) = when(KEPT, PUSH)
    assert event == ordered()
    assert statuses(*PENDING) == statuses(*INTENDED) == ["pending"]
    (copy,) = fold(*UPLOADED).copies
    assert (copy.status, copy.reference, copy.ready) == ("uploaded", "ref-0", True)
    over = AT + 10 * HOUR_US
    assert copy.status_at(over) == "expired"
    assert when(UPLOADED, ExpireCopy(0), over) == [CopyExpired(0)]
    assert statuses(*UPLOADED, CopyExpired(0)) == ["expired"]


def test_w46_one_upload_for_a_provider_however_often_it_is_asked_for() -> None:
    happened: list[Event] = [CREATED]
    for _ in range(100):
        happened += when(happened, PUSH)
    assert happened == [CREATED, ordered()]
    happened += when(happened, replace(PUSH, credential="other"))
    happened += when(happened, replace(PUSH, provider="openai"))
    assert list(asked(*happened)) == ["expire", "buy/0/1", "buy/1/1", "buy/2/1"], "others do not wait for it"


def test_w51_whether_a_copy_can_be_used_depends_on_state_and_time_only() -> None:
    state = fold(*UPLOADED)
    copy = current_copy(state, "google", "default")
    assert copy is not None
    for _ in range(2):
        for now, status in ((AT, "uploaded"), (copy.usable_until - 1, "uploaded"), (copy.usable_until, "expired")):
            assert copy.status_at(now) == status
    assert state == fold(*UPLOADED), "reading changes nothing"


def test_w54_a_copy_is_given_up_a_margin_before_the_provider_does() -> None:
    lapse = asked(*UPLOADED)["lapse/0"]
    assert lapse.not_before == AT + 10 * HOUR_US - MARGIN_US
    short = asked(*INTENDED, stored(expires_at=AT + 50 * SECOND_US))["lapse/0"]
    assert short.not_before == AT + 45 * SECOND_US, "a tenth of a short life, or it could never be used"
    assert list(asked(*INTENDED, stored(expires_at=0))) == ["expire"]
    assert when(UPLOADED, ExpireCopy(0), lapse.not_before - 1) == []
    expired, again = when(UPLOADED, PUSH, lapse.not_before)
    assert (expired, again) == (CopyExpired(0), replace(ordered(1), at=lapse.not_before))
    assert list(asked(*UPLOADED, expired, again)) == ["expire", "buy/1/1"], "under an identity of its own"


def test_w54_what_the_provider_lost_is_put_there_once_more() -> None:
    lost, again = when(UPLOADED, LoseCopy("google", "ref-0"))
    assert (lost, again) == (CopyLost(0), ordered(1, replaces_lost=True))
    happened = [*UPLOADED, lost, again]
    assert when(happened, LoseCopy("google", "ref-0")) == [], "a hundred callers may say so"
    happened += [intended(1), stored(1)]
    assert when(happened, LoseCopy("google", "ref-1")) == [CopyLost(1)], "and then only when somebody pushes it"
    (pushed,) = when([*happened, CopyLost(1)], PUSH)
    assert pushed == ordered(2)


def test_a_session_is_kept_over_attempts_and_forgotten_when_it_has_served() -> None:
    (kept,) = when(INTENDED, KeepSession(0, 1, "https://there"))
    assert kept == CopySessionKept(0, plain("https://there"))
    happened = [*INTENDED, kept]
    assert when(happened, KeepSession(0, 1, "https://there")) == []
    happened += [PurchaseUncertain(ordinal=0, attempt=1, reason="cut"), PurchaseAbsent(ordinal=0, attempt=1)]
    put = asked(*happened)["buy/0/2"]
    assert isinstance(put, Put)
    assert (put.session, put.intended) == ("https://there", False)
    happened += [intended(0, 2), stored()]
    (copy,) = fold(*happened).copies
    assert copy.session == ""


def test_what_is_processed_is_looked_at_until_it_is_ready_or_not() -> None:
    watch = asked(*PROCESSING)["watch/0"]
    assert isinstance(watch, Watch)
    assert (watch.remote_id, watch.not_before) == ("r-0", AT + SECOND_US)
    (ready,) = when(PROCESSING, NoteCopyReady(0, "ref", AT + 10 * HOUR_US))
    assert ready == CopyReady(0, "ref", AT + 10 * HOUR_US)
    assert list(asked(*PROCESSING, ready)) == ["expire", "lapse/0"]
    (failed,) = when(PROCESSING, FailCopy(0, "processing_failed", "not a film"))
    state = fold(*PROCESSING, failed)
    assert [(copy.status, copy.code, copy.message) for copy in state.copies] == [
        ("error", "processing_failed", "not a film")
    ]
    assert list(asked(*PROCESSING, failed)) == ["expire", "delete/google/default/r-0"], "of no use to anybody there"
    assert "watch/0" in asked(*PROCESSING, TIMED_OUT), "whoever waits for it is told"


# ---------------------------------------------------------------- what can go wrong


def test_duplicates_that_reconciling_finds_are_deleted_there() -> None:
    (duplicate,) = when(DOUBTFUL, NoteDuplicate(ordinal=0, provider_id="r-2"))
    assert duplicate == DuplicatePurchase(ordinal=0, provider_id="r-2")
    happened = [*DOUBTFUL, duplicate]
    assert when(happened, NoteDuplicate(ordinal=0, provider_id="r-2")) == []
    delete = asked(*happened, stored())["delete/google/default/r-2"]
    assert isinstance(delete, Delete)
    (deleted,) = when(happened, NoteCopyDeleted("google", "default", "r-2"))
    assert statuses(*happened, stored(), deleted) == ["uploaded"], "the copy itself stays"


def test_an_upload_that_nobody_waits_for_is_taken_away_again() -> None:
    late = Orphan(effect="buy/0/1", report=STORED_REPORT)
    happened = [*INTENDED, CopyFailed(0, "blob_lost")]
    happened += when(happened, late)
    assert "delete/google/default/r-0" in asked(*happened)
    assert when(happened, late) == []
    happened = [*INTENDED, PurchaseAbsent(ordinal=0, attempt=1)]
    (adopted,) = when(happened, late)
    assert isinstance(adopted, CopyStored), "one that waits for its next attempt takes it"
    (surplus,) = when([*happened, intended(0, 2)], late)
    assert type(surplus).__name__ == "SurplusFound", "one that is under way may leave another"


def test_a_final_refusal_keeps_what_the_provider_said() -> None:
    refusal = RefusePurchase(0, 1, "invalid_request", "no such type", code="bad_type", status=400)
    (failed,) = when(INTENDED, refusal)
    assert failed == CopyFailed(0, "bad_type", plain("no such type"), 400)
    (copy,) = fold(*INTENDED, failed).copies
    assert (copy.status, copy.code, copy.message, copy.http_status) == ("error", "bad_type", "no such type", 400)


def test_patience_ends_after_a_day() -> None:
    passing = RefusePurchase(ordinal=0, attempt=2, kind="server_error", message="m")
    refused = PurchaseRefused(ordinal=0, attempt=1, reason="server_error", at=AT, retry_at=AT)
    for at, expected in ((AT + PATIENCE_US, PurchaseRefused), (AT + PATIENCE_US + 1, CopyFailed)):
        (event,) = when([*PENDING, refused, intended(0, 2)], passing, at)
        assert type(event) is expected


def test_a_blocked_upload_is_tried_again_when_somebody_says_so() -> None:
    happened = [*BLOCKED, *when(BLOCKED, ResumeCopies(0))]
    put = asked(*happened)["buy/0/3"]
    assert put.not_before == 0


@pytest.mark.parametrize("searchable", [True, False])
def test_doubt_means_another_try_ever_more_slowly_and_not_for_ever(searchable: bool) -> None:
    happened: list[Event] = [CREATED, replace(ordered(), searchable=searchable)]
    waits: list[int] = []
    for attempt in range(1, DOUBTS + 1):
        happened.append(intended(0, attempt))
        report = MissPurchase(0, attempt) if searchable else LosePurchase(0, attempt)
        (event,) = when(happened, report)
        assert isinstance(event, PurchaseAbsent if searchable else PurchaseResubmitted)
        happened.append(event)
        waits.append(asked(*happened)[f"buy/0/{attempt + 1}"].not_before - AT)
    assert waits[:3] == [SECOND_US, 2 * SECOND_US, 4 * SECOND_US]
    assert waits[-1] == LONGEST_WAIT_US
    happened.append(intended(0, DOUBTS + 1))
    given_up = when(happened, MissPurchase(0, DOUBTS + 1) if searchable else LosePurchase(0, DOUBTS + 1))[-1]
    assert isinstance(given_up, CopyFailed)
    assert given_up.code == "outcome_unknown"


def test_an_upload_can_be_given_up_before_it_is_sent() -> None:
    assert when(PENDING, WithdrawCopy(0)) == [CopyWithdrawn(0)]
    with pytest.raises(Superseded):
        when([*PENDING, CopyWithdrawn(0)], IntendPurchase(ordinal=0, attempt=1, identity="i"))
    (again,) = when([*PENDING, CopyWithdrawn(0)], PUSH)
    assert again == ordered(1)


# ---------------------------------------------------------------- deleting everywhere


def test_copies_are_deleted_with_the_file_if_that_was_asked_for() -> None:
    other = [ordered(1, provider="openai"), intended(1), replace(stored(1), expires_at=0)]
    assert [effect for effect in asked(*UPLOADED, *other, REMOVED) if effect.startswith("delete")] == []
    happened = [*UPLOADED, *other, EVERYWHERE]
    assert statuses(*happened) == ["deleting", "deleting"]
    delete = asked(*happened)["delete/openai/default/r-1"]
    assert isinstance(delete, Delete)
    assert delete.deletion.since == AT + HOUR_US
    happened += when(happened, NoteCopyDeleted("openai", "default", "r-1"))
    happened += when(happened, LeaveCopy("google", "default", "r-0", "forbidden", "no"))
    assert statuses(*happened) == ["error", "deleted"]
    assert list(asked(*happened)) == ["release"]


def test_an_upload_that_was_under_way_is_deleted_when_it_has_arrived() -> None:
    happened = [*INTENDED, EVERYWHERE]
    assert list(asked(*happened)) == ["buy/0/1"]
    happened += when(happened, STORED_REPORT)
    assert statuses(*happened) == ["deleting"]


def test_copies_of_a_file_that_is_over_can_still_be_deleted() -> None:
    for end in (TIMED_OUT, REMOVED):
        happened = [*UPLOADED, end]
        happened += when(happened, RemoveFile(everywhere=True))
        assert statuses(*happened) == ["deleting"]
        assert when(happened, RemoveFile(everywhere=True)) == []


def test_a_new_copy_takes_the_place_of_the_old_one() -> None:
    happened: list[Event] = [CREATED]
    for ordinal in range(50):
        happened += [ordered(ordinal), intended(ordinal), stored(ordinal), CopyExpired(ordinal)]
    assert [copy.order.ordinal for copy in fold(*happened).copies] == [49]
    assert KIND.weight(fold(*happened)) < KIND.weight(fold()) + 2_000


@pytest.mark.parametrize(
    ("filename", "ending"),
    [
        ("a.PDF", ".pdf"),
        ("a.tar.gz", ".gz"),
        (".profile", ""),
        ("no ending", ""),
        ("a.ünder", ""),
        ("a.verylongending", ""),
    ],
)
def test_a_copys_name_is_its_identity_and_the_files_ending(filename: str, ending: str) -> None:
    assert planted_name("log_1", "file_2", 3, filename) == f"log_1-file_2-3{ending}"
