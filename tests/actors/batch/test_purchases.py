"""The purchase of a part: one intent for an attempt, what is found is adopted, what is in doubt ends by policy."""

from __future__ import annotations

import pytest

from perdure.actors.batch.effects import Batches
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchSubmitted,
    DuplicateCancelled,
    NoteDuplicateCancelled,
    NoteTrouble,
    PartEnded,
    ResubmitBatch,
)
from perdure.events.command import Orphan
from perdure.events.errors import Superseded
from perdure.events.purchase import (
    DuplicatePurchase,
    IntendPurchase,
    LosePurchase,
    NoteDuplicate,
    PurchaseLost,
    PurchaseRefused,
    PurchaseResubmitted,
    RefusePurchase,
)
from tests.actors.batch.given import (
    AT,
    DOUBTFUL,
    INTENDED,
    LINES,
    LOST,
    READY,
    REFUSED,
    SUBMITTED,
    fold,
    names,
    opened,
    sold,
    when,
)


def test_w23_an_intent_is_recorded_once_and_nothing_is_sent_for_a_past_attempt() -> None:
    """W-23: an attempt has one intent; an effect of an attempt that is over may not send."""
    assert names(when(READY, IntendPurchase(ordinal=0, attempt=1, identity="i"))) == "PurchaseIntended"
    with pytest.raises(Superseded):
        when(REFUSED, IntendPurchase(ordinal=0, attempt=1, identity="i"))


def test_w4_what_is_found_is_adopted_and_others_of_its_name_are_cancelled() -> None:
    """W-4: the oldest purchase with our identity becomes the part's; any other is cancelled there, once."""
    given = [*DOUBTFUL, *when(DOUBTFUL, NoteDuplicate(ordinal=0, provider_id="p-2"))]
    assert when(given, NoteDuplicate(ordinal=0, provider_id="p-2")) == []
    given += when(given, sold("p-1"))
    asked = [effect.id for effect in Batches.unwired().effects(fold(*given))]
    assert asked == ["cancel-unwanted/p-2", "poll/0/0"]
    assert when(given, NoteDuplicateCancelled(provider_batch="p-2")) == [DuplicateCancelled(provider_batch="p-2")]


def test_w4_a_batch_whose_report_nobody_awaits_is_adopted_where_its_part_has_none() -> None:
    """W-4: a purchase in hand is never dropped: a part without one takes it, even after it was called lost."""
    for given in (READY, LOST, REFUSED, INTENDED):
        (event,) = when(given, Orphan(effect="buy/0/1", report=sold("p-9")))
        assert isinstance(event, BatchSubmitted)
        assert event.provider_batch == "p-9"
    assert when(SUBMITTED, Orphan(effect="buy/0/1", report=sold("p-1"))) == []
    second = [*INTENDED, PurchaseRefused(ordinal=0, attempt=1, reason="x", at=AT, retry_at=AT)]
    second += when(second, IntendPurchase(ordinal=0, attempt=2, identity="i"))
    (event,) = when(second, Orphan(effect="buy/0/1", report=sold("p-9")))
    assert isinstance(event, DuplicatePurchase), "attempt 2 is on the wire: the other one is given back"


@pytest.mark.parametrize("kind", ["auth", "quota_exceeded", "credential_missing"])
def test_a_refused_key_or_quota_blocks_and_never_fails(kind: str) -> None:
    late = AT + 10 * 86_400 * SECOND_US
    (event,) = when(READY, RefusePurchase(ordinal=0, attempt=1, kind=kind, message="no"), at=late)
    assert isinstance(event, PurchaseRefused)
    assert event.blocked
    state = fold(*READY, event)
    row = Batches.unwired().row(state)
    assert (row.status, row.terminal) == ("blocked", False)
    assert row.progress == f"0/{LINES} {kind}: no"


def test_refusals_that_pass_are_tried_again_until_patience_ends() -> None:
    refusal = RefusePurchase(ordinal=0, attempt=1, kind="server_error", message="m", retry_after_us=7 * SECOND_US)
    (first,) = when(READY, refusal)
    assert isinstance(first, PurchaseRefused)
    assert first.retry_at == AT + 7 * SECOND_US, "what the provider asks for wins over a shorter wait of ours"
    again = RefusePurchase(ordinal=0, attempt=2, kind="server_error", message="m")
    assert names(when([*READY, first], again, at=AT + 86_400 * SECOND_US)) == "PurchaseRefused"
    assert names(when([*READY, first], again, at=AT + 86_401 * SECOND_US)) == "PartEnded"


def test_b27_w5_a_refused_submission_ends_every_line_with_the_providers_words() -> None:
    """B-27, W-5: a submission that the provider refuses for good ends all lines with its reason. W-5 narrows B-27:
    once the provider has the batch nothing that fails here ends a line."""
    refusal = RefusePurchase(ordinal=0, attempt=1, kind="invalid_request", message="no such endpoint")
    (event,) = when(INTENDED, refusal)
    assert isinstance(event, PartEnded)
    assert (event.status, event.code, event.message.open()) == ("failed", "invalid_request", "no such endpoint")
    assert when(SUBMITTED, refusal) == []
    assert names(when(SUBMITTED, NoteTrouble(part=0, error="disk", blocked=False))) == "PollTroubled"
    assert Batches.unwired().row(fold(*SUBMITTED)).terminal is False


def test_doubt_ends_by_policy() -> None:
    lose = LosePurchase(ordinal=0, attempt=1)
    assert when(DOUBTFUL, lose) == [PurchaseLost(ordinal=0, attempt=1)]
    resubmitting = [opened(on_uncertain="resubmit"), *DOUBTFUL[1:]]
    assert when(resubmitting, lose) == [PurchaseResubmitted(ordinal=0, attempt=1, policy="resubmit")]
    row = Batches.unwired().row(fold(*LOST))
    assert (row.status, row.terminal) == ("uncertain", True)
    assert when(LOST, ResubmitBatch()) == [PurchaseResubmitted(ordinal=0, attempt=1, policy="caller")]
