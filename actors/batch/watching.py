"""Waiting for the provider: asking how a part is doing, and when it is given up. The part that does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import trio
from msgspec.structs import replace

from perdure.actors.batch.asks import Collect, Poll, ReachLineDeadline
from perdure.actors.batch.ports import BatchProvider, ProviderBatch
from perdure.actors.fetch import CredentialMissing, FetchError, Network, Refused
from perdure.actors.kind import Again, Port
from perdure.actors.purchase import BLOCKING, SECOND_US, jitter
from perdure.events.batch import (
    DeferPart,
    EndPart,
    EndStatus,
    ExpireLines,
    NoteOverdue,
    NotePolled,
    NoteTrouble,
    Problem,
)
from perdure.events.sealed import plain

LAST_LOOK_S = 10.0
"""How long a provider may take to say, at the deadline of a line, whether it is done."""

OVERDUE = "the provider did not end the batch within its window and an hour more"

MISSING: Mapping[str, tuple[str, str]] = {
    "completed": ("batch_item_missing", "the provider ended the batch without a result for this line"),
    "failed": ("batch_failed", "the provider failed the batch"),
    "expired": ("batch_expired", "the batch expired before this line was done"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this line was done"),
}


class Watching:
    """Asks providers about parts."""

    def __init__(self, *, providers: Mapping[str, BatchProvider], network: Network) -> None:
        self._providers = providers
        self._network = network

    async def poll(self, effect: Poll, port: Port) -> Again | None:
        """Asks once; `Again` says when to come again."""
        fetch = self._network.bind(effect.lane, trace=port.trace)
        try:
            seen = await self._providers[effect.provider].status(fetch, effect.provider_batch)
        except FetchError as error:
            return await self._trouble(effect, port, error)
        if seen.status == "failed" and seen.no_room:
            await port.report(_no_room(effect, seen))
            return None
        if seen.status in ("completed", "failed", "expired", "cancelled"):
            overdue = effect.overdue and seen.status == "cancelled" and not effect.cancelling
            end = _end(effect.part, "expired" if overdue else seen.status, seen)
            await port.report(replace(end, message=f"{OVERDUE}: {end.message}") if overdue else end)
            return None
        await port.report(
            NotePolled(
                part=effect.part,
                status=seen.status,
                total=seen.total,
                completed=seen.completed,
                failed=seen.failed,
            )
        )
        if await self._late(effect, port, seen.sources):
            return None
        wait_s = effect.every_us / SECOND_US * jitter(port.actor, effect.id)
        if effect.hint and seen.poll_after_s:
            wait_s = seen.poll_after_s
        return Again(wait_s)

    async def _trouble(self, effect: Poll, port: Port, error: FetchError) -> Again | None:
        again = await trouble(effect, port, error)
        return None if await self._late(effect, port, (), blocked=is_blocking(error)) else again

    async def _late(self, effect: Poll, port: Port, sources: Sequence[str], *, blocked: bool = False) -> bool:
        """Says that a batch is overdue, or gives it up when even a cancel does not end it: True, it is over.

        One that nobody can ask about is not given up while it is wanted: what it has is paid for.
        """
        now = port.now()
        if effect.overdue_at and now > effect.overdue_at:
            await port.report(NoteOverdue(part=effect.part, provider_batch=effect.provider_batch))
        if not effect.give_up_at or now <= effect.give_up_at or (blocked and not effect.cancelling):
            return False
        await port.report(_give_up(effect, sources))
        return True

    async def reach_line_deadline(self, effect: ReachLineDeadline, port: Port) -> None:
        """Before lines are given up the provider is asked once more, if it has their part: they may be done."""
        seen: ProviderBatch | None = None
        if effect.provider_batch:
            fetch = self._network.bind(effect.lane, trace=port.trace)
            with suppress(FetchError), trio.move_on_after(LAST_LOOK_S):
                seen = await self._providers[effect.provider].status(fetch, effect.provider_batch)
        if seen is not None and seen.status in ("completed", "failed", "expired", "cancelled"):
            await port.report(_end(effect.part, seen.status, seen))
        else:
            await port.report(ExpireLines(until=effect.until))


async def trouble(effect: Poll | Collect, port: Port, error: FetchError) -> Again:
    """Asking failed: the first time it is an event; then it is tried again, ever more slowly, up to a minute."""
    await port.report(NoteTrouble(part=effect.part, error=str(error), blocked=is_blocking(error)))
    troubled_s = (port.now() - effect.troubled_since) / SECOND_US if effect.troubled_since else 0.0
    return Again(max(error.retry_after_s or 0.0, min(60.0, max(0.5, troubled_s / 2))))


def is_blocking(error: FetchError) -> bool:
    """Whether somebody must mend a key or a quota first."""
    return isinstance(error, CredentialMissing) or (isinstance(error, Refused) and error.kind in BLOCKING)


def _end(part: int, status: EndStatus, seen: ProviderBatch) -> EndPart:
    code, message = MISSING[status]
    if seen.problems:
        first = seen.problems[0]
        code, message = first.code, f"{message}: {first.message}"
        if first.line is not None:
            code, message = MISSING[status][0], f"{message} (line {first.line})"
    return EndPart(
        part=part,
        status=status,
        code=code,
        message=message,
        sources=seen.sources,
        problems=[Problem(problem.code, plain(problem.message), problem.line or 0) for problem in seen.problems],
    )


def _no_room(effect: Poll, seen: ProviderBatch) -> DeferPart:
    end = _end(effect.part, "failed", seen)
    return DeferPart(part=end.part, provider_batch=effect.provider_batch, code=end.code, message=end.message)


def _give_up(effect: Poll, sources: Sequence[str]) -> EndPart:
    """The provider ends neither by itself nor when told to: the part ends here, and is left to be cancelled there."""
    status: EndStatus = "cancelled" if effect.cancelling else "expired"
    if effect.cancelling:
        told = "the provider did not end the batch in time after it was to be cancelled"
    else:
        told = f"{OVERDUE}, and not when it was to be cancelled"
    return EndPart(
        part=effect.part,
        status=status,
        code=f"batch_{status}",
        message=f"{told}: given up",
        sources=sources,
        abandoned=True,
    )
