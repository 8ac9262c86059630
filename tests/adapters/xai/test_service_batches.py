"""Batches at xAI through a whole service, on a clock that jumps: from requests to answers, and all that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import trio.testing

import perdure
from perdure.adapters.simulator.faults import AnyBatchFault
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

BATCHES = "/xai/v1/batches"
CREATE = f"POST {BATCHES}"
UPLOAD = "POST /xai/v1/files"
STATUS = f"GET {BATCHES}/*"
RESULTS = f"GET {BATCHES}/*/results"
ALL_OK = {f"r-{number}": "ok" for number in range(4)}


def requests(count: int = 4) -> Iterator[perdure.Prompt]:
    for number in range(count):
        yield perdure.Prompt(f"question {number}", model="grok-5", custom_id=f"r-{number}")


async def said(handle: perdure.BatchView) -> dict[str, str]:
    """What each line says: `ok`, or the code of its error."""
    async with handle.results(order="input") as lines:
        return {line.custom_id: line.error.code if line.error else "ok" async for line in lines}


def assert_bought_once(simulated: Simulation, batches: int = 1) -> None:
    assert simulated.account.bought_twice() == []
    kinds = [purchase.kind for purchase in simulated.account.purchases(provider="xai")]
    assert sorted(kinds) == ["batch"] * batches + ["file"] * batches


@pytest.mark.parametrize("endpoint", [None, "/v1/chat/completions"], ids=["responses", "chat"])
async def test_requests_are_answered_with_what_they_cost(
    autojump_clock: trio.testing.MockClock, endpoint: str | None
) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            handle = await service.batches.submit(requests(), provider="xai", endpoint=endpoint, key="k")
            async with handle.results(order="input") as lines:
                answers = [line.answer async for line in lines]
            for number, answer in enumerate(answers):
                assert answer is not None
                assert answer.text.endswith(f"] question {number}")
                assert answer.body()["object"] == "chat.completion"
                assert answer.body()["usage"]["cost_in_usd_ticks"] > 0
            assert await handle.ended() == "succeeded"
            (await service.log.verify()).raise_if_bad()
        async with simulated.open() as service:
            again = await service.find("k")
            assert isinstance(again, perdure.BatchHandle)
            assert await said(again) == ALL_OK
        assert_bought_once(simulated)
        (bought,) = simulated.account.purchases(kind="batch")
        assert (bought.units, handle.id in bought.identity) == (4, True)


async def test_single_requests_share_a_batch(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        handles = [await service.submit(prompt, provider="xai", via="batch") for prompt in requests()]
        texts = [(await handle.result()).text for handle in handles]
        assert [text.partition("] ")[2] for text in texts] == [f"question {number}" for number in range(4)]
        assert_bought_once(simulated)


@pytest.mark.parametrize("route", [UPLOAD, CREATE], ids=["upload", "create"])
@pytest.mark.parametrize("acted", [True, False], ids=["acted", "not acted"])
async def test_w4_w23_a_lost_answer_buys_nothing_twice(
    autojump_clock: trio.testing.MockClock, route: str, acted: bool
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.ActThenDrop(route=route) if acted else faults.Drop(route=route))
        handle = await service.batches.submit(requests(), provider="xai")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


async def test_w4_a_batch_that_is_not_listed_yet_is_found_when_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Unlisted(for_s=3.0), faults.ActThenDrop(route=CREATE))
        handle = await service.batches.submit(requests(), provider="xai")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


async def test_w4_a_crash_while_the_create_is_on_its_way_finds_the_batch_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Hold(route=CREATE))
        async with simulated.open() as service:
            await service.batches.submit(requests(), provider="xai", key="k")
            await simulated.holds.wait_held()
            await simulated.crash()
        simulated.holds.release()
        async with simulated.open() as service:
            handle = await service.find("k")
            assert isinstance(handle, perdure.BatchHandle)
            assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route=CREATE, after_bytes=20),
        faults.Truncate(route=STATUS, after_bytes=20, count=2),
        faults.Truncate(route=RESULTS, after_bytes=300, count=2),
        faults.Truncate(route=RESULTS, after_bytes=300, clean=True),
        faults.WrongContentType(route=RESULTS, body="<html>"),
        faults.AnswerStatus(route=CREATE, status=502, act=True),
        faults.AnswerStatus(route=CREATE, status=429, headers={"retry-after": "3"}, count=2),
        faults.AnswerStatus(route=RESULTS, status=500, count=5),
        faults.AnswerStatus(route=STATUS, status=503, count=5),
    ],
    ids=lambda fault: f"{type(fault).__name__} {fault.route} {getattr(fault, 'status', '')}",
)
async def test_answers_that_are_cut_or_wrong(
    autojump_clock: trio.testing.MockClock, fault: faults.Truncate | faults.AnswerStatus
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(fault)
        handle = await service.batches.submit(requests(), provider="xai")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


async def test_b30_b31_w7_shuffled_missing_extra_duplicate_and_garbled_results(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(
            faults.Shuffled(),
            faults.Missing(lines=2),
            faults.Extra(lines=3),
            faults.Garbled(lines=1),
            faults.EmptyIds(),
        )
        handle = await service.batches.submit(requests(250), provider="xai")
        codes = list((await said(handle)).values())
        state = await handle.state()
        assert len(codes) == 250
        assert codes.count("batch_item_missing") in (2, 3), "a garbled result may be a missing one"
        assert (state.extra, state.anomalies) == (3, 0)
        assert_bought_once(simulated)


async def test_b31_of_two_results_the_first_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Duplicate(lines=2))
        handle = await service.batches.submit(requests(), provider="xai")
        assert await said(handle) == ALL_OK
        assert (await handle.state()).duplicate == 2


ENDS: dict[str, tuple[Sequence[AnyBatchFault], str, list[str]]] = {
    "all failed": ([faults.OnlyErrorFile()], "failed", ["13"] * 4),
    "some failed": ([faults.FailLines(lines=4, status=429)], "failed", ["8"] * 4),
    "no results": ([faults.CompletedWithoutFile()], "succeeded", ["batch_item_missing"] * 4),
    "bad input": ([faults.FailValidation(message="Too much.")], "failed", ["3"] * 4),
    "expired": ([faults.ExpireNow(done=0.5)], "expired", ["ok", "ok", "batch_expired", "batch_expired"]),
    "expired with nothing": ([faults.ExpireNow(done=0.0)], "expired", ["batch_expired"] * 4),
    "cancelled": ([faults.Cancelled(done=0.5)], "cancelled", ["ok", "ok", "batch_cancelled", "batch_cancelled"]),
    "stuck for a day": ([faults.Stuck(done=0.75)], "expired", ["ok", "ok", "ok", "batch_expired"]),
    "stuck before it began": ([faults.Stuck(status="validating")], "expired", ["batch_expired"] * 4),
}


@pytest.mark.parametrize(("armed", "status", "codes"), ENDS.values(), ids=ENDS)
async def test_b34_every_end_settles_every_line_and_keeps_partial_output(
    autojump_clock: trio.testing.MockClock, armed: Sequence[AnyBatchFault], status: str, codes: list[str]
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(*armed)
        handle = await service.batches.submit(requests(), provider="xai")
        assert list((await said(handle)).values()) == codes
        assert await handle.ended() == status
        assert_bought_once(simulated)


@pytest.mark.parametrize(
    ("fault", "listed"),
    [(faults.ExpireNow(), 504), (faults.Cancelled(), 499)],
    ids=["expired", "cancelled"],
)
@pytest.mark.parametrize("as_errors", [0, 2], ids=["left out", "some listed as errors"])
async def test_b34_what_xai_left_unfinished_is_bought_again(
    autojump_clock: trio.testing.MockClock, fault: AnyBatchFault, listed: int, as_errors: int
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(fault, faults.FailLines(lines=as_errors, status=listed))
        handle = await service.batches.submit(requests(8), provider="xai", resubmit=1)
        assert set((await said(handle)).values()) == {"ok"}
        assert await handle.ended() == "succeeded"
        units = [purchase.units for purchase in simulated.account.purchases(kind="batch")]
        assert units == [8, 4 + as_errors], "only what was not run"
        assert simulated.account.bought_twice() == []


async def test_b34_what_failed_in_a_batch_that_expired_is_not_bought_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.ExpireNow(), faults.FailLines(lines=2, status=400))
        handle = await service.batches.submit(requests(8), provider="xai", resubmit=1)
        assert sorted((await said(handle)).values()) == ["3"] * 2 + ["ok"] * 6
        assert [purchase.units for purchase in simulated.account.purchases(kind="batch")] == [8, 4]


async def test_a_batch_is_cancelled_and_keeps_what_was_done(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation(batch_s=7_200.0) as simulated, simulated.open() as service:
        handle = await service.batches.submit(requests(), provider="xai")
        await trio.sleep(3_600.0)
        assert await handle.cancel() == "requested"
        codes = list((await said(handle)).values())
        assert codes == ["ok", "ok", "batch_cancelled", "batch_cancelled"]
        assert await handle.ended() == "cancelled"
        assert len(simulated.requests(f"{CREATE}/*:cancel")) == 1
