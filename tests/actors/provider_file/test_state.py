"""A provider file's judgement and fold: ordered once, put there once, its owner told until it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest
from msgspec.structs import asdict, replace

from perdure.actors.provider_file import state as pure
from perdure.actors.provider_file.effects import ProviderFiles
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import CloseBatch
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected, Superseded
from perdure.events.event import Event
from perdure.events.provider_file import (
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
    ResumeUpload,
    UploadFailed,
    UploadOrdered,
    UploadSessionKept,
    UploadWithdrawn,
    WithdrawUpload,
)
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseIntended,
    PurchaseRefused,
    PurchaseResubmitted,
    PurchaseUncertain,
    RefusePurchase,
)
from perdure.events.sealed import plain
from tests.actors.living import EPOCH_US as AT

ORDER: Final = AskUpload(
    provider="openai",
    credential="default",
    purpose="batch",
    segments=[("a" * 64, 10)],
    size_bytes=10,
    owner_kind="batch",
    owner="batch_1",
    part=0,
    settle_us=5 * SECOND_US,
    patience_us=86_400 * SECOND_US,
    searchable=True,
)
ASKED: Final[Sequence[Event]] = (UploadOrdered(**asdict(ORDER)),)
INTENDED: Final[Sequence[Event]] = (*ASKED, PurchaseIntended(ordinal=0, attempt=1, identity="i", at=AT))
DOUBTFUL: Final[Sequence[Event]] = (*INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="cut"))
BLOCKED: Final[Sequence[Event]] = (
    *ASKED,
    PurchaseRefused(ordinal=0, attempt=1, reason="auth", at=AT, retry_at=AT + 300 * SECOND_US, blocked=True),
)
UPLOADED: Final[Sequence[Event]] = (*INTENDED, FileUploaded(attempt=1, provider_file="f-1"))
PROCESSING: Final[Sequence[Event]] = (
    *INTENDED,
    FileUploaded(attempt=1, provider_file="f-1", processing_since=AT),
)
PHASES: Final[Mapping[str, Sequence[Event]]] = {
    "new": (),
    "asked": ASKED,
    "blocked": BLOCKED,
    "intended": INTENDED,
    "doubtful": DOUBTFUL,
    "leaving": (*INTENDED, UploadWithdrawn()),
    "withdrawn": (*ASKED, UploadWithdrawn()),
    "processing": PROCESSING,
    "uploaded": UPLOADED,
    "failed": (*ASKED, UploadFailed(code="invalid_request")),
    "told": (*UPLOADED, OwnerTold()),
}
COMMANDS: Final[Mapping[str, Command]] = {
    "AskUpload": ORDER,
    "WithdrawUpload": WithdrawUpload(),
    "ResumeUpload": ResumeUpload(),
    "NoteUploaded": NoteUploaded(attempt=1, provider_file="f-1"),
    "Orphan": Orphan(effect="buy/0/1", report=NoteUploaded(attempt=1, provider_file="f-1")),
    "KeepUploadSession": KeepUploadSession(attempt=1, session="there"),
    "NoteFileProcessed": NoteFileProcessed(),
    "FailUpload": FailUpload(code="blob_lost", message="m"),
    "NoteOwnerWarned": NoteOwnerWarned(attempt=2),
    "NoteOwnerTold": NoteOwnerTold(),
    "IntendPurchase": IntendPurchase(ordinal=0, attempt=1, identity="i"),
    "DoubtPurchase": DoubtPurchase(ordinal=0, attempt=1, reason="cut"),
    "RefusePurchase": RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"),
    "RefusePurchase for good": RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
    "MissPurchase": MissPurchase(ordinal=0, attempt=1),
    "LosePurchase": LosePurchase(ordinal=0, attempt=1),
    "NoteDuplicate": NoteDuplicate(ordinal=0, provider_id="f-2"),
    "of another kind": CloseBatch(),
}
TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "AskUpload": {"new": "UploadOrdered", "else": "nothing"},
    "WithdrawUpload": {"asked, blocked, intended, doubtful, processing": "UploadWithdrawn", "else": "nothing"},
    "ResumeUpload": {"blocked": "PurchaseResumed", "else": "nothing"},
    "NoteUploaded": {"asked, intended, doubtful, leaving": "FileUploaded", "else": "nothing"},
    "Orphan": {"asked, blocked": "FileUploaded", "else": "nothing"},
    "KeepUploadSession": {"asked, intended, doubtful, leaving": "UploadSessionKept", "else": "nothing"},
    "NoteFileProcessed": {"processing": "FileProcessed", "else": "nothing"},
    "FailUpload": {"asked, blocked, intended, leaving, processing": "UploadFailed", "else": "nothing"},
    "NoteOwnerWarned": {"blocked": "OwnerWarned", "else": "nothing"},
    "NoteOwnerTold": {"uploaded, failed": "OwnerTold", "else": "nothing"},
    "IntendPurchase": {"asked": "PurchaseIntended", "intended, leaving": "nothing", "else": "Superseded"},
    "DoubtPurchase": {"intended, leaving": "PurchaseUncertain", "else": "nothing"},
    "RefusePurchase": {"asked, intended, leaving": "PurchaseRefused", "else": "nothing"},
    "RefusePurchase for good": {"asked, intended, leaving": "UploadFailed", "else": "nothing"},
    "MissPurchase": {"intended, doubtful, leaving": "PurchaseAbsent", "else": "nothing"},
    "LosePurchase": {"intended, doubtful, leaving": "PurchaseResubmitted", "else": "nothing"},
    "NoteDuplicate": {"asked, blocked, intended, doubtful, leaving": "DuplicatePurchase", "else": "nothing"},
    "of another kind": {"else": "Rejected"},
}
CASES = [(command, phase) for command in COMMANDS for phase in PHASES]


def fold(*events: Event) -> pure.FileState:
    """The state after `events`."""
    state = pure.initial("pfile_1", "")
    for event in events:
        state = pure.evolve(state, event)
    assert state.anomalies == 0
    return state


def when(given: Sequence[Event], command: Command, at: int = AT) -> list[Event]:
    """What happens when `command` comes after `given`."""
    return list(pure.decide(fold(*given), command, at))


@pytest.mark.parametrize(("command", "phase"), CASES, ids=[f"{command} when {phase}" for command, phase in CASES])
def test_every_command_in_every_phase(command: str, phase: str) -> None:
    expected = next(
        (said for phases, said in TABLE[command].items() if phase in phases.split(", ")), TABLE[command]["else"]
    )
    try:
        events = when(PHASES[phase], COMMANDS[command])
        happened = " ".join(type(event).__name__ for event in events) or "nothing"
    except Rejected as refusal:
        happened = type(refusal).__name__
    assert happened == expected


@pytest.mark.parametrize(
    ("phase", "effects", "status", "terminal"),
    [
        ("new", [], "new", False),
        ("asked", ["buy/0/1"], "running", False),
        ("blocked", ["warn-owner/2", "buy/0/2"], "blocked", False),
        ("intended", ["buy/0/1"], "running", False),
        ("doubtful", ["find/0/1"], "running", False),
        ("leaving", ["buy/0/1"], "running", False),
        ("withdrawn", [], "cancelled", True),
        ("processing", ["watch"], "running", False),
        ("uploaded", ["tell-owner"], "succeeded", False),
        ("failed", ["tell-owner"], "failed", False),
        ("told", [], "succeeded", True),
    ],
)
def test_what_each_phase_asks_for(phase: str, effects: list[str], status: str, terminal: bool) -> None:
    kind = ProviderFiles.unwired()
    state = fold(*PHASES[phase])
    assert [effect.id for effect in kind.effects(state)] == effects
    assert (kind.row(state).status, kind.row(state).terminal) == (status, terminal)


def test_w4_a_withdrawn_upload_is_settled_first() -> None:
    """W-4: between intent and outcome an upload stays owed, though nobody needs it any more."""
    leaving = [*INTENDED, UploadWithdrawn()]
    absent = [*leaving, *when(leaving, MissPurchase(ordinal=0, attempt=1))]
    assert fold(*absent).status == "withdrawn"
    found = [*leaving, *when(leaving, NoteUploaded(attempt=1, provider_file="f-1"))]
    assert [effect.id for effect in pure.effects(fold(*found))] == ["tell-owner"]


def test_an_upload_that_broke_off_is_taken_up_again_where_it_was() -> None:
    """The place survives a refusal and a doubt; once the file is there it is of no use any more."""
    kept = [*INTENDED, UploadSessionKept(session=plain("there"))]
    assert when(kept, KeepUploadSession(attempt=1, session="there")) == [], "nothing new"
    refused = [*kept, *when(kept, RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m"))]
    (upload,) = pure.effects(fold(*refused))
    assert isinstance(upload, pure.UploadEffect)
    assert (upload.id, upload.session) == ("buy/0/2", "there")
    assert fold(*kept, FileUploaded(attempt=1, provider_file="f-1")).session == ""


def test_a_file_is_told_of_once_it_can_be_used() -> None:
    given = [*INTENDED, *when(INTENDED, NoteUploaded(attempt=1, provider_file="f-1", processing=True))]
    assert [effect.id for effect in pure.effects(fold(*given))] == ["watch"]
    ready = [*given, FileProcessed()]
    assert [effect.id for effect in pure.effects(fold(*ready))] == ["tell-owner"]
    failed = fold(*given, *when(given, FailUpload(code="processing_failed", message="it is no text")))
    assert (failed.status, failed.provider_file, failed.code) == ("failed", "", "processing_failed")
    assert fold(*given, *when(given, WithdrawUpload())).status == "withdrawn"


def test_doubt_never_fails_an_upload() -> None:
    assert when(DOUBTFUL, LosePurchase(ordinal=0, attempt=1)) == [
        PurchaseResubmitted(ordinal=0, attempt=1, policy="resubmit")
    ]


def test_other_bytes_under_the_same_id_are_refused() -> None:
    other = replace(ORDER, segments=[("b" * 64, 10)])
    with pytest.raises(Rejected, match="other bytes"):
        when(ASKED, other)


def test_nothing_is_sent_once_it_is_over() -> None:
    with pytest.raises(Superseded):
        when(PHASES["withdrawn"], IntendPurchase(ordinal=0, attempt=1, identity="i"))


def test_an_order_names_its_blobs() -> None:
    assert list(ProviderFiles.unwired().index(ASKED[0]).references) == ["a" * 64]
