"""Anthropic's message batches as they are stored, and as a client sees them; what becomes of them is in `batching.py`.

No count but that of what is being processed shows before the end, and every end is `ended`: expired and cancelled are
only its requests. Source: `contracts/providers.md` section 2.2, Anthropic's Python SDK 2.11 (20 November 2026),
`types/messages/message_batch.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from perdure.adapters.simulator.anthropic.headers import shown_time
from perdure.adapters.simulator.batching import TERMINAL, Course, Phase, Stage, stage_of

RESULTS_LIFE_S: Final = 29 * 86_400.0
"""How long after its creation the results of a batch can be read: 29 days (section 2.2)."""

ProcessingStatus = Literal["in_progress", "canceling", "ended"]

STATUSES: Final[Mapping[Phase, ProcessingStatus]] = {
    "validating": "in_progress",
    "in_progress": "in_progress",
    "finalizing": "in_progress",
    "cancelling": "canceling",
    **dict.fromkeys(TERMINAL, "ended"),
}
"""Anthropic's words for where a batch stands."""


class Counts(Struct, frozen=True):
    """How many requests ended how."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class BatchRecord(Course, frozen=True, kw_only=True):
    """A batch as stored. `version`: the one that its requests are written for. `counts`: None before its end.

    `size_bytes` is how long its results are.
    """

    id: str
    total: int
    version: str
    counts: Counts | None = None
    size_bytes: int = 0


class BatchObject(Struct, frozen=True):
    """A batch as clients see it."""

    id: str
    processing_status: ProcessingStatus
    request_counts: Counts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    results_url: str | None
    type: Literal["message_batch"] = "message_batch"


def stage(record: BatchRecord, now: float) -> Stage:
    """Where the batch stands at `now`."""
    return stage_of(record, now, total=record.total, is_bad=False)


def has_ended(record: BatchRecord, now: float) -> bool:
    """Whether nothing of it is processed any more."""
    return stage(record, now).status in TERMINAL


def is_unseen(record: BatchRecord, now: float) -> bool:
    """Whether it cannot be read by its id yet."""
    return now < record.created_at + record.plan.unseen_s


def is_archived(record: BatchRecord, now: float) -> bool:
    """Whether its results are gone."""
    return now >= record.created_at + RESULTS_LIFE_S


def shown(record: BatchRecord, now: float, results_url: str) -> BatchObject:
    """The batch as a client sees it at `now`, after what was due is done. `results_url`: where its results would be."""
    at = stage(record, now)
    ended = at.status in TERMINAL
    archived = is_archived(record, now)
    cancelled = record.cancel_at is not None and record.cancel_at <= min(now, at.since)
    has_results = ended and not archived and not record.plan.no_files
    return BatchObject(
        id=record.id,
        processing_status=STATUSES[at.status],
        request_counts=record.counts or Counts(processing=record.total),
        created_at=shown_time(record.created_at),
        expires_at=shown_time(record.created_at + record.window_s),
        ended_at=shown_time(at.since) if ended else None,
        cancel_initiated_at=shown_time(record.cancel_at) if cancelled and record.cancel_at is not None else None,
        archived_at=shown_time(record.created_at + RESULTS_LIFE_S) if archived else None,
        results_url=results_url if has_results else "" if record.plan.empty_ids else None,
    )
