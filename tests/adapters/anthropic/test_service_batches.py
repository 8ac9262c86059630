"""Message batches through a whole service, on a clock that jumps: from requests to answers, and all that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import trio
import trio.testing

import perdure
from perdure.adapters.simulator.faults import AnyBatchFault
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

BATCHES = "/anthropic/v1/messages/batches"
CREATE = f"POST {BATCHES}"
STATUS = f"GET {BATCHES}/*"
RESULTS = f"GET {BATCHES}/*/results"
CANCEL = f"POST {BATCHES}/*/cancel"
ALL_OK = {f"r-{number}": "ok" for number in range(4)}


def requests(count: int = 4) -> Iterator[perdure.Prompt]:
    """So many prompts."""
    for number in range(count):
        yield perdure.Prompt(f"question {number}", model="claude-sonnet-5-5", custom_id=f"r-{number}")


async def said(handle: perdure.BatchView) -> dict[str, str]:
    """What each line says: `ok`, or the code of its error."""
    async with handle.results(order="input") as lines:
        return {line.custom_id: line.error.code if line.error else "ok" async for line in lines}


def assert_bought_once(simulated: Simulation, batches: int = 1) -> None:
    """Nothing stands twice on the account."""
    assert simulated.account.bought_twice() == []
    assert [purchase.kind for purchase in simulated.account.purchases()] == ["batch"] * batches


async def types(handle: perdure.BatchView) -> list[str]:
    """What has happened to a batch."""
    return [record.type async for record in handle.events(follow=False)]


async def test_b34_requests_are_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            handle = await service.batches.submit(requests(), provider="anthropic", key="k")
            async with handle.results(order="input") as lines:
                answers = [line.answer async for line in lines]
            for number, answer in enumerate(answers):
                assert answer is not None
                assert answer.text.endswith(f"] question {number}")
                assert (answer.model, answer.finish_reason) == ("claude-sonnet-5-5", "end_turn")
                assert answer.body()["usage"]["service_tier"] == "batch"
            assert await handle.ended() == "succeeded"
            (await service.log.verify()).raise_if_bad()
        async with simulated.open() as service:
            again = await service.find("k")
            assert isinstance(again, perdure.BatchHandle)
            assert await said(again) == ALL_OK
        assert_bought_once(simulated)
        (bought,) = simulated.account.purchases()
        assert (bought.units, bought.identity) == (4, f"{handle.id}-0..{handle.id}-3")
        assert [seen.path for seen in simulated.requests() if seen.method == "POST"] == [BATCHES]


async def test_single_requests_share_a_batch(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        handles = [await service.submit(prompt, provider="anthropic", via="batch") for prompt in requests()]
        texts = [(await handle.result()).text for handle in handles]
        assert [text.partition("] ")[2] for text in texts] == [f"question {number}" for number in range(4)]
        assert_bought_once(simulated)


async def test_raw_bodies_and_prompts_share_a_batch(autojump_clock: trio.testing.MockClock) -> None:
    body = {"model": "claude-sonnet-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "raw"}]}
    async with simulation() as simulated, simulated.open() as service:
        both: list[perdure.Prompt | perdure.RawRequest] = [
            perdure.RawRequest("/v1/messages", body, custom_id="raw"),
            *requests(1),
        ]
        handle = await service.batches.submit(both, provider="anthropic")
        assert await said(handle) == {"raw": "ok", "r-0": "ok"}
        assert simulated.account.bought_twice() == []


@pytest.mark.parametrize("acted", [True, False], ids=["acted", "not acted"])
async def test_w4_w23_a_lost_answer_buys_nothing_twice(autojump_clock: trio.testing.MockClock, acted: bool) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.ActThenDrop(route=CREATE) if acted else faults.Drop(route=CREATE))
        handle = await service.batches.submit(requests(), provider="anthropic")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)
        assert ("PurchaseAbsent" in await types(handle)) is not acted


# ---------------------------------------------------------------- what a crash leaves (W-4)


async def crash_while_creating(simulated: Simulation, *, on_uncertain: perdure.OnUncertain = "fail") -> None:
    """Leaves a batch that was made, and whose maker died before it heard of it."""
    simulated.faults.arm(faults.Hold(route=CREATE))
    async with simulated.open() as service:
        await service.batches.submit(requests(), provider="anthropic", key="k", on_uncertain=on_uncertain)
        await simulated.holds.wait_held()
        await simulated.crash()
    simulated.holds.release()


async def goes_on(simulated: Simulation) -> perdure.BatchHandle:
    """The service goes on, until every request is answered and the log is whole."""
    async with simulated.open() as service:
        handle = await service.find("k")
        assert isinstance(handle, perdure.BatchHandle)
        assert await said(handle) == ALL_OK
        (await service.log.verify()).raise_if_bad()
        return handle


async def another(simulated: Simulation, service: perdure.Service, key: str = "other") -> perdure.BatchHandle:
    """A batch of somebody else's with as many requests, which has been made."""
    handle = await service.batches.submit(requests(), provider="anthropic", key=key)
    await trio.sleep(60.0)
    assert len(simulated.account.purchases()) == 1
    return handle


