"""What a batch asks for outside, given its state: pure, and at most some tens of effects at a time.

Between intent and outcome a part's purchase is owed: it is asked for through cancel and deadline alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure.actors.batch.direct import asks as direct
from perdure.actors.batch.rescue import is_rescued
from perdure.actors.batch.state import (
    BatchState,
    Chunk,
    PartState,
    file_of,
    first_poll_us,
    is_being_read,
    is_lost,
    uncertain,
    withdrawn,
)
from perdure.actors.kind import Effect
from perdure.actors.lane import LOCAL, Lane
from perdure.actors.purchase import BLOCKED_RETRY_US, SECOND_US, PurchaseEffect
from perdure.events.batch import BatchOpened, PartEnded

PARTS_AT_A_TIME = 16
"""How many parts are on their way at once; the others wait as numbers in the state."""

OVERDUE_MARGIN_US = 3_600 * SECOND_US
"""How long after the provider's window a batch that has not ended is overdue: an alarm, and it is cancelled there."""

CANCEL_PATIENCE_US = 1_200 * SECOND_US
"""How long after a cancel the provider may take to end a batch before it is given up (OpenAI says up to ten minutes;
twice that)."""


class CloseWindow(Effect, frozen=True, kw_only=True):
    """The window's time is over."""


class ReachDeadline(Effect, frozen=True, kw_only=True):
    """The caller's deadline is here."""


class ReachLineDeadline(Effect, frozen=True, kw_only=True):
    """The deadline of some lines is here: ask about the part once more (none where `provider_batch` is ""), then give
    the lines up."""

    until: int
    part: int
    provider: str
    provider_batch: str


class AskForFile(Effect, frozen=True, kw_only=True):
    """Order the part's input file, all of `chunks` without the lines `left_out`, from the provider-file actor `file`,
    if the provider needs one for it."""

    part: int
    file: str
    provider: str
    credential: str
    chunks: Sequence[Chunk]
    left_out: Sequence[tuple[int, int]]
    patience_us: int


class Buy(PurchaseEffect, frozen=True, kw_only=True):
    """Create the part's batch at the provider, or find it there.

    Its lines are all of `chunks`, numbered from `first` to `last`, without those `left_out`. They lie in
    `provider_file`; where that is "" they go with the call. `before` is how often the part was bought before, and
    `others` are batches at the provider that are not it.
    """

    before: int
    provider: str
    endpoint: str
    model: str
    provider_file: str
    chunks: Sequence[Chunk]
    first: int
    last: int
    left_out: Sequence[tuple[int, int]]
    others: frozenset[str]


class Poll(Effect, frozen=True, kw_only=True):
    """Ask the provider about a part. Times are µs since 1970 UTC; `every_us` is the interval without a hint.

    `overdue_at`: when it is to be said that the batch is overdue, `give_up_at`: when it is given up, each 0 for not
    (yet). `cancelling`: nobody wants the batch any more. `overdue`: it was said, and is the reason why it is cancelled.
    """

    part: int
    provider: str
    provider_batch: str
    every_us: int
    hint: bool
    troubled_since: int
    overdue_at: int
    give_up_at: int
    cancelling: bool
    overdue: bool


class Collect(Effect, frozen=True, kw_only=True):
    """Read what the provider has for a part, from `cursor` bytes into its `source`-th source on.

    `left_out`: the lines of the part that its input does not have. `rescuing`: lines that were not finished are bought
    again.
    """

    part: int
    provider: str
    endpoint: str
    model: str
    end: PartEnded
    first: int
    last: int
    source: int
    cursor: int
    troubled_since: int
    withdraw: str
    left_out: Sequence[tuple[int, int]]
    rescuing: bool


class Cancel(Effect, frozen=True, kw_only=True):
    """Ask the provider to cancel; `part` is -1 for a batch that nobody needs."""

    part: int
    provider: str
    provider_batch: str


