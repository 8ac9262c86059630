"""Every command in every phase: what happens, as a table. What the table cannot show is in the tests beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from perdure.events.batch import (
    CancelBatch,
    CancelLines,
    CloseBatch,
    DeferPart,
    DiscardBatch,
    ExpireLines,
    FailLine,
    FileBlocked,
    FileFailed,
    FileStored,
    NoteCancelSent,
    NoteDuplicateCancelled,
    NoteFileAsked,
    NoteFileNotNeeded,
    NoteFileResumed,
    NoteOverdue,
    NoteTrouble,
    ResubmitBatch,
    ResumeBatch,
    SettleLine,
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
    AT,
    LINES,
    PHASES,
    answer,
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
    "CancelLines": CancelLines(numbers=[1]),
    "CancelLines, all": CancelLines(numbers=range(LINES)),
    "ExpireLines": ExpireLines(until=AT),
    "ResumeBatch": ResumeBatch(),
    "ResubmitBatch": ResubmitBatch(),
    "NoteFileAsked": NoteFileAsked(part=0, file="pfile_1"),
    "NoteFileNotNeeded": NoteFileNotNeeded(part=0),
    "NoteOverdue": NoteOverdue(part=0, provider_batch="p-1"),
    "DeferPart": DeferPart(part=0, provider_batch="p-1", code="token_limit_exceeded", message="m"),
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
    "NoteLineAnswered": answer(0),
    "Orphan of a line": Orphan(effect="buy/0/1", report=answer(0)),
    "FailLine": FailLine(number=0, code="blob_lost", message="m"),
    "SettleLine": SettleLine(number=0, blob="b", length=5),
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
        "intended, doubtful, submitted, troubled, overdue, ended, rescuing, nobody waits, direct owing to nobody": (
            "CancelRequested"
        ),
        "direct": "CancelRequested LinesAbandoned BatchFinished",
        "direct intended, direct doubtful, direct failed": "CancelRequested LinesAbandoned",
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
        "new, collecting, direct*": "Rejected",
        "closed, resubmitted": "FileAsked",
        "else": "nothing",
    },
    "NoteFileNotNeeded": {
        "new, collecting, direct*": "Rejected",
        "closed, resubmitted": "FileNotNeeded",
        "else": "nothing",
    },
    "NoteOverdue": {
        "new, collecting, direct*": "Rejected",
        "submitted, troubled, cancelling, nobody waits": "BatchOverdue",
        "else": "nothing",
    },
    "DeferPart": {
        "new, collecting, direct*": "Rejected",
        "submitted, troubled, overdue": "PartDeferred",
        "cancelling, nobody waits": "PartEnded",
        "else": "nothing",
    },
    "FileStored": {
        "new, collecting, direct*": "Rejected",
        "closed, filing, file blocked, file resumed, resubmitted": "FileReady",
        "else": "nothing",
    },
    "FileFailed": {
        "new, collecting, direct*": "Rejected",
        "closed, filing, file blocked, file resumed, resubmitted": "PartEnded",
        "else": "nothing",
    },
    "FileBlocked": {
        "new, collecting, direct*": "Rejected",
        "closed, filing, file resumed, resubmitted": "FileTroubled",
        "else": "nothing",
    },
    "NoteFileResumed": {
        "new, collecting, direct*": "Rejected",
        "file resumed": "FileResumed",
        "else": "nothing",
    },
    "IntendPurchase": {
        "new, collecting": "Rejected",
        "ready, inline, direct": "PurchaseIntended",
        "intended, direct intended, direct owing to nobody": "nothing",
        "else": "Superseded",
    },
    "DoubtPurchase": {
        "new, collecting": "Rejected",
        "intended, direct intended, direct owing to nobody": "PurchaseUncertain",
        "else": "nothing",
    },
    "RefusePurchase": {
        "new, collecting": "Rejected",
        "ready, inline, intended, direct, direct intended": "PurchaseRefused",
        "direct owing to nobody": "PurchaseRefused BatchFinished",
        "else": "nothing",
    },
    "RefusePurchase for good": {
        "new, collecting": "Rejected",
        "ready, inline, intended": "PartEnded",
        "direct, direct intended": "LineFailed",
        "direct owing to nobody": "LineFailed BatchFinished",
        "else": "nothing",
    },
    "MissPurchase": {
        "new, collecting, direct*": "Rejected",
        "intended, doubtful": "PurchaseAbsent",
        "else": "nothing",
    },
    "LosePurchase": {
        "new, collecting": "Rejected",
        "intended, doubtful": "PurchaseLost",
        "direct intended, direct doubtful": "PurchaseLost LineFailed",
        "direct owing to nobody": "PurchaseLost BatchFinished",
        "else": "nothing",
    },
    "NoteDuplicate": {
        "new, collecting, direct*": "Rejected",
        "ready, inline, refused, intended, doubtful, lost, deferred": "DuplicatePurchase",
        "else": "nothing",
    },
    "NoteSubmitted": {
        "new, collecting, direct*": "Rejected",
        "ready, inline, intended, doubtful, lost": "BatchSubmitted",
        "else": "nothing",
    },
    "Orphan": {
        "new": "Rejected",
        "ready, inline, refused, intended, doubtful, lost": "BatchSubmitted",
        "else": "DuplicatePurchase",
    },
    "NotePolled": {
        "new, collecting, direct*": "Rejected",
        "submitted, overdue, cancelling, nobody waits": "BatchPolled",
        "troubled": "PollRecovered BatchPolled",
        "else": "nothing",
    },
    "NoteTrouble": {
        "new, collecting, direct*": "Rejected",
        "submitted, overdue, cancelling, ended, rescuing, nobody waits": "PollTroubled",
        "else": "nothing",
    },
    "EndPart": {
        "new, collecting, direct*": "Rejected",
        "submitted, troubled, overdue, cancelling, nobody waits": "PartEnded",
        "else": "nothing",
    },
    "TakeResults": {
        "new, collecting, direct*": "Rejected",
        "ended": "ResultsTaken",
        "else": "nothing",
    },
    "SettlePart": {
        "new, collecting, direct*": "Rejected",
        "ended": "PartSettled BatchFinished",
        "rescuing": "PartResubmitted",
        "else": "nothing",
    },
    "NoteCancelSent": {
        "new, collecting, direct*": "Rejected",
        "submitted, troubled, overdue, cancelling, nobody waits": "CancelSent",
        "else": "nothing",
    },
    "NoteDuplicateCancelled": {
        "else": "nothing",
    },
    "CancelLines": {
        "new": "Rejected",
        "finished, nobody waits, direct owing to nobody, rescuing, resubmitted": "nothing",
        "else": "LinesAbandoned",
    },
    "CancelLines, all": {
        "new": "Rejected",
        "finished, nobody waits, direct owing to nobody": "nothing",
        "closed, filing, file blocked, file resumed, ready, inline, refused, lost, deferred, resubmitted": (
            "LinesAbandoned PartEnded"
        ),
        "direct, direct failed": "LinesAbandoned BatchFinished",
        "else": "LinesAbandoned",
    },
    "ExpireLines": {
        "else": "nothing",
    },
    "NoteLineAnswered": {
        "direct, direct intended, direct doubtful, direct failed": "LineAnswered",
        "direct owing to nobody": "LineAnswered BatchFinished",
        "else": "Rejected",
    },
    "Orphan of a line": {
        "direct, direct intended, direct doubtful, direct failed": "LineAnswered",
        "direct owing to nobody": "LineAnswered BatchFinished",
        "else": "Rejected",
    },
    "FailLine": {
        "direct": "LineFailed",
        "direct intended, direct doubtful, direct failed, direct owing to nobody": "nothing",
        "else": "Rejected",
    },
    "SettleLine": {
        "direct failed": "LineSettled",
        "direct, direct intended, direct doubtful, direct owing to nobody": "nothing",
        "else": "Rejected",
    },
    "of another kind": {
        "else": "Rejected",
    },
}
"""What each command leads to, by phase: types of events, `nothing`, or the error. `direct*` are all such phases."""

CASES = [(command, phase) for command in COMMANDS for phase in PHASES]


@pytest.mark.parametrize(("command", "phase"), CASES, ids=[f"{command} when {phase}" for command, phase in CASES])
def test_every_command_in_every_phase(command: str, phase: str) -> None:
    expected = next(
        (said for phases, said in TABLE[command].items() if phase in _named(phases)), TABLE[command]["else"]
    )
    try:
        happened = names(when(PHASES[phase], COMMANDS[command])) or "nothing"
    except Rejected as refusal:
        happened = type(refusal).__name__
    assert happened == expected


def _named(phases: str) -> set[str]:
    """The phases that the head of a column names."""
    every = {phase for phase in PHASES if phase.startswith("direct")}
    return {phase for name in phases.split(", ") for phase in (every if name == "direct*" else {name})}


def test_the_table_knows_every_phase_and_command() -> None:
    assert set(TABLE) == set(COMMANDS)
    named = {phase for row in TABLE.values() for phases in row for phase in _named(phases)} - {"else"}
    assert named <= set(PHASES)
