"""The one way to perform a purchase, whose state is in `purchase`: buying, and finding out what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import trio

from perdure.actors.fetch import CredentialMissing, Fetch, FetchError, Network, NotSent, Refused, Unknown
from perdure.actors.kind import Again, Port
from perdure.actors.purchase import CLOCK_MARGIN_US, RECONCILE_PATIENCE_US, SECOND_US, PurchaseEffect
from perdure.events.command import Command
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    NoteDuplicate,
    RefusePurchase,
)


class Found(Protocol):
    """Anything at a provider: it has an id."""

    @property
    def id(self) -> str:
        """The provider's id."""
        ...


T = TypeVar("T", bound=Found)


async def perform_purchase(
    effect: PurchaseEffect,
    port: Port,
    network: Network,
    *,
    identity: str,
    create: Callable[[Fetch], Awaitable[T]],
    find: Callable[[Fetch, int], Awaitable[Sequence[T]]],
    bought: Callable[[T, bool], Command],
) -> Again | None:
    """Buys, or reconciles when the state it was started on held an intent.

    `find` gets the time (µs UTC) back to which the list must be read. `bought(thing, reconciled)` makes the report.

    When a reconcile begins nothing is on its way any more; but a long upload may have ended just before, and be far
    younger than its intent. So absence is believed only when a second look, `settle_us` after the first, shows it too.
    """
    if effect.intended:
        return await _reconcile(effect, port, network, find=find, bought=bought)
    ordinal, attempt = effect.ordinal, effect.attempt

    async def intend() -> None:
        await port.report(IntendPurchase(ordinal=ordinal, attempt=attempt, identity=identity))

    def refuse(kind: str, error: FetchError) -> RefusePurchase:
        wait_us = int((error.retry_after_s or 0) * SECOND_US)
        return RefusePurchase(
            ordinal=ordinal,
            attempt=attempt,
            kind=kind,
            message=str(error),
            retry_after_us=wait_us,
            code=error.provider_code or "",
            status=error.status or 0,
        )

    fetch = network.bind(effect.lane, trace=port.trace, before_send=intend)
    try:
        thing = await create(fetch)
    except Refused as refused:
        await port.report(refuse(refused.kind, refused))
    except CredentialMissing as missing:
        await port.report(refuse("credential_missing", missing))
    except NotSent as not_sent:
        await port.report(refuse("not_sent", not_sent))
    except Unknown as unknown:
        await port.report(DoubtPurchase(ordinal=ordinal, attempt=attempt, reason=str(unknown)))
    else:
        await port.report(bought(thing, False))
    return None


async def _reconcile(
    effect: PurchaseEffect,
    port: Port,
    network: Network,
    *,
    find: Callable[[Fetch, int], Awaitable[Sequence[T]]],
    bought: Callable[[T, bool], Command],
) -> Again | None:
    ordinal, attempt = effect.ordinal, effect.attempt
    if not effect.can_find:
        await port.report(LosePurchase(ordinal=ordinal, attempt=attempt))
        return None
    fetch = network.bind(effect.lane, trace=port.trace)
    try:
        things = await find(fetch, effect.since - CLOCK_MARGIN_US)
        if not things and effect.settle_us:
            await trio.sleep(effect.settle_us / SECOND_US)
            things = await find(fetch, effect.since - CLOCK_MARGIN_US)
    except FetchError as error:
        waited_us = port.now() - effect.since
        if waited_us > RECONCILE_PATIENCE_US:
            await port.report(LosePurchase(ordinal=ordinal, attempt=attempt))
            return None
        waited_s = waited_us / SECOND_US
        return Again(max(error.retry_after_s or 0.0, min(60.0, max(0.5, waited_s / 4))))
    if not things:
        await port.report(MissPurchase(ordinal=ordinal, attempt=attempt))
        return None
    for other in things[1:]:
        await port.report(NoteDuplicate(ordinal=ordinal, provider_id=other.id))
    await port.report(bought(things[0], True))
    return None
