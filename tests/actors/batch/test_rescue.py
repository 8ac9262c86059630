"""Batches that the provider spoils: what is left of them is bought again, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.abc import Clock

from perdure.actors.batch.effects import Batches
from perdure.actors.batch.opening import Polling
from perdure.actors.batch.ports import InputProblem
from perdure.actors.batch.rescue import DEFERRAL_PATIENCE_US, FIRST_DEFERRAL_US, LONGEST_DEFERRAL_US
from perdure.actors.purchase import SECOND_US
from perdure.events.batch import (
    BatchSubmitted,
    CancelBatch,
    CancelLines,
    DeferPart,
    FileStored,
    PartDeferred,
    PartEnded,
    PartResubmitted,
    PartSettled,
)
from perdure.events.command import Orphan
from perdure.events.errors import InvalidRequest, OperationCancelled, OperationExpired, OperationFailed
from perdure.events.purchase import DuplicatePurchase, PurchaseIntended
from tests.actors.batch.given import (
    AT,
    BLOB,
    DEFERRED,
    RESCUING,
    RESUBMITTED,
    SUBMITTED,
    ended,
    fold,
    names,
    opened,
    settle,
    sold,
    taken,
    when,
)
from tests.actors.batch.looking import codes, lines_of, payloads, submit, types_of
from tests.actors.batch.memory import Ending, World
from tests.actors.batch.rig import serving, verified

# ---------------------------------------------------------------- the judgement


@pytest.mark.parametrize("status", ["expired", "failed", "cancelled"])
def test_unfinished_lines_are_bought_again_as_often_as_was_asked_for(status: Any) -> None:
    given = [opened(resubmit=1), *SUBMITTED[1:], ended(status), taken(0, 1)]
    (again,) = when(given, settle())
    assert again == PartResubmitted(part=0, round=1, provider_batch="p-1", status=status, settlements=[])
    (order,) = Batches.unwired().effects(fold(*given, again))
    assert (order.id, getattr(order, "left_out", None)) == ("file/0.1", [(0, 1)])
    assert names(when([opened(), *given[1:]], settle())) == "PartSettled BatchFinished", "nobody asked for it"


def test_a_second_round_is_the_last_of_one() -> None:
    given = [*RESUBMITTED, *SUBMITTED[3:-2], PurchaseIntended(ordinal=0, attempt=2, identity="i-1", at=AT)]
    given += [BatchSubmitted(part=0, attempt=2, provider_batch="p-2", at=AT), ended("expired")]
    assert names(when(given, settle())) == "PartSettled BatchFinished"


def test_what_was_completed_or_is_not_wanted_any_more_is_not_bought_again() -> None:
    """W-7, W-17: a provider that says it is done is believed; what the caller cancelled is not bought again."""
    done = [opened(resubmit=1), *SUBMITTED[1:], ended("completed"), taken(0, 1)]
    assert names(when(done, settle())) == "PartSettled BatchFinished"
    for command in (CancelBatch(), CancelBatch(reason="deadline"), CancelLines([2, 3])):
        given = [*RESCUING[:-1], *when(RESCUING[:-1], command), taken(0, 1)]
        assert "PartSettled" in names(when(given, settle()))


def test_w9_lines_that_were_found_wrong_are_not_bought_again() -> None:
    """W-9: each line that the provider names gets its own error; the innocent are bought again without them."""
    given = [opened(resubmit=1), *SUBMITTED[1:], ended("failed", sources=())]
    (again,) = when(given, settle(own={1: (5, 7)}))
    assert isinstance(again, PartResubmitted)
    assert [(each.ranges, each.offset, each.length) for each in again.settlements] == [(((1, 1),), 5, 7)]
    state = fold(*given, again)
    assert (state.failed, state.is_settled(1), state.parts[0].left_out) == (1, True, [(1, 1)])
    assert [item.number for item in Batches.unwired().index(again).items] == [1]
    every = dict.fromkeys(range(4), (0, 1))
    assert names(when(given, settle(own=every))) == "PartSettled BatchFinished", "nothing is left to buy"


def test_a_batch_that_was_given_up_is_bought_again_by_policy_only() -> None:
    """It may run on at the provider, so its lines may be sold twice: `on_uncertain` rules, as for every doubt."""
    end = PartEnded(part=0, status="expired", code="batch_expired", abandoned=True)
    given = [opened(resubmit=1, on_uncertain="fail"), *SUBMITTED[1:], end]
    assert names(when(given, settle())) == "PartSettled BatchFinished"
    given = [opened(resubmit=1, on_uncertain="resubmit"), *SUBMITTED[1:], end]
    assert names(when(given, settle())) == "PartResubmitted"


def test_what_comes_of_an_earlier_round_changes_nothing() -> None:
    """A file of all lines, and a purchase of them, whose news come late are not taken for those of what is left."""
    stored = FileStored(part=0, provider_file="f-1", file="pfile_1")
    assert when(RESUBMITTED, stored) == []
    ready = [*RESUBMITTED, *when(RESUBMITTED, FileStored(part=0, provider_file="f-2"))]
    assert when(ready, sold()) == []
    assert when(ready, Orphan(effect="buy/0/1", report=sold("p-1"))) == [], "it is known"
    (orphan,) = when(ready, Orphan(effect="buy/0/1", report=sold("p-9")))
    assert orphan == DuplicatePurchase(ordinal=0, provider_id="p-9")


def test_each_purchase_of_a_part_has_an_identity_and_a_file_of_its_own() -> None:
    (before,) = Batches.unwired().effects(fold(*SUBMITTED[:3]))
    (order,) = Batches.unwired().effects(fold(*RESUBMITTED))
    assert getattr(before, "file", "") != getattr(order, "file", "")
    ready = [*RESUBMITTED, *when(RESUBMITTED, FileStored(part=0, provider_file="f-2"))]
    (buy,) = Batches.unwired().effects(fold(*ready))
    assert (buy.id, getattr(buy, "before", 0), getattr(buy, "others", ())) == ("buy/0/2", 1, frozenset({"p-1"}))


def test_want_of_room_waits_ever_longer_and_then_fails() -> None:
    """A batch that fails for a limit on enqueued tokens waits and is bought again, over the same file."""
    report = DeferPart(part=0, provider_batch="p-1", code="token_limit_exceeded", message="full")
    (first,) = when(SUBMITTED, report)
    assert isinstance(first, PartDeferred)
    assert 0.9 <= (first.retry_at - AT) / FIRST_DEFERRAL_US <= 1.1
    (buy,) = Batches.unwired().effects(fold(*DEFERRED))
    assert (buy.id, buy.not_before, getattr(buy, "provider_file", "")) == ("buy/0/2", AT + 60 * SECOND_US, "f-1")
    given, again = [*DEFERRED], report
    for attempt in range(2, 12):
        batch = f"p-{attempt}"
        given += [
            PurchaseIntended(ordinal=0, attempt=attempt, identity="i", at=AT),
            BatchSubmitted(part=0, attempt=attempt, provider_batch=batch, at=AT),
        ]
        again = DeferPart(part=0, provider_batch=batch, code="token_limit_exceeded", message="full")
        (last,) = when(given, again)
        assert isinstance(last, PartDeferred)
        assert last.retry_at - AT <= 1.1 * LONGEST_DEFERRAL_US
        given.append(last)
    waited = [*given[:-1]]
    (failed,) = when(waited, again, at=AT + DEFERRAL_PATIENCE_US + 1)
    assert isinstance(failed, PartEnded)
    assert (failed.status, failed.code) == ("failed", "token_limit_exceeded")


def test_a_part_that_waits_for_room_ends_when_nobody_wants_it() -> None:
    assert names(when(DEFERRED, CancelBatch())) == "CancelRequested PartEnded"
    cancelled = [*SUBMITTED, *when(SUBMITTED, CancelBatch())]
    report = DeferPart(part=0, provider_batch="p-1", code="token_limit_exceeded", message="full")
    assert names(when(cancelled, report)) == "PartEnded"


def test_rows_and_results_know_the_lines_that_were_found_wrong() -> None:
    given = [opened(resubmit=1), *SUBMITTED[1:], ended("failed", sources=())]
    (again,) = when(given, settle(own={1: (5, 7)}))
    (item,) = Batches.unwired().index(again).items
    assert (item.status, item.blob, item.offset, item.length) == ("unanswered", BLOB, 5, 7)
    assert isinstance(when([*given[:-1], ended("completed")], settle())[0], PartSettled)


# ---------------------------------------------------------------- whole lives


@pytest.mark.trio
@pytest.mark.parametrize("told", [False, True], ids=["missing", "told"])
@pytest.mark.parametrize("inline_bytes", [0, 10_000], ids=["file", "inline"])
@pytest.mark.parametrize("status", ["expired", "cancelled"])
async def test_only_what_is_missing_is_bought_again(
    tmp_path: Path, clock: Clock, status: Any, inline_bytes: int, told: bool
) -> None:
    """The finished half is delivered at once; the other half is bought again, alone, under a name of its own."""
    world = World(inline_bytes=inline_bytes)
    world.tells_unfinished = told
    world.endings = [Ending(status)]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 5, resubmit=1)
        await trio.sleep(150)
        state = await handle.state()
        assert (state.ok, state.failed) == (2, 0)
        assert (await handle.result()).ok == 5
        assert [line.answer.text for line in await lines_of(handle) if line.answer] == [
            f"re: question {number}" for number in range(5)
        ]
        first, second = (world.files[batch.file][1].splitlines() for batch in world.batches.values())
        assert [json.loads(line)["body"]["input"] for line in second] == [f"question {n}" for n in (2, 3, 4)]
        assert len(first) == 5
        (again,) = await payloads(handle, "PartResubmitted")
        assert (again["round"], again["status"], again["provider_batch"]) == (1, status, "sold-1")
        assert world.bought_twice() == []
        await verified(service)


@pytest.mark.trio
async def test_w9_innocent_lines_of_a_batch_that_failed_are_bought_again(tmp_path: Path, clock: Clock) -> None:
    """W-9: the line that the provider names ends with its words, the others are answered."""
    world = World()
    world.endings = [Ending("failed", (InputProblem("invalid_json_line", "what is this?", 2),))]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 3, resubmit=2)
        assert codes(await lines_of(handle)) == {"r-0": "ok", "r-1": "invalid_json_line", "r-2": "ok"}
        assert codes(await lines_of(handle, order="arrival")) == codes(await lines_of(handle))
        assert len(world.sold("batch")) == 2
        await verified(service)


@pytest.mark.trio
@pytest.mark.parametrize(("resubmit", "batches"), [(0, 1), (2, 3)])
async def test_no_more_than_was_asked_for(tmp_path: Path, clock: Clock, resubmit: int, batches: int) -> None:
    world = World()
    world.ends_as = "expired"
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 8, resubmit=resubmit)
        with pytest.raises(OperationExpired):
            await handle.result()
        assert len(world.sold("batch")) == batches
        done = sum(code == "ok" for code in codes(await lines_of(handle)).values())
        assert done == 8 - 8 // 2**batches
        await verified(service)


@pytest.mark.trio
async def test_an_overdue_batch_is_rescued(tmp_path: Path, clock: Clock) -> None:
    """Past its window a batch is cancelled; the half that it had done is kept, the other half bought again."""
    world = World(batch_s=10 * 86_400.0)
    async with serving(tmp_path / "p.db", world, polling=Polling(every_s=600.0)) as service:
        handle = await submit(service, 4, resubmit=1)
        await trio.sleep(86_400.0)
        world.batch_s = 100.0
        assert (await handle.result()).ok == 4
        happened = await types_of(handle)
        places = [happened.index(type_) for type_ in ("BatchOverdue", "CancelSent", "PartEnded", "PartResubmitted")]
        assert places == sorted(places)


@pytest.mark.trio
async def test_w17_what_the_caller_cancels_is_not_bought_again(tmp_path: Path, clock: Clock) -> None:
    """W-17: a cancel keeps what was done and buys nothing more."""
    world = World(batch_s=1_000.0)
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 4, resubmit=3)
        await trio.sleep(100)
        await handle.cancel()
        with pytest.raises(OperationCancelled):
            await handle.result()
        assert len(world.sold("batch")) == 1
        assert list(codes(await lines_of(handle)).values()) == ["ok", "ok", "batch_cancelled", "batch_cancelled"]


@pytest.mark.trio
async def test_no_room_at_the_provider_is_waited_for_and_counts_as_nothing(tmp_path: Path, clock: Clock) -> None:
    """Failing for a limit on what is enqueued ends no line, counts as no resubmission, and uploads nothing again."""
    world = World(batch_s=30.0)
    full = Ending("failed", (InputProblem("token_limit_exceeded", "enqueued token limit reached"),), no_room=True)
    world.endings = [full, full, full]
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service, 4)
        assert (await handle.result()).ok == 4
        assert (len(world.sold("file")), len(world.sold("batch"))) == (1, 4)
        assert len({sold.identity for sold in world.account if sold.kind == "batch"}) == 4
        assert (await types_of(handle)).count("PartDeferred") == 3
        await verified(service)


@pytest.mark.trio
async def test_a_batch_that_never_finds_room_fails(tmp_path: Path, clock: Clock) -> None:
    world = World(batch_s=20_000.0)
    world.endings = [Ending("failed", (InputProblem("token_limit_exceeded", "full"),), no_room=True)] * 100
    async with serving(tmp_path / "p.db", world, polling=Polling(every_s=10_000.0)) as service:
        handle = await submit(service, 1)
        with pytest.raises(OperationFailed, match="full"):
            await handle.result()
        assert 7 * 86_400 < trio.current_time() < 8 * 86_400


@pytest.mark.trio
@pytest.mark.parametrize("resubmit", [-1, 101, True, 1.5])
async def test_a_number_of_times_that_is_none_is_refused(tmp_path: Path, clock: Clock, resubmit: Any) -> None:
    async with serving(tmp_path / "p.db", World()) as service:
        with pytest.raises(InvalidRequest, match="resubmit"):
            await submit(service, 1, resubmit=resubmit)