async def test_w4_an_orphan_that_runs_is_found_by_window_and_count(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        await crash_while_creating(simulated)
        await goes_on(simulated)
        assert_bought_once(simulated)
        assert len(simulated.requests(RESULTS)) == 1, "only to take it: whose it is was told before"


async def test_w4_an_orphan_that_has_ended_is_found_by_its_custom_ids(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        await crash_while_creating(simulated)
        await trio.sleep(7_200.0)
        await goes_on(simulated)
        assert_bought_once(simulated)
        assert len(simulated.requests(RESULTS)) == 2, "to tell whose it is, and to take it"


async def test_w4_of_two_that_run_the_right_one_is_taken_when_they_end(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            other = await another(simulated, service)
            foreign = other.id
        await crash_while_creating(simulated)
        handle = await goes_on(simulated)
        assert_bought_once(simulated, batches=2)
        assert handle.id != foreign
        async with simulated.open() as service:
            other_again = await service.get(foreign)
            assert isinstance(other_again, perdure.BatchHandle)
            assert await said(other_again) == ALL_OK
        assert len(simulated.requests(f"GET {BATCHES}")) > 2


async def test_w4_an_orphan_that_is_404_at_first_is_found(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Unseen(for_s=1_500.0))
        await crash_while_creating(simulated)
        await goes_on(simulated)
        assert_bought_once(simulated)
        assert 404 in [seen.status for seen in simulated.requests(STATUS)]


async def test_w4_an_orphan_that_the_list_shows_late_is_found(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Unlisted(for_s=29.0))
        await crash_while_creating(simulated)
        await goes_on(simulated)
        assert_bought_once(simulated)


async def test_w4_what_was_never_made_is_bought_after_the_settling_time(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Hold(route=CREATE, act=False))
        async with simulated.open() as service:
            handle = await service.batches.submit(requests(), provider="anthropic", key="k")
            await simulated.holds.wait_held()
            await simulated.crash()
        assert simulated.account.purchases() == []
        began = simulated.now
        handle = await goes_on(simulated)
        assert_bought_once(simulated)
        assert (simulated.now - began).total_seconds() >= 30.0
        async with simulated.open() as service:
            again = await service.get(handle.id)
            assert isinstance(again, perdure.BatchHandle)
            assert "PurchaseAbsent" in await types(again)


async def test_w4_another_batch_that_runs_is_not_taken_for_one_that_was_never_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulation() as simulated:
        config = perdure.Config(polling=perdure.Polling(first_s=600.0, every_s=600.0))
        async with simulated.open(config=config) as service:
            other = (await another(simulated, service)).id
            simulated.faults.arm(faults.Hold(route=CREATE, act=False))
            await service.batches.submit(requests(), provider="anthropic", key="k")
            await simulated.holds.wait_held()
            await simulated.crash()
        await goes_on(simulated)
        async with simulated.open() as service:
            again = await service.get(other)
            assert isinstance(again, perdure.BatchHandle)
            assert await said(again) == ALL_OK
        assert_bought_once(simulated, batches=2)


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
async def test_w4_what_cannot_be_told_for_a_day_is_the_policys_to_decide(
    autojump_clock: trio.testing.MockClock, policy: perdure.OnUncertain
) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.CompletedWithoutFile())
        await crash_while_creating(simulated, on_uncertain=policy)
        await trio.sleep(7_200.0)  # it has ended, and has no results: nothing tells whose it was
        async with simulated.open() as service:
            handle = await service.find("k")
            assert isinstance(handle, perdure.BatchHandle)
            await trio.sleep(70_000.0)
            assert not {"PurchaseLost", "PurchaseResubmitted"} & set(await types(handle))
            await trio.sleep(20_000.0)
            assert ("PurchaseResubmitted" if policy == "resubmit" else "PurchaseLost") in await types(handle)
            if policy == "resubmit":
                assert await said(handle) == ALL_OK
        assert len(simulated.account.purchases()) == (1 if policy == "fail" else 2)


# ---------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route=CREATE, after_bytes=20),
        faults.Truncate(route=STATUS, after_bytes=20, count=2),
        faults.Truncate(route=RESULTS, after_bytes=300, count=2),
        faults.Truncate(route=RESULTS, after_bytes=300, clean=True),
        faults.WrongContentType(route=RESULTS, content_type="text/html", body="<html>"),
        faults.WrongContentType(route=STATUS, body="<html>", count=2),
        faults.AnswerStatus(route=CREATE, status=502, act=True),
        faults.AnswerStatus(route=CREATE, status=529, count=2),
        faults.AnswerStatus(route=CREATE, status=429, headers={"retry-after": "3"}, count=2),
        faults.AnswerStatus(route=STATUS, status=503, count=5),
        faults.AnswerStatus(route=STATUS, status=404, count=5),
        faults.AnswerStatus(route=RESULTS, status=500, count=5),
        faults.AnswerStatus(route=RESULTS, status=404, count=5),
        faults.CutRequest(route=CREATE, after_bytes=200),
    ],
    ids=lambda fault: f"{type(fault).__name__} {fault.route} {getattr(fault, 'status', '')}",
)
async def test_answers_that_are_cut_or_wrong(
    autojump_clock: trio.testing.MockClock, fault: faults.Truncate | faults.AnswerStatus
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(fault)
        handle = await service.batches.submit(requests(), provider="anthropic")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


async def test_b30_b31_w7_missing_extra_and_garbled_results(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Missing(lines=2), faults.Extra(lines=3), faults.Garbled(lines=1))
        handle = await service.batches.submit(requests(250), provider="anthropic")
        codes = list((await said(handle)).values())
        state = await handle.state()
        assert len(codes) == 250
        assert codes.count("batch_item_missing") in (2, 3), "a garbled result may be a missing one"
        assert (state.extra, state.anomalies) == (3, 0)
        assert_bought_once(simulated)


async def test_b31_of_two_results_the_first_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Duplicate(lines=2))
        handle = await service.batches.submit(requests(), provider="anthropic")
        assert await said(handle) == ALL_OK
        assert (await handle.state()).duplicate == 2