class ResumeFile(Effect, frozen=True, kw_only=True):
    """Tell the file actor that it may work now."""

    part: int
    file: str


def effects(state: BatchState) -> Sequence[Effect]:
    """Everything that should be going on for `state`."""
    opened = state.opened
    if opened is None or state.phase == "discarded":
        return ()
    lane = Lane(state.tenant, opened.provider, opened.credential, "batch")
    asked: list[Effect] = [
        Cancel(id=f"cancel-unwanted/{batch}", lane=lane, part=-1, provider=opened.provider, provider_batch=batch)
        for batch in state.unwanted
    ]
    if state.phase == "finished":
        return asked
    if opened.deadline_at and not state.cancel and not uncertain(state):
        asked.append(ReachDeadline(id="deadline", lane=LOCAL, not_before=opened.deadline_at))
    if state.deadlines and not uncertain(state):
        asked.extend(_of_deadline(state, opened, lane))
    if state.phase == "collecting":
        if opened.close_at:
            asked.append(CloseWindow(id="close", lane=LOCAL, not_before=opened.close_at))
        return asked
    if state.direct is not None:
        return [*asked, *direct.effects(state, opened, state.direct)]
    for part in _under_way(state.parts):
        asked.extend(_of_part(state, opened, part, lane))
    return asked


def _of_deadline(state: BatchState, opened: BatchOpened, lane: Lane) -> Sequence[Effect]:
    """The first deadline of lines; while results are read that settle its first line it waits for them."""
    due = state.deadlines[0]
    number = due.ranges[0][0]
    if is_being_read(state, number):
        return ()
    part = state.part_of(number)
    at_provider = part is not None and part.phase == "submitted"
    return (
        ReachLineDeadline(
            id=f"line-deadline/{due.at}",
            lane=lane if at_provider else LOCAL,
            not_before=due.at,
            until=due.at,
            part=part.number if part is not None else -1,
            provider=opened.provider,
            provider_batch=part.provider_batch if part is not None and at_provider else "",
        ),
    )


def _under_way(parts: Sequence[PartState]) -> Sequence[PartState]:
    """The parts whose turn it is: all that owe a purchase, whatever is before them, then in order, begun ones first.

    Parts in doubt wait for somebody and hold nobody's place.
    """
    moving = [part for part in parts if part.phase != "settled" and not is_lost(part)]
    if len(moving) <= PARTS_AT_A_TIME:
        return moving
    owing = [part for part in moving if part.purchase.owed]
    begun = [part for part in moving if part.phase != "closed" and not part.purchase.owed]
    waiting = [part for part in moving if part.phase == "closed"]
    return [*owing, *[*begun, *waiting][: max(0, PARTS_AT_A_TIME - len(owing))]]


