"""Google's batches as they are stored, and the long-running operation as which a client sees one. Pure."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from perdure.adapters.simulator.batch_desk import Record
from perdure.adapters.simulator.batching import DAY_S, TERMINAL, Complaint, Phase, Stage, stage_of
from perdure.adapters.simulator.google.errors import rpc_code
from perdure.adapters.simulator.google.filestore import rfc3339

WINDOW_S: Final = 2 * DAY_S
"""How long a batch may take before it expires: 48 hours (`contracts/providers.md` section 3.2)."""

STATES: Final[dict[Phase, str]] = {
    "validating": "BATCH_STATE_PENDING",
    "in_progress": "BATCH_STATE_RUNNING",
    "finalizing": "BATCH_STATE_RUNNING",
    "cancelling": "BATCH_STATE_RUNNING",
    "completed": "BATCH_STATE_SUCCEEDED",
    "failed": "BATCH_STATE_FAILED",
    "expired": "BATCH_STATE_EXPIRED",
    "cancelled": "BATCH_STATE_CANCELLED",
}
"""Google's word for where a batch stands."""

OUTPUT_HERE: Final = "the inlined responses go here"
"""What stands in an operation in the place of responses that are on disk."""

_TYPES: Final = "type.googleapis.com/google.ai.generativelanguage."


class Outcome(Struct, frozen=True):
    """What a batch left behind when it ended: a file's name, or so many bytes of responses to be shown in place."""

    successful: int = 0
    failed: int = 0
    responses_file: str = ""
    inlined_bytes: int = 0


class BatchRecord(Record, frozen=True, kw_only=True):
    """A batch as stored. `total` is 0 until the input file was read; `complaint` is what is wrong with that."""

    model: str
    display_name: str
    is_inline: bool
    total: int = 0
    is_checked: bool = False
    complaint: str = ""
    outcome: Outcome | None = None


def stage(record: BatchRecord, now: float) -> Stage:
    """Where the batch stands at `now`. Before its file was read the input is taken to be good and of no requests."""
    return stage_of(record, now, total=record.total, is_bad=bool(record.complaint))


def operation(record: BatchRecord, version: str, now: float) -> dict[str, Any]:
    """The batch as a client sees it at `now`. `OUTPUT_HERE` stands in the place of responses that are on disk."""
    at, outcome = stage(record, now), record.outcome
    is_done = at.status in TERMINAL
    type_ = f"{_TYPES}{version}.GenerateContentBatch"
    metadata: dict[str, Any] = {
        "@type": type_,
        "model": f"models/{record.model}",
        "displayName": record.display_name,
        "state": STATES[at.status],
        "createTime": rfc3339(record.created_at),
        "updateTime": rfc3339(max(at.since, record.created_at)),
        "batchStats": _stats(record, at),
        "name": record.id,
    }
    shown: dict[str, Any] = {"name": record.id, "metadata": metadata, "done": is_done}
    if is_done:
        metadata["endTime"] = rfc3339(at.since)
    output = None if outcome is None else _output(outcome, empty_ids=record.plan.empty_ids)
    if output is not None:
        metadata["output"] = output
        if at.status == "completed":
            shown["response"] = {"@type": f"{type_}Output", **output}
    if at.status == "failed":
        complaint = record.plan.fail or Complaint("INVALID_ARGUMENT", record.complaint)
        shown["error"] = {"code": rpc_code(complaint.code), "message": complaint.message}
    return shown


def _stats(record: BatchRecord, at: Stage) -> dict[str, str]:
    """Counts as text; those that are zero are not there."""
    outcome = record.outcome
    successful, failed = (at.done, 0) if outcome is None else (outcome.successful, outcome.failed)
    counts = {
        "requestCount": record.total,
        "successfulRequestCount": successful,
        "failedRequestCount": failed,
        "pendingRequestCount": record.total - successful - failed,
    }
    return {name: str(count) for name, count in counts.items() if count}


def _output(outcome: Outcome, *, empty_ids: bool) -> dict[str, Any] | None:
    if outcome.responses_file:
        return {"responsesFile": outcome.responses_file}
    if outcome.inlined_bytes:
        return {"inlinedResponses": {"inlinedResponses": [OUTPUT_HERE]}}
    return {"responsesFile": ""} if empty_ids else None