ENDS: dict[str, tuple[Sequence[AnyBatchFault], str, list[str]]] = {
    "all failed": ([faults.OnlyErrorFile()], "succeeded", ["api_error"] * 4),
    "some failed": ([faults.FailLines(lines=4, status=529)], "succeeded", ["overloaded_error"] * 4),
    "no results": ([faults.CompletedWithoutFile()], "succeeded", ["batch_item_missing"] * 4),
    "refused as a whole": ([faults.FailValidation(code="spent")], "succeeded", ["spent"] * 4),
    "expired": ([faults.ExpireNow(done=0.5)], "expired", ["ok", "ok", "batch_expired", "batch_expired"]),
    "expired with nothing": ([faults.ExpireNow(done=0.0)], "expired", ["batch_expired"] * 4),
    "cancelled": ([faults.Cancelled(done=0.5)], "cancelled", ["ok", "ok", "batch_cancelled", "batch_cancelled"]),
    "stuck for a day": ([faults.Stuck(done=0.75)], "expired", ["ok", "ok", "ok", "batch_expired"]),
}


@pytest.mark.parametrize(("armed", "status", "codes"), ENDS.values(), ids=ENDS)
async def test_b34_every_end_settles_every_line_and_keeps_partial_output(
    autojump_clock: trio.testing.MockClock, armed: Sequence[AnyBatchFault], status: str, codes: list[str]
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(*armed)
        handle = await service.batches.submit(requests(), provider="anthropic")
        assert list((await said(handle)).values()) == codes
        assert await handle.ended() == status
        assert_bought_once(simulated)


@pytest.mark.parametrize(
    "fault", [faults.ExpireNow(done=0.5), faults.Cancelled(done=0.5)], ids=["expired", "cancelled"]
)
@pytest.mark.parametrize("lost", [False, True], ids=["heard", "lost"])
async def test_what_anthropic_left_unfinished_is_bought_again(
    autojump_clock: trio.testing.MockClock, fault: AnyBatchFault, lost: bool
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(fault)
        if lost:
            simulated.faults.arm(faults.ActThenDrop(route=CREATE, skip=1))
        handle = await service.batches.submit(requests(), provider="anthropic", resubmit=1)
        assert await said(handle) == ALL_OK
        assert await handle.ended() == "succeeded"
        assert [purchase.units for purchase in simulated.account.purchases()] == [4, 2], "only what was missing"
        assert simulated.account.bought_twice() == []


@pytest.mark.parametrize("unseen_s", [0.0, 3_700.0])
async def test_w17_a_batch_is_cancelled_and_keeps_what_was_done(
    autojump_clock: trio.testing.MockClock, unseen_s: float
) -> None:
    async with simulation(batch_s=7_200.0) as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Unseen(for_s=unseen_s))
        handle = await service.batches.submit(requests(), provider="anthropic")
        await trio.sleep(3_600.0)
        assert await handle.cancel() == "requested"
        codes = list((await said(handle)).values())
        assert codes == ["ok", "ok", "batch_cancelled", "batch_cancelled"]
        assert await handle.ended() == "cancelled"
        assert [seen.status for seen in simulated.requests(CANCEL)].count(200) == 1


async def test_w16_a_batch_is_split_by_what_anthropic_takes(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.adapters.anthropic.batches.MAX_LINES", 3)
    async with simulation() as simulated, simulated.open() as service:
        handle = await service.batches.submit(requests(7), provider="anthropic")
        assert list((await said(handle)).values()) == ["ok"] * 7
        assert sorted(purchase.units for purchase in simulated.account.purchases()) == [1, 3, 3]
        assert_bought_once(simulated, batches=3)


async def test_the_key_never_follows_results_to_another_origin(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Stuck())
        handle = await service.batches.submit(requests(), provider="anthropic")
        await trio.sleep(60.0)
        (bought,) = simulated.account.purchases()
        elsewhere = "https://elsewhere.example/results"
        body = {"id": bought.id, "processing_status": "ended", "results_url": elsewhere}
        simulated.faults.clear()
        simulated.faults.arm(faults.AnswerStatus(route=STATUS, status=200, body=body))
        simulated.faults.arm(faults.AnswerStatus(route=RESULTS, status=200, body="", count=None))
        assert set((await said(handle)).values()) == {"batch_item_missing"}
        assert [seen.path for seen in simulated.requests(RESULTS)] == [f"{BATCHES}/{bought.id}/results"]
