"""What a batch adds to the read models: the row that lists show, and an item for each line. Pure."""

from __future__ import annotations

import msgspec

from perdure.actors.batch.state import BatchState, blocked, gone_as, uncertain
from perdure.actors.costs.rows import cost_index
from perdure.actors.kind import NO_INDEX, Index, Row
from perdure.events.batch import (
    BatchSubmitted,
    LineAnswered,
    LinesAbandoned,
    LinesCollected,
    LineSettled,
    PartResubmitted,
    PartSettled,
    ResultsTaken,
)
from perdure.events.cost import CostRecorded
from perdure.events.event import Event
from perdure.store.records import Claim, ItemRow


def row(state: BatchState) -> Row:
    """What lists show of a batch."""
    opened = state.opened
    waiting_for = blocked(state)
    in_doubt = state.phase == "closed" and uncertain(state)
    if state.phase in ("discarded", "finished"):
        status = state.status
    elif in_doubt:
        status = "uncertain"
    elif waiting_for:
        status = "blocked"
    elif any(part.phase in ("submitted", "ended", "settled") for part in state.parts) or (
        state.direct is not None and (state.ok or state.failed > state.abandoned or state.direct.owing())
    ):
        status = "running"
    else:
        status = "pending"
    done = state.ok + state.failed
    return Row(
        status=status,
        terminal=(state.phase in ("discarded", "finished") or in_doubt) and not state.unwanted,
        provider=opened.provider if opened else "",
        group=" ".join((opened.endpoint, opened.model, opened.credential)) if opened else "",
        tags=opened.tags if opened else {},
        progress=f"{max(done, sum(part.completed for part in state.parts))}/{state.lines} {waiting_for}".rstrip(),
        keep_key=state.phase != "discarded",
    )


def index(event: Event) -> Index:
    """Every line is an item: named when collected, pointing at its result once there is one.

    An item's status: `waiting`; `ok` or `error`, a line of the provider's results; `direct` or `direct_error`, the body
    of a live answer; `unanswered`, a `LineError` of ours; `cancelled` or `expired`, abandoned, with an answer that came
    all the same, if one did.
    """
    match event:
        case LinesCollected():
            return _index_collected(event)
        case CostRecorded():
            return cost_index(event)
        case ResultsTaken():
            status = {
                **dict.fromkeys(event.failed, "error"),
                **dict.fromkeys(event.cancelled, "cancelled"),
                **dict.fromkeys(event.expired, "expired"),
            }
            blob = event.blob
            return Index(
                [
                    ItemRow(number, "", status.get(number, "ok"), blob, offset, length)
                    for number, offset, length in zip(event.numbers, event.offsets, event.lengths, strict=True)
                ],
                (blob,),
            )
        case BatchSubmitted():
            return Index(known_as=(event.provider_batch,))
        case LinesAbandoned():
            status_of_all = gone_as(event.reason)
            return Index(
                [
                    ItemRow(number, "", status_of_all, "", 0, 0)
                    for first, last in event.ranges
                    for number in range(first, last + 1)
                ]
            )
        case LineAnswered():
            kept_as = event.late or ("direct" if event.ok else "direct_error")
            return Index([ItemRow(event.number, "", kept_as, event.blob, 0, event.length)], (event.blob,))
        case LineSettled():
            return Index([ItemRow(event.number, "", "unanswered", event.blob, 0, event.length)], (event.blob,))
        case PartSettled() | PartResubmitted():
            return Index(
                [
                    ItemRow(number, "", "unanswered", settlement.blob, settlement.offset, settlement.length)
                    for settlement in event.settlements
                    for first, last in settlement.ranges
                    for number in range(first, last + 1)
                ],
                [*{settlement.blob for settlement in event.settlements}],
            )
        case _:
            return NO_INDEX


def _index_collected(event: LinesCollected) -> Index:
    items: list[ItemRow] = []
    offset = 0
    names = event.names or [""] * len(event.lengths)
    tags = {note.number: msgspec.json.encode(note.tags).decode() for note in event.notes if note.tags}
    for number, (name, length) in enumerate(zip(names, event.lengths, strict=True), event.first):
        items.append(ItemRow(number, name, "waiting", event.blob, offset, length, tags.get(number, "")))
        offset += length
    claims = [Claim(note.key, note.number, note.digest) for note in event.notes if note.key]
    return Index(items, (event.blob,), claims)


def weight(state: BatchState) -> int:
    """About how many bytes a state holds in memory."""
    bitmaps = sum(len(bitmap.bits) for bitmap in (state.settled, state.cancelled, state.expired))
    ranges = sum(len(due.ranges) for due in state.deadlines) + sum(len(part.left_out) for part in state.parts)
    on_their_way = len(state.direct.lines) if state.direct else 0
    things = 300 * len(state.chunks) + 1_500 * len(state.parts) + 500 * on_their_way
    return 2_000 + bitmaps + 120 * ranges + things
