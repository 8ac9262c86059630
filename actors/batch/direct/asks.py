"""Lines that go live, what they ask for: their purchases, and the writing down of why some have no answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from perdure.actors.batch.direct.state import Direct, DirectLine
from perdure.actors.batch.state import BatchState, Chunk
from perdure.actors.kind import Effect
from perdure.actors.lane import Lane
from perdure.actors.purchase import PurchaseEffect
from perdure.events.batch import BatchOpened


class AskLive(PurchaseEffect, frozen=True, kw_only=True):
    """Send a line by itself, or, `intended`, say that it cannot be told what became of it. Its bytes lie in `chunk`."""

    provider: str
    endpoint: str
    model: str
    chunk: Chunk


class WriteError(Effect, frozen=True, kw_only=True):
    """Write down why a line has no answer. `status` is the provider's HTTP status, 0 for none."""

    number: int
    code: str
    message: str
    status: int


def effects(state: BatchState, opened: BatchOpened, direct: Direct) -> Sequence[Effect]:
    """One effect for each line on its way."""
    lane = Lane(state.tenant, opened.provider, opened.credential, "live")
    return [_of_line(state, opened, line, lane) for line in direct.lines]


def _of_line(state: BatchState, opened: BatchOpened, line: DirectLine, lane: Lane) -> Effect:
    purchase = line.purchase
    number = purchase.ordinal
    if line.code:
        return WriteError(
            id=f"write-error/{number}", number=number, code=line.code, message=line.message, status=line.status
        )
    return AskLive(
        id=purchase.effect_id(),
        lane=lane,
        not_before=purchase.not_before(settle_us=0),
        purchase=True,
        intended=purchase.owed,
        searchable=False,
        ordinal=number,
        attempt=purchase.attempt,
        since=purchase.intended_at,
        can_find=False,
        provider=opened.provider,
        endpoint=opened.endpoint,
        model=opened.model,
        chunk=_chunk_of(state.chunks, number),
    )


def _chunk_of(chunks: Sequence[Chunk], number: int) -> Chunk:
    return chunks[bisect_right(chunks, number, key=attrgetter("first")) - 1]
