"""The purchase machine: owed from intent to outcome, refused with patience, the same identity over all attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from perdure.actors.batch.ports import Undecided
from perdure.actors.fetch import Fetch
from perdure.actors.kind import Again
from perdure.actors.lane import Lane
from perdure.actors.purchase import (
    BLOCKED_RETRY_US,
    BLOCKING,
    LONGEST_RETRY_US,
    PASSING,
    RECONCILE_PATIENCE_US,
    SECOND_US,
    Purchase,
    PurchaseEffect,
)
from perdure.actors.purchasing import perform_purchase
from perdure.events.command import Command
from perdure.events.errors import Superseded
from perdure.events.event import Event
from perdure.events.purchase import (
    DoubtPurchase,
    IntendPurchase,
    LosePurchase,
    MissPurchase,
    PurchaseAbsent,
    PurchaseIntended,
    PurchaseLost,
    PurchaseRefused,
    PurchaseResumed,
    PurchaseUncertain,
    RefusePurchase,
)

PATIENCE_US = 3_600 * SECOND_US


def intend(attempt: int = 1) -> IntendPurchase:
    return IntendPurchase(ordinal=0, attempt=attempt, identity="log-op-0")


def refuse(kind: str, attempt: int = 1, retry_after_us: int = 0) -> RefusePurchase:
    return RefusePurchase(ordinal=0, attempt=attempt, kind=kind, message="no", retry_after_us=retry_after_us)


def given_events(*events: Event) -> Purchase:
    purchase = Purchase(ordinal=0)
    for event in events:
        purchase.evolve(event)
    return purchase


def when(purchase: Purchase, command: Command, at: int = 0) -> Sequence[Event] | None:
    return purchase.decide("op", command, at, patience_us=PATIENCE_US)


def one(purchase: Purchase, command: Command, at: int = 0) -> Event:
    events = when(purchase, command, at)
    assert events is not None
    assert len(events) == 1
    return events[0]


INTENDED = PurchaseIntended(ordinal=0, attempt=1, identity="log-op-0", at=7)


def test_an_intent_is_recorded_once_and_then_owed() -> None:
    purchase = Purchase(ordinal=0)
    events = when(purchase, intend(), at=7)
    assert events == (INTENDED,)
    purchase.evolve(INTENDED)
    assert purchase.owed
    assert when(purchase, intend()) == ()


@pytest.mark.parametrize(
    "purchase",
    [
        pytest.param(given_events(INTENDED, PurchaseUncertain(ordinal=0, attempt=1, reason="?")), id="doubtful"),
        pytest.param(given_events(INTENDED, PurchaseAbsent(ordinal=0, attempt=1)), id="a later attempt"),
        pytest.param(given_events(INTENDED, PurchaseLost(ordinal=0, attempt=1)), id="lost"),
    ],
)
def test_an_attempt_that_is_over_sends_nothing(purchase: Purchase) -> None:
    with pytest.raises(Superseded):
        when(purchase, intend())


def test_reports_of_other_attempts_mean_nothing() -> None:
    purchase = given_events(INTENDED, PurchaseAbsent(ordinal=0, attempt=1))
    assert purchase.attempt == 2
    for command in (
        DoubtPurchase(ordinal=0, attempt=1, reason="?"),
        refuse("auth"),
        MissPurchase(ordinal=0, attempt=1),
    ):
        assert when(purchase, command) == ()


def test_a_doubt_reconciles_under_another_effect_after_the_list_has_settled() -> None:
    purchase = given_events(INTENDED)
    buying = purchase.effect_id()
    event = one(purchase, DoubtPurchase(ordinal=0, attempt=1, reason="reset"))
    purchase.evolve(event)
    assert purchase.owed
    assert purchase.effect_id() != buying
    assert purchase.not_before(settle_us=60) == 67


@pytest.mark.parametrize("kind", sorted(PASSING))
def test_what_may_pass_is_tried_again_until_patience_ends(kind: str) -> None:
    purchase = Purchase(ordinal=0)
    at, waits = 0, list[int]()
    while events := when(purchase, refuse(kind, purchase.attempt), at):
        refused = events[0]
        assert isinstance(refused, PurchaseRefused)
        waits.append(refused.retry_at - at)
        purchase.evolve(refused)
        at = max(refused.retry_at, at + 60 * SECOND_US)
    assert at > PATIENCE_US
    assert waits[0] <= 1.1 * SECOND_US
    assert max(waits) <= 1.1 * LONGEST_RETRY_US


def test_a_wait_that_the_provider_asks_for_is_kept() -> None:
    refused = one(Purchase(ordinal=0), refuse("rate_limit", retry_after_us=900 * SECOND_US))
    assert isinstance(refused, PurchaseRefused)
    assert refused.retry_at == 900 * SECOND_US


@pytest.mark.parametrize("kind", sorted(BLOCKING))
def test_what_blocks_waits_for_somebody_and_never_runs_out_of_patience(kind: str) -> None:
    purchase = Purchase(ordinal=0)
    for at in (0, 10 * PATIENCE_US, 20 * PATIENCE_US):
        refused = one(purchase, refuse(kind, purchase.attempt), at)
        assert isinstance(refused, PurchaseRefused)
        assert refused.blocked
        assert refused.retry_at == at + BLOCKED_RETRY_US
        purchase.evolve(refused)
        assert purchase.blocked.startswith(kind)


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "tried by itself"])
def test_after_a_block_patience_begins_anew(resumed: bool) -> None:
    purchase = Purchase(ordinal=0)
    blocked = one(purchase, refuse("quota_exceeded"), SECOND_US)
    purchase.evolve(blocked)
    if resumed:
        purchase.evolve(PurchaseResumed(ordinal=0, attempt=purchase.attempt))
        assert (purchase.blocked, purchase.not_before(0)) == ("", 0)
    assert when(purchase, refuse("rate_limit", purchase.attempt), 10 * PATIENCE_US), "one refusal is not the end"


def test_a_final_refusal_is_for_the_kind_to_word() -> None:
    assert when(Purchase(ordinal=0), refuse("invalid_request")) is None


attempts = st.integers(1, 4)
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(intend, attempts),
    st.builds(DoubtPurchase, ordinal=st.just(0), attempt=attempts, reason=st.just("?")),
    st.builds(MissPurchase, ordinal=st.just(0), attempt=attempts),
    st.builds(refuse, st.sampled_from(sorted(PASSING | BLOCKING | {"invalid_request"})), st.integers(1, 4)),
)


@given(st.lists(commands, max_size=20))
def test_owed_ends_by_an_outcome_only_and_attempts_never_repeat_an_effect(script: list[Command]) -> None:
    purchase = Purchase(ordinal=0)
    asked: list[str] = [purchase.effect_id()]
    for at, command in enumerate(script):
        owed = purchase.owed
        try:
            events = when(purchase, command, at) or ()
        except Superseded:
            continue
        for event in events:
            purchase.evolve(event)
        if owed and not purchase.owed:
            assert isinstance(command, RefusePurchase | MissPurchase), "bought is the kind's own event"
        if purchase.effect_id() != asked[-1]:
            asked.append(purchase.effect_id())
    assert len(asked) == len(set(asked))


# ---------------------------------------------------------------- performing a reconcile

SETTLE_US = 5 * SECOND_US


class Thing(Struct, frozen=True):
    """Something at the provider."""

    id: str


class Bought(Command, frozen=True):
    """The report of a purchase."""

    id: str
    reconciled: bool


class Reports:
    """The port of an effect: what it reports."""

    actor = "op"
    tenant = ""
    trace = "op"

    def __init__(self, now: int = 0) -> None:
        self.said: list[Command] = []
        self._now = now

    async def report(self, command: Command) -> None:
        """See `Port`."""
        self.said.append(command)

    async def tell(self, kind: str, actor: str, command: Command) -> None:
        """See `Port`."""
        raise AssertionError(command)

    def events(self, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """See `Port`."""
        raise AssertionError(after)

    def now(self) -> int:
        """See `Port`."""
        return self._now + int(trio.current_time() * SECOND_US)


class Wire:
    """A network that nobody uses here: what is found is scripted."""

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """See `Network`."""
        return None  # type: ignore[return-value]


async def reconciled(find: Callable[[Fetch, int], Awaitable[Sequence[Thing]]], port: Reports) -> Again | None:
    """Performs a purchase that is owed since the time 0."""
    effect = PurchaseEffect(
        id="find/0/1", purchase=True, intended=True, searchable=True, ordinal=0, attempt=1, settle_us=SETTLE_US
    )

    async def create(fetch: Fetch) -> Thing:
        raise AssertionError("it is owed")

    return await perform_purchase(
        effect,
        port,
        Wire(),
        identity="i",
        create=create,
        find=find,
        bought=lambda thing, again: Bought(thing.id, again),
    )


@pytest.mark.trio
async def test_w4_what_was_bought_long_after_the_intent_is_found_although_the_list_lags(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listed_at = trio.current_time() + 4.0  # it was bought a second before the crash, an hour after its intent

    async def find(fetch: Fetch, since: int) -> Sequence[Thing]:
        return [Thing("late")] if trio.current_time() >= listed_at else []

    port = Reports(now=3_600 * SECOND_US)
    assert await reconciled(find, port) is None
    assert port.said == [Bought("late", True)]


@pytest.mark.trio
async def test_w4_absence_is_believed_after_two_looks(autojump_clock: trio.testing.MockClock) -> None:
    looks: list[float] = []

    async def find(fetch: Fetch, since: int) -> Sequence[Thing]:
        looks.append(trio.current_time())
        return []

    port = Reports()
    assert await reconciled(find, port) is None
    assert port.said == [MissPurchase(ordinal=0, attempt=1)]
    assert [look - looks[0] for look in looks] == [0.0, 5.0]


@pytest.mark.trio
async def test_w4_two_candidates_are_asked_about_again_and_then_left_to_the_policy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def find(fetch: Fetch, since: int) -> Sequence[Thing]:
        raise Undecided("two batches look like it", retry_after_s=90.0)

    port = Reports()
    assert await reconciled(find, port) == Again(90.0)
    assert port.said == []
    late = Reports(now=RECONCILE_PATIENCE_US + SECOND_US)
    assert await reconciled(find, late) is None
    assert late.said == [LosePurchase(ordinal=0, attempt=1)]
