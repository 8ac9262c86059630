"""What a provider announces of a batch by itself: a reason to look at it now, and no more.

Nothing is recorded and nothing is believed but that there may be news. The hint may be lost: polling goes on as it was.
"""

from __future__ import annotations

from perdure.actors.batch.asks import Poll, effects
from perdure.actors.batch.state import KIND, BatchState
from perdure.actors.runtime.runtime import Runtime
from perdure.store.log import Log


async def poll_now(runtime: Runtime, log: Log, provider: str, provider_batch: str) -> str | None:
    """Has the poll of a provider's batch run now, if one waits; the id of the operation, None when no poll is owed.

    Raises `Closed`, `Unavailable`, `Corrupt`.
    """
    for row in await log.known_as(provider_batch):
        if row.kind != KIND or row.standing.provider != provider or row.standing.terminal:
            continue
        state: BatchState = (await runtime.state(KIND, row.actor, row.tenant)).state
        for effect in effects(state):
            if isinstance(effect, Poll) and effect.provider_batch == provider_batch:
                runtime.hasten(KIND, row.actor, effect.id, tenant=row.tenant)
                return row.actor
    return None
