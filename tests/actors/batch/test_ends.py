"""Polling, cancelling and the ends of parts: what is an event, and what is settled first."""

from __future__ import annotations

import pytest

from perdure.actors.batch.effects import Batches
from perdure.events.batch import (
    CancelBatch,
    CancelRequested,
    CloseBatch,
    NoteDuplicateCancelled,
    NoteTrouble,
    PartEnded,
)
from perdure.events.event import Event
from perdure.events.purchase import (
    LosePurchase,
    MissPurchase,
    RefusePurchase,
)
from tests.actors.batch.given import (
    DOUBTFUL,
    INTENDED,
    LOST,
    READY,
    SUBMITTED,
    collected,
    end,
    fold,
    names,
    opened,
    polled,
    settle,
    sold,
    when,
)


def test_b28_w6_every_terminal_status_ends_and_reads_what_there_is() -> None:
    """B-28, W-6: completed, failed, expired and cancelled all end a part, and whatever output exists is read."""
    for status in ("completed", "failed", "expired", "cancelled"):
        (event,) = when(SUBMITTED, end(status))
        (asked,) = Batches.unwired().effects(fold(*SUBMITTED, event))
        assert asked.id == "collect/0/0"
    for status in ("pending", "processing"):
        state = fold(*SUBMITTED, *when(SUBMITTED, polled(status)))
        assert [effect.id for effect in Batches.unwired().effects(state)] == ["poll/0/0"]


def test_w10_w78_a_poll_is_an_event_only_when_it_shows_something_new() -> None:
    """W-10, W-78: a new status, progress of a hundredth, the first failure and the recovery are events."""
    given: list[Event] = [opened(), collected(0, 1000), *when([opened(), collected(0, 1000)], CloseBatch())]
    given += [*READY[3:], *SUBMITTED[5:]]

    def said(completed: int, status: str = "processing") -> str:
        return names(when(given, polled(status, completed, total=1000)))

    assert said(0) == "BatchPolled"
    given += when(given, polled("processing", 0, total=1000))
    assert [said(0), said(9), said(10)] == ["", "", "BatchPolled"]
    assert said(0, "pending") == "BatchPolled"
    given += when(given, NoteTrouble(part=0, error="503", blocked=False))
    assert when(given, NoteTrouble(part=0, error="504", blocked=False)) == []
    assert names(when(given, NoteTrouble(part=0, error="401", blocked=True))) == "PollTroubled"
    assert said(0) == "PollRecovered"


@pytest.mark.parametrize("cancel", ["caller", "deadline"])
def test_w17_cancel_ends_what_was_not_sent_and_settles_what_is_owed_first(cancel: str) -> None:
    """W-17: before the intent a cancel removes the part; after it the purchase is settled first, and if it was bought
    it is cancelled at the provider."""
    command = CancelBatch(reason=cancel)
    requested, removed = when(READY, command)
    assert isinstance(requested, CancelRequested)
    assert isinstance(removed, PartEnded)
    assert removed.status == {"caller": "cancelled", "deadline": "expired"}[cancel]
    given = [*INTENDED, *when(INTENDED, command)]
    assert [effect.id for effect in Batches.unwired().effects(fold(*given))] == ["buy/0/1"]
    assert names(when(given, MissPurchase(ordinal=0, attempt=1))) == "PurchaseAbsent PartEnded"
    assert names(when(given, RefusePurchase(ordinal=0, attempt=1, kind="auth", message=""))) == (
        "PurchaseRefused PartEnded"
    )
    given += when(given, sold())
    assert [effect.id for effect in Batches.unwired().effects(fold(*given))] == ["poll/0/0", "cancel/0"]


def test_w17_a_cancel_in_doubt_ends_and_says_that_it_was_in_doubt() -> None:
    """W-17: when it can never be told whether a cancelled part was bought, it ends all the same, as uncertain."""
    for given, command in (
        ([*DOUBTFUL, *when(DOUBTFUL, CancelBatch())], LosePurchase(ordinal=0, attempt=1)),
        (list(LOST), CancelBatch()),
    ):
        *_, ended = when(given, command)
        assert isinstance(ended, PartEnded)
        assert (ended.status, ended.code) == ("cancelled", "batch_uncertain")


def test_w10_what_is_given_up_is_left_to_be_cancelled() -> None:
    """W-10: giving up is an event of its own, and what the provider has is still cancelled there."""
    given = [*SUBMITTED, *when(SUBMITTED, end("expired", abandoned=True, sources=()))]
    asked = [effect.id for effect in Batches.unwired().effects(fold(*given))]
    assert asked == ["cancel-unwanted/p-1", "collect/0/0"]
    given += when(given, settle())
    state = fold(*given)
    assert Batches.unwired().row(state).status == "expired"
    assert Batches.unwired().row(state).terminal is False
    given += when(given, NoteDuplicateCancelled(provider_batch="p-1"))
    assert Batches.unwired().row(fold(*given)).terminal is True
