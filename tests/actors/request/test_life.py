"""A live request from opening to answer under a virtual clock, and all that may come in between."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from trio.abc import Clock
from trio.testing import MockClock

from perdure.actors.fetch import CredentialMissing, NotSent, Refused, Unknown
from perdure.actors.request.state import RequestState
from perdure.events.errors import (
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OutcomeUncertain,
    Rejected,
    Unavailable,
)
from tests.actors.request.memory import World
from tests.actors.request.rig import ACTOR, BODY, asking
from tests.store.blobs.looking import lose

pytestmark = pytest.mark.trio

LOST = Unknown("the connection was cut")
LARGE = b'{"model":"m","input":"%s"}' % (b"x" * 20_000)


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps whenever all tasks wait."""
    return MockClock(autojump_threshold=0)


async def test_asked_once_and_answered_with_what_it_cost(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        assert handle.status == "pending"
        answer = await handle.result()
        assert (answer.text, answer.raw) == (f"re: {len(BODY)}", world.answer(BODY))
        assert await handle.result() == answer
        assert await handle.cancel() == "too_late"
        assert await desk.types() == ["RequestOpened", "PurchaseIntended", "CostRecorded", "RequestAnswered"]
        assert world.account == [BODY]
        await desk.verify()


async def test_large_bodies_are_blobs(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.answer = lambda body: b'{"text": "%s"}' % (b"y" * 30_000)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit(LARGE)
        assert (await handle.result()).text == "y" * 30_000
        state: RequestState = await handle.state()
        assert state.opened is not None
        assert state.answer is not None
        assert (state.opened.body.size_bytes, state.answer.size_bytes) == (len(LARGE), 30_012)
        assert state.opened.body.blob
        assert state.answer.blob
        assert desk.blobs.pinned == 0
        assert world.account == [LARGE]
        await desk.verify()


async def test_an_answer_that_no_blob_can_hold_is_kept_in_its_event(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.answer = lambda body: b'{"text": "%s"}' % (b"y" * 30_000)
    async with asking(tmp_path / "p.db", world) as desk:

        async def full(chunks: bytes) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(desk.blobs, "put", full)
        handle = await desk.submit()
        assert (await handle.result()).text == "y" * 30_000
        assert len(world.account) == 1


async def test_a_body_that_is_gone_fails_before_anything_is_sent(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("not sent", NotSent("no network"))
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit(LARGE)
        state: RequestState = await handle.state()
        assert state.opened is not None
        digest = state.opened.body.blob
        lose(tmp_path / "p.db-blobs", digest)
        desk.blobs.close()
        with pytest.raises(OperationFailed, match="blob_lost"):
            await handle.result()
        assert world.account == []


# ---------------------------------------------------------------- refusals


async def test_what_passes_is_waited_for_as_long_as_the_provider_says(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("slowly", kind="rate_limit", status=429, retry_after_s=30.0))
    world.fail("refused", Refused("broken", kind="server_error", status=500))
    world.fail("not sent", NotSent("no connection"))
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        assert (await handle.result()).text
        assert (await desk.types()).count("PurchaseRefused") == 3
        assert len(world.account) == 1
        first, second, *_ = world.asked_at
        assert second - first >= 30.0
        await desk.verify()


async def test_refusals_that_last_for_a_day_end_it(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("overloaded", kind="server_error", status=503, retry_after_s=3_600.0), times=100)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        with pytest.raises(OperationFailed, match="server_error: overloaded"):
            await handle.result()
        assert 86_400.0 < trio.current_time() < 86_400.0 + 3_700.0


async def test_a_final_refusal_keeps_code_words_and_status(tmp_path: Path, clock: Clock) -> None:
    world = World()
    refusal = Refused("no such model", kind="model_not_found", status=404, provider_code="model_gone")
    world.fail("refused", refusal)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        for _ in range(2):
            with pytest.raises(OperationFailed) as failed:
                await handle.result()
            assert failed.value.cause == "model_gone: no such model"
        state: RequestState = await handle.state()
        assert (state.code, state.message, state.http_status) == ("model_gone", "no such model", 404)
        assert len(world.asked_at) == 1


@pytest.mark.parametrize(
    "error",
    [
        Refused("wrong key", kind="auth", status=401),
        Refused("no money", kind="quota_exceeded", status=429),
        CredentialMissing("no key"),
    ],
    ids=["refused key", "quota", "missing key"],
)
async def test_blocked_until_somebody_mends_it(tmp_path: Path, clock: Clock, error: NotSent | Refused) -> None:
    world = World()
    world.fail("not sent" if isinstance(error, NotSent) else "refused", error)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        async with aclosing(handle.progress_updates()) as updates:
            async for progress in updates:
                if progress.status == "blocked":
                    assert str(error) in progress.note
                    break
        since = trio.current_time()
        await handle.resume()
        assert (await handle.result()).text
        assert trio.current_time() - since < 2.0
        assert "PurchaseResumed" in await desk.types()


async def test_blocked_is_tried_again_slowly_by_itself(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("wrong key", kind="auth", status=401), times=2)
    async with asking(tmp_path / "p.db", world) as desk:
        assert (await (await desk.submit()).result()).text
        assert trio.current_time() > 600.0


async def test_an_answer_in_which_nothing_can_be_read(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.answer = lambda body: b'{"odd": 1}'
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        with pytest.raises(OperationFailed, match="unreadable_answer"):
            await handle.result()
        state: RequestState = await handle.state()
        assert state.answer is not None, "it was paid for"
        assert state.answer.text.open() == '{"odd": 1}'


# ---------------------------------------------------------------- doubt


async def test_w23_a_lost_answer_is_asked_again_only_where_the_policy_says_so(tmp_path: Path, clock: Clock) -> None:
    """W-23: a create without an answer is not sent again blindly: the request's policy decides, on record."""
    world = World()
    world.fail("lost", LOST, times=2)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit(on_uncertain="resubmit")
        assert (await handle.result()).text
        assert (await desk.types())[1:] == [
            *["PurchaseIntended", "PurchaseUncertain", "PurchaseResubmitted"] * 2,
            "PurchaseIntended",
            "CostRecorded",
            "RequestAnswered",
        ]
        first, second, third = world.asked_at
        assert (second - first) < 3.0 < 7.0 < third - second, "each time it waits longer"
        assert len(world.account) == 3


async def test_w23_it_rests_uncertain_until_somebody_decides(tmp_path: Path, clock: Clock) -> None:
    """W-23: with the policy "fail", or after three attempts in vain, nothing is bought until somebody says so."""
    world = World()
    world.fail("lost", LOST, times=1 + 4)
    async with asking(tmp_path / "p.db", world) as desk:
        cautious = await desk.submit(on_uncertain="fail")
        with pytest.raises(OutcomeUncertain) as uncertain:
            await cautious.result()
        assert (uncertain.value.policy, len(world.account)) == ("fail", 1)
        other = ACTOR[:-1] + "f"
        keen = await desk.submit(actor=other, on_uncertain="resubmit")
        with pytest.raises(OutcomeUncertain) as uncertain:
            await keen.result()
        assert (uncertain.value.policy, len(world.account)) == ("resubmit", 5)
        await trio.sleep(86_400.0)
        assert len(world.account) == 5
        await cautious.resubmit()
        assert (await cautious.result()).text
        assert await keen.cancel() == "cancelled"
        with pytest.raises(OperationCancelled):
            await keen.result()
        assert len(world.account) == 6
        with pytest.raises(Rejected):
            await keen.resubmit()
        await desk.verify()


async def test_w23_a_process_that_died_after_the_intent_asks_the_policy(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=100.0)
    async with asking(tmp_path / "p.db", world) as desk:
        await desk.submit()
        await trio.sleep(1.0)
        assert len(world.account) == 1
    async with asking(tmp_path / "p.db", world) as desk:
        assert (await (await desk.handle()).result()).text
        assert len(world.account) == 2
        assert (await desk.types()).count("PurchaseResubmitted") == 1


# ---------------------------------------------------------------- leaving


async def test_cancelled_before_the_intent_nothing_is_sent(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("slowly", kind="rate_limit", status=429, retry_after_s=60.0))
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        await trio.sleep(1.0)
        assert await handle.cancel() == "cancelled"
        assert (await desk.settled()).standing.next_due is None
        await trio.sleep(3_600.0)
        assert world.account == []
        with pytest.raises(OperationCancelled):
            await handle.result()


async def test_cancelled_after_the_intent_it_is_settled_and_the_answer_recorded(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=10.0)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        await trio.sleep(5.0)
        assert await handle.cancel() == "cancelled"
        with pytest.raises(OperationCancelled) as first:
            await handle.result()
        assert trio.current_time() < 6.0, "its caller is not kept waiting"
        row = await desk.log.row(ACTOR)
        assert row is not None
        assert (row.standing.status, row.standing.terminal) == ("cancelled", False)
        assert (await desk.settled()).standing.status == "cancelled"
        state: RequestState = await handle.state()
        assert state.answer is not None
        assert state.answer.text.open() == world.answer(BODY).decode()
        with pytest.raises(OperationCancelled) as again:
            await handle.result()
        assert str(again.value) == str(first.value)
        assert len(world.account) == 1
        await desk.verify()


async def test_cancelled_and_lost_it_is_not_asked_again(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=10.0)
    world.fail("lost", LOST)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit()
        await trio.sleep(5.0)
        await handle.cancel()
        await desk.settled()
        await trio.sleep(3_600.0)
        assert len(world.account) == 1
        assert (await desk.types())[-2:] == ["PurchaseUncertain", "PurchaseLost"]


async def test_the_deadline_ends_it_for_its_caller(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=10.0)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit(deadline_s=5.0)
        with pytest.raises(OperationExpired):
            await handle.result()
        assert 5.0 <= trio.current_time() < 6.0
        await desk.settled()
        state: RequestState = await handle.state()
        assert state.answer is not None
        assert await handle.cancel() == "too_late"
        with pytest.raises(OperationExpired):
            await handle.result()


async def test_the_deadline_ends_what_is_blocked(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("wrong key", kind="auth", status=401), times=100)
    async with asking(tmp_path / "p.db", world) as desk:
        handle = await desk.submit(deadline_s=1_000.0)
        with pytest.raises(OperationExpired):
            await handle.result()
        assert 1_000.0 <= trio.current_time() < 1_001.0
        assert len(world.asked_at) == 4
        assert (await desk.log.row(ACTOR)).standing.next_due is None  # type: ignore[union-attr]


async def test_the_same_request_again_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with asking(tmp_path / "p.db", world) as desk:
        await (await desk.submit()).result()
        assert (await (await desk.submit()).result()).text
        assert len(world.account) == 1
        with pytest.raises(Rejected, match="body is another"):
            await desk.submit(b'{"model":"m"}')
