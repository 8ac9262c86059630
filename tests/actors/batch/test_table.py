"""Every command in every phase: what happens, as a table. What the table cannot show is in the tests beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from perdure.events.batch import (
    CancelBatch,
    CloseBatch,
    DiscardBatch,
    FileBlocked,
    FileFailed,
    FileStored,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileResumed,
    NoteTrouble,
    ResubmitBatch,
    ResumeBatch,
)
from perdure.events.command import Command, Orphan
from perdure.events.errors import Rejected
from perdure.events.provider_file import ResumeUpload
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    RefusePurchase,
)
from tests.actors.batch.given import (
    LINES,
    PHASES,
    collect,
    end,
    names,
    open_batch,
    polled,
    settle,
    sold,
    take,
    when,
)

COMMANDS: Final[Mapping[str, Command]] = {
    "OpenBatch": open_batch(),
    "CollectLines": collect(LINES),
    "CloseBatch": CloseBatch(),
    "DiscardBatch": DiscardBatch(reason="bad"),
    "CancelBatch": CancelBatch(),
    "ResumeBatch": ResumeBatch(),
    "ResubmitBatch": ResubmitBatch(),
    "NoteFileAsked": NoteFileAsked(part=0, file="pfile_1"),
    "FileStored": FileStored(part=0, provider_file="f-1"),
    "FileFailed": FileFailed(part=0, code="invalid_request", message="m"),
    "FileBlocked": FileBlocked(part=0, error="no key"),
    "NoteFileResumed": NoteFileResumed(part=0),
    "IntendPurchase": IntendPurchase(ordinal=0, attempt=1, identity="i"),
    "DoubtPurchase": DoubtPurchase(ordinal=0, attempt=1, reason="cut"),
    "RefusePurchase": RefusePurchase(ordinal=0, attempt=1, kind="rate_limit", message="m"),
    "RefusePurchase for good": RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="m"),
    "MissPurchase": MissPurchase(ordinal=0, attempt=1),
    "LosePurchase": LosePurchase(ordinal=0, attempt=1),
    "NoteDuplicate": NoteDuplicate(ordinal=0, provider_id="p-2"),
    "NoteSubmitted": sold(),
    "Orphan": Orphan(effect="buy/0/1", report=sold("p-9")),
    "NotePolled": polled(completed=2),
    "NoteTrouble": NoteTrouble(part=0, error="503", blocked=False),
    "EndPart": end(),
    "TakeResults": take(0, 1),
    "SettlePart": settle(),
    "NoteCancelSent": NoteCancelSent(part=0),
    "NoteDuplicateCancelled": NoteDuplicateCancelled(provider_batch="p-2"),
    "of another kind": ResumeUpload(),
}

TABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "OpenBatch": {
        "new": "BatchOpened",
        "else": "nothing",
    },
    "CollectLines": {
        "new": "Rejected",
        "collecting": "LinesCollected",
        "else": "WindowClosed",
    },
    "CloseBatch": {
        "new": "Rejected",
        "collecting": "BatchClosed",
        "else": "nothing",
    },
    "DiscardBatch": {
        "collecting": "BatchDiscarded",
        "else": "nothing",
    },
    "CancelBatch": {
        "new": "Rejected",
        "collecting": "CancelRequested BatchDiscarded",
        "intended, doubtful, submitted, troubled, ended": "CancelRequested",
        "cancelling, finished": "nothing",
        "else": "CancelRequested PartEnded",
    },
    "ResumeBatch": {
        "file blocked": "FileResumeAsked",
        "refused": "PurchaseResumed",
        "else": "nothing",
    },
    "ResubmitBatch": {
        "lost": "PurchaseResubmitted",
        "else": "Rejected",
    },
    "NoteFileAsked": {
        "new, collecting": "Rejected",
        "closed": "FileAsked",
        "else": "nothing",
    },
    "FileStored": {
        "new, collecting": "Rejected",
        "closed, filing, file blocked, file resumed": "FileReady",
        "else": "nothing",
    },
    "FileFailed": {
        "new, collecting": "Rejected",
        "closed, filing, file blocked, file resumed": "PartEnded",
        "else": "nothing",
    },
    "FileBlocked": {
        "new, collecting": "Rejected",
        "closed, filing, file resumed": "FileTroubled",
        "else": "nothing",
    },
    "NoteFileResumed": {
        "new, collecting": "Rejected",
        "file resumed": "FileResumed",
        "else": "nothing",
    },
    "IntendPurchase": {
        "new, collecting": "Rejected",
        "ready": "PurchaseIntended",
        "intended": "nothing",
        "else": "Superseded",
    },
    "DoubtPurchase": {
        "new, collecting": "Rejected",
        "intended": "PurchaseUncertain",
        "else": "nothing",
    },
    "RefusePurchase": {
        "new, collecting": "Rejected",
        "ready, intended": "PurchaseRefused",
        "else": "nothing",
    },
    "RefusePurchase for good": {
        "new, collecting": "Rejected",
        "ready, intended": "PartEnded",
        "else": "nothing",
    },
    "MissPurchase": {
        "new, collecting": "Rejected",
        "intended, doubtful": "PurchaseAbsent",
        "else": "nothing",
    },
    "LosePurchase": {
        "new, collecting": "Rejected",
        "intended, doubtful": "PurchaseLost",
        "else": "nothing",
    },
    "NoteDuplicate": {
        "new, collecting": "Rejected",
        "ready, refused, intended, doubtful, lost": "DuplicatePurchase",
        "else": "nothing",
    },
    "NoteSubmitted": {
        "new, collecting": "Rejected",
        "ready, intended, doubtful, lost": "BatchSubmitted",
        "else": "nothing",
    },
    "Orphan": {
        "new": "Rejected",
        "ready, refused, intended, doubtful, lost": "BatchSubmitted",
        "else": "DuplicatePurchase",
    },
    "NotePolled": {
        "new, collecting": "Rejected",
        "submitted, cancelling": "BatchPolled",
        "troubled": "PollRecovered BatchPolled",
        "else": "nothing",
    },
    "NoteTrouble": {
        "new, collecting": "Rejected",
        "submitted, cancelling, ended": "PollTroubled",
        "else": "nothing",
    },
    "EndPart": {
        "new, collecting": "Rejected",
        "submitted, troubled, cancelling": "PartEnded",
        "else": "nothing",
    },
    "TakeResults": {
        "new, collecting": "Rejected",
        "ended": "ResultsTaken",
        "else": "nothing",
    },
    "SettlePart": {
        "new, collecting": "Rejected",
        "ended": "PartSettled BatchFinished",
        "else": "nothing",
    },
    "NoteCancelSent": {
        "new, collecting": "Rejected",
        "submitted, troubled, cancelling": "CancelSent",
        "else": "nothing",
    },
    "NoteDuplicateCancelled": {
        "else": "nothing",
    },
    "of another kind": {
        "else": "Rejected",
    },
}
"""What each command leads to, by phase: types of events, `nothing`, or the error."""

CASES = [(command, phase) for command in COMMANDS for phase in PHASES]


@pytest.mark.parametrize(("command", "phase"), CASES, ids=[f"{command} when {phase}" for command, phase in CASES])
def test_every_command_in_every_phase(command: str, phase: str) -> None:
    expected = next(
        (said for phases, said in TABLE[command].items() if phase in phases.split(", ")), TABLE[command]["else"]
    )
    try:
        happened = names(when(PHASES[phase], COMMANDS[command])) or "nothing"
    except Rejected as refusal:
        happened = type(refusal).__name__
    assert happened == expected


def test_the_table_knows_every_phase_and_command() -> None:
    assert set(TABLE) == set(COMMANDS)
    named = {phase for row in TABLE.values() for phases in row for phase in phases.split(", ")} - {"else"}
    assert named <= set(PHASES)
