"""What is bought again after the provider spoilt it, the judgement. Pure.

| the provider's batch | its unfinished lines |
| --- | --- |
| failed for want of room, before any line was run | wait and are bought again; that counts as nothing |
| expired, failed, was cancelled by the provider | are bought again up to `resubmit` times, but for those found wrong |
| never ended, not even when it was cancelled | the same, but under `on_uncertain="resubmit"` only: they may run twice |
| completed without them, or was cancelled by us | end with an error |
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.state import BatchState, PartState, withdrawn
from perdure.actors.purchase import SECOND_US, jitter
from perdure.events.batch import DeferPart, PartDeferred, PartResubmitted, Settlement
from perdure.events.sealed import plain

FIRST_DEFERRAL_US = 60 * SECOND_US
LONGEST_DEFERRAL_US = 900 * SECOND_US
"""How long a part waits that found no room at its provider, the first time and at most. Room comes when other batches
end, which takes minutes to hours."""

DEFERRAL_PATIENCE_US = 7 * 86_400 * SECOND_US
"""How long there may be no room before a part fails: one that is larger than the whole limit never has any. Ours."""


def is_rescued(state: BatchState, part: PartState) -> bool:
    """Whether the unfinished lines of a part that ended at the provider are bought again."""
    opened, end = state.opened, part.end
    if opened is None or end is None or not part.provider_batch or withdrawn(state, part):
        return False
    if end.abandoned and opened.on_uncertain != "resubmit":
        return False
    return end.status != "completed" and part.round < opened.resubmit


def resubmitted(part: PartState, settlements: Sequence[Settlement]) -> PartResubmitted:
    """The part begins again with what is left of it; `settlements` are the lines that the provider found wrong."""
    assert part.end is not None
    return PartResubmitted(
        part=part.number,
        round=part.round + 1,
        provider_batch=part.provider_batch,
        status=part.end.status,
        settlements=settlements,
    )


def deferred(state: BatchState, part: PartState, command: DeferPart, at: int) -> PartDeferred | None:
    """The part waits for room; None when it has waited for long enough, or nobody wants it any more."""
    if withdrawn(state, part) or (part.deferred_since and at - part.deferred_since > DEFERRAL_PATIENCE_US):
        return None
    growing = min(FIRST_DEFERRAL_US * 2 ** min(part.deferrals, 10), LONGEST_DEFERRAL_US)
    wait_us = int(growing * jitter(state.actor, f"defer/{part.number}/{part.deferrals}"))
    return PartDeferred(
        part=part.number,
        provider_batch=part.provider_batch,
        at=at,
        retry_at=at + wait_us,
        code=command.code,
        message=plain(command.message),
    )
