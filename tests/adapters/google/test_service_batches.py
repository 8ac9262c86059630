"""Batches at Google through a whole service, on a clock that jumps: in the call, in a file, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import pytest
import trio.testing
from msgspec.structs import replace

import perdure
from perdure.adapters import composition
from perdure.adapters.google import GoogleBatches
from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.adapters.simulator.faults import AnyBatchFault
from perdure.testing import Simulation, faults, simulation

pytestmark = pytest.mark.trio

CREATE = f"POST {GOOGLE_PREFIX}/v1/models/*:batchGenerateContent"
BATCH = f"{GOOGLE_PREFIX}/v1/batches/*"
UPLOAD = f"POST {GOOGLE_PREFIX}/upload/v1/files"
DOWNLOAD = f"GET {GOOGLE_PREFIX}/download/v1/files/*"
ALL_OK = {f"r-{number}": "ok" for number in range(4)}

Way = Literal["in the call", "in a file"]
Clock = trio.testing.MockClock


@pytest.fixture(params=["in the call", "in a file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """How requests come to Google. Few go into a file where the bound is set low."""
    chosen: Way = request.param
    if chosen == "in a file":
        monkeypatch.setattr(composition, "providers", lambda: {"google": GoogleBatches(inline_bytes=0)})
    return chosen


def requests(count: int = 4) -> Iterator[perdure.Prompt]:
    for number in range(count):
        yield perdure.Prompt(f"question {number}", model="gemini-x", custom_id=f"r-{number}")


async def said(handle: perdure.BatchView) -> dict[str, str]:
    """What each line says: `ok`, or the code of its error."""
    async with handle.results(order="input") as lines:
        return {line.custom_id: line.error.code if line.error else "ok" async for line in lines}


def assert_bought_once(simulated: Simulation, way: Way = "in the call") -> None:
    assert simulated.account.bought_twice() == []
    kinds = sorted(purchase.kind for purchase in simulated.account.purchases(provider="google"))
    assert kinds == (["batch"] if way == "in the call" else ["batch", "file"])


async def test_b1_requests_are_answered_in_both_ways(autojump_clock: Clock, way: Way) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            handle = await service.batches.submit(requests(), provider="google", key="k")
            async with handle.results(order="input") as lines:
                answers = [line.answer async for line in lines]
            for number, answer in enumerate(answers):
                assert answer is not None
                assert answer.text.endswith(f"] question {number}")
                assert (answer.model, answer.finish_reason) == ("gemini-x", "STOP")
                assert answer.usage is not None
                assert answer.usage.total_tokens
                assert "candidates" in answer.body()
            assert await handle.ended() == "succeeded"
            (await service.log.verify()).raise_if_bad()
        async with simulated.open() as service:
            again = await service.find("k")
            assert isinstance(again, perdure.BatchHandle)
            assert await said(again) == ALL_OK
        assert_bought_once(simulated, way)
        (bought,) = simulated.account.purchases(kind="batch")
        assert (bought.units, handle.id in bought.identity) == (4, True)


async def test_what_is_too_much_for_the_call_goes_into_a_file(autojump_clock: Clock) -> None:
    def large() -> Iterator[perdure.RawRequest]:
        for number in range(16):
            body = {"contents": [{"parts": [{"text": f"question {number} " + "x" * 1_000_000}]}]}
            yield perdure.RawRequest("/v1beta/models/gemini-x:generateContent", body, custom_id=f"r-{number}")

    async with simulation() as simulated, simulated.open() as service:
        handle = await service.batches.submit(large(), provider="google")
        assert list((await said(handle)).values()) == ["ok"] * 16
        assert_bought_once(simulated, "in a file")
        assert len(simulated.requests(CREATE.replace("/v1/", "/v1beta/"))) == 1


async def test_single_requests_share_a_batch(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        handles = [await service.submit(prompt, provider="google", via="batch") for prompt in requests()]
        texts = [(await handle.result()).text for handle in handles]
        assert [text.partition("] ")[2] for text in texts] == [f"question {number}" for number in range(4)]
        assert_bought_once(simulated)


async def test_w15_a_batch_is_of_one_model(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        prompts = [perdure.Prompt("a", model="x"), perdure.Prompt("b", model="y")]
        with pytest.raises(perdure.InvalidRequest, match="use one batch for each"):
            await service.batches.submit(prompts, provider="google")
        handles = [
            await service.submit(perdure.Prompt(text, model=model), provider="google", via="batch")
            for model in ("x", "y")
            for text in "ab"
        ]
        assert [(await handle.result()).model for handle in handles] == ["x", "x", "y", "y"]
        assert [bought.units for bought in simulated.account.purchases()] == [2, 2]


@pytest.mark.parametrize("model", ["{model}", "gemini-x"])
async def test_prompts_go_to_the_version_that_is_named(autojump_clock: Clock, model: str) -> None:
    endpoint = f"/v1beta/models/{model}:generateContent"
    async with simulation() as simulated, simulated.open() as service:
        handle = await service.batches.submit(requests(), provider="google", endpoint=endpoint)
        assert await said(handle) == ALL_OK
        assert len(simulated.requests(CREATE.replace("/v1/", "/v1beta/"))) == 1


@pytest.mark.parametrize("acted", [True, False], ids=["acted", "not acted"])
async def test_w4_w23_a_lost_answer_buys_nothing_twice(autojump_clock: Clock, way: Way, acted: bool) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.ActThenDrop(route=CREATE) if acted else faults.Drop(route=CREATE))
        handle = await service.batches.submit(requests(), provider="google")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated, way)


async def test_w4_a_batch_that_is_not_listed_yet_is_found_when_it_is(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Unlisted(for_s=3.0), faults.ActThenDrop(route=CREATE))
        handle = await service.batches.submit(requests(), provider="google")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated)


async def test_w4_a_crash_while_the_create_is_on_its_way_finds_the_batch_again(autojump_clock: Clock, way: Way) -> None:
    async with simulation() as simulated:
        simulated.faults.arm(faults.Hold(route=CREATE))
        async with simulated.open() as service:
            await service.batches.submit(requests(), provider="google", key="k")
            await simulated.holds.wait_held()
            await simulated.crash()
        simulated.holds.release()
        async with simulated.open() as service:
            handle = await service.find("k")
            assert isinstance(handle, perdure.BatchHandle)
            assert await said(handle) == ALL_OK
        assert_bought_once(simulated, way)


RESULTS = {"in the call": f"GET {BATCH}", "in a file": DOWNLOAD}


@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route=CREATE, after_bytes=20),
        faults.Truncate(route="status", after_bytes=20, count=2),
        faults.Truncate(route="status", after_bytes=20, clean=True),
        faults.Truncate(route="results", after_bytes=900, count=2),
        faults.Truncate(route="results", after_bytes=900, skip=1),
        faults.Truncate(route="results", after_bytes=900, clean=True, skip=1),
        faults.WrongContentType(route="results", body="<html>", skip=1),
        faults.AnswerStatus(route=CREATE, status=502, act=True),
        faults.AnswerStatus(route=CREATE, status=429, count=2),
        faults.AnswerStatus(route="results", status=500, count=5),
        faults.AnswerStatus(route="status", status=503, count=5),
    ],
    ids=lambda fault: f"{type(fault).__name__} {fault.route} {getattr(fault, 'status', '')}",
)
async def test_answers_that_are_cut_or_wrong(
    autojump_clock: Clock, way: Way, fault: faults.Truncate | faults.AnswerStatus | faults.WrongContentType
) -> None:
    route = {"status": f"GET {BATCH}", "results": RESULTS[way]}.get(fault.route, fault.route)
    if way == "in a file" and fault.route == "results":
        fault = replace(fault, skip=0)
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(replace(fault, route=route))
        handle = await service.batches.submit(requests(), provider="google")
        assert await said(handle) == ALL_OK
        assert_bought_once(simulated, way)


async def test_b30_b31_w7_shuffled_missing_extra_duplicate_and_garbled_results(autojump_clock: Clock, way: Way) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(
            faults.Shuffled(),
            faults.Missing(lines=2),
            faults.Extra(lines=3),
            faults.Garbled(lines=1),
            faults.EmptyIds(),
        )
        handle = await service.batches.submit(requests(250), provider="google")
        codes = list((await said(handle)).values())
        state = await handle.state()
        assert len(codes) == 250
        bad = codes.count("batch_item_missing") + codes.count("unreadable_answer")
        assert bad in (2, 3), "a garbled result may be a missing one"
        assert (state.extra, codes.count("ok")) == (3, 250 - bad)
        assert_bought_once(simulated, way)


async def test_b31_of_two_results_the_first_counts(autojump_clock: Clock, way: Way) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Duplicate(lines=2))
        handle = await service.batches.submit(requests(), provider="google")
        assert await said(handle) == ALL_OK
        assert (await handle.state()).duplicate == 2


async def test_b6_results_without_keys_are_told_apart_by_their_places(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Keyless(), faults.FailLines(lines=1))
        handle = await service.batches.submit(requests(30), provider="google")
        async with handle.results(order="input") as lines:
            texts = {line.custom_id: line.answer.text.partition("] ")[2] async for line in lines if line.answer}
        assert len(texts) == 29
        assert all(text == f"question {id_[2:]}" for id_, text in texts.items())


async def test_b6_places_are_believed_only_for_as_many_results_as_there_were_requests(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.Keyless(), faults.Missing(lines=1))
        handle = await service.batches.submit(requests(), provider="google")
        assert set((await said(handle)).values()) == {"batch_item_missing"}
        assert (await handle.state()).extra == 3


ENDS: dict[str, tuple[Sequence[AnyBatchFault], str, list[str]]] = {
    "all failed": ([faults.OnlyErrorFile()], "succeeded", ["INTERNAL"] * 4),
    "some failed": ([faults.FailLines(lines=4, status=429)], "succeeded", ["RESOURCE_EXHAUSTED"] * 4),
    "no results": ([faults.CompletedWithoutFile()], "succeeded", ["batch_item_missing"] * 4),
    "refused": ([faults.FailValidation(code="INVALID_ARGUMENT")], "failed", ["INVALID_ARGUMENT"] * 4),
    "expired": ([faults.ExpireNow(done=0.5)], "expired", ["ok", "ok", "batch_expired", "batch_expired"]),
    "expired with nothing": ([faults.ExpireNow(done=0.0)], "expired", ["batch_expired"] * 4),
    "cancelled": ([faults.Cancelled(done=0.5)], "cancelled", ["ok", "ok", "batch_cancelled", "batch_cancelled"]),
    "stuck for two days": ([faults.Stuck(done=0.75)], "expired", ["ok", "ok", "ok", "batch_expired"]),
    "stuck in pending": ([faults.Stuck(status="validating")], "expired", ["batch_expired"] * 4),
}


@pytest.mark.parametrize(("armed", "status", "codes"), ENDS.values(), ids=ENDS)
async def test_b34_every_end_settles_every_line_and_keeps_partial_output(
    autojump_clock: Clock, way: Way, armed: Sequence[AnyBatchFault], status: str, codes: list[str]
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(*armed)
        polling = perdure.Polling(every_s=3_600.0)
        handle = await service.batches.submit(requests(), provider="google", polling=polling)
        assert list((await said(handle)).values()) == codes
        assert await handle.ended() == status
        assert_bought_once(simulated, way)


async def test_w17_a_batch_is_cancelled_and_keeps_what_was_done(autojump_clock: Clock, way: Way) -> None:
    async with simulation(batch_s=7_200.0) as simulated, simulated.open() as service:
        handle = await service.batches.submit(requests(), provider="google")
        await trio.sleep(3_600.0)
        assert await handle.cancel() == "requested"
        assert list((await said(handle)).values()) == ["ok", "ok", "batch_cancelled", "batch_cancelled"]
        assert await handle.ended() == "cancelled"
        assert len(simulated.requests(f"POST {BATCH}:cancel")) == 1


async def test_a_blocked_prompt_fails_alone_with_googles_reason(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        prompts = [perdure.Prompt("fine", model="m"), perdure.Prompt("!block this", model="m")]
        handle = await service.batches.submit(prompts, provider="google")
        assert list((await said(handle)).values()) == ["ok", "PROHIBITED_CONTENT"]


async def test_a_model_that_is_not_there_fails_the_batch(autojump_clock: Clock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        handle = await service.batches.submit([perdure.Prompt("x", model="nope")], provider="google")
        assert await handle.ended() == "failed"
        assert set((await said(handle)).values()) != {"ok"}
        assert simulated.account.purchases() == []