def _of_part(state: BatchState, opened: BatchOpened, part: PartState, lane: Lane) -> Sequence[Effect]:
    if part.phase == "closed":
        return (_ask_for_file(state, opened, part),)
    if part.phase == "filing" and part.resume_file:
        return (ResumeFile(id=f"resume-file/{part.number}/{part.resumes}", part=part.number, file=part.file),)
    if part.phase == "ready":
        purchase = part.purchase
        if purchase.phase == "lost":
            return ()
        return (
            Buy(
                id=purchase.effect_id(),
                lane=lane,
                not_before=purchase.not_before(opened.settle_us),
                purchase=True,
                intended=purchase.owed,
                searchable=opened.searchable,
                ordinal=part.number,
                attempt=purchase.attempt,
                since=purchase.intended_at,
                can_find=opened.searchable,
                provider=opened.provider,
                settle_us=opened.settle_us,
                before=len(part.past),
                endpoint=opened.endpoint,
                model=opened.model,
                provider_file=part.provider_file,
                chunks=_chunks(state, part),
                first=part.part.first,
                last=part.part.last,
                left_out=part.left_out,
                others=_others(state),
            ),
        )
    if part.phase == "submitted":
        poll = _poll(state, opened, part, lane)
        if (withdrawn(state, part) or part.overdue_at) and not part.cancel_sent_at:
            return (
                poll,
                Cancel(
                    id=f"cancel/{_name(part)}",
                    lane=lane,
                    part=part.number,
                    provider=opened.provider,
                    provider_batch=part.provider_batch,
                ),
            )
        return (poll,)
    if part.phase == "ended" and part.end is not None:
        return (
            Collect(
                id=f"collect/{_name(part)}/{part.resumes}{'/blocked' if part.blocked else ''}",
                lane=lane if part.end.sources else LOCAL,
                not_before=part.troubled_since + BLOCKED_RETRY_US if part.blocked else 0,
                part=part.number,
                provider=opened.provider,
                endpoint=opened.endpoint,
                model=opened.model,
                end=part.end,
                first=part.part.first,
                last=part.part.last,
                source=part.source,
                cursor=part.cursor,
                troubled_since=part.troubled_since,
                left_out=part.left_out,
                withdraw=_unfinished_file(state, part),
                rescuing=is_rescued(state, part),
            ),
        )
    return ()


def _name(part: PartState) -> str:
    """The part in the ids of effects: its number, and how often it was bought before."""
    return f"{part.number}.{len(part.past)}" if part.past else str(part.number)


def _chunks(state: BatchState, part: PartState) -> Sequence[Chunk]:
    return [chunk for chunk in state.chunks if part.part.first <= chunk.first <= part.part.last]


def _others(state: BatchState) -> frozenset[str]:
    """The batches at the provider that are known already."""
    known = (batch for part in state.parts for batch in (part.provider_batch, *part.past))
    return frozenset({*state.unwanted, *known} - {""})


def _unfinished_file(state: BatchState, part: PartState) -> str:
    """The file actor that may still be at work for a part, "" when there is none."""
    if part.provider_file or part.inline:
        return ""
    return file_of(state.actor, part)


def _ask_for_file(state: BatchState, opened: BatchOpened, part: PartState) -> AskForFile:
    return AskForFile(
        id=f"file/{_name(part)}",
        lane=LOCAL,
        part=part.number,
        file=file_of(state.actor, part),
        provider=opened.provider,
        credential=opened.credential,
        chunks=_chunks(state, part),
        left_out=part.left_out,
        patience_us=opened.window_us,
    )


def _poll(state: BatchState, opened: BatchOpened, part: PartState, lane: Lane) -> Poll:
    lines = part.part.last - part.part.first + 1
    if part.reconciled:
        first = 0  # it has been at the provider for longer than we know: look now, the answer says when to come again
    else:
        first = opened.first_poll_us or (part.hint_us if opened.hint else 0) or first_poll_us(lines)
    not_before = 0 if part.cancel_sent_at else part.submitted_at + first
    cancelled_at = part.cancel_sent_at or state.cancel_at or part.overdue_at
    overdue_at = 0 if part.overdue_at else part.submitted_at + opened.window_us + OVERDUE_MARGIN_US
    if part.blocked:
        not_before = max(not_before, part.troubled_since + BLOCKED_RETRY_US)
    cancelling = "/cancelling" if part.cancel_sent_at else ""
    return Poll(
        id=f"poll/{_name(part)}/{part.resumes}{'/blocked' if part.blocked else ''}{cancelling}",
        lane=lane,
        not_before=not_before,
        part=part.number,
        provider=opened.provider,
        provider_batch=part.provider_batch,
        every_us=opened.every_us,
        hint=opened.hint,
        troubled_since=part.troubled_since,
        overdue_at=overdue_at,
        give_up_at=cancelled_at + CANCEL_PATIENCE_US if cancelled_at else 0,
        cancelling=bool(withdrawn(state, part)),
        overdue=bool(part.overdue_at),
    )
