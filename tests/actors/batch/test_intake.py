"""Intake: what is refused before anything is submitted, and the runs that requests become."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec
import pytest
import trio

from perdure.actors.batch import intake as module
from perdure.actors.batch.intake import Intake, Run, first_difference
from perdure.actors.batch.showing import Requests
from perdure.events.errors import InvalidRequest, TooLarge
from perdure.events.requests import Prompt, RawRequest
from tests.actors.batch.memory import ENDPOINT, MemoryBatches, World

ACTOR = "batch_1"


async def runs_of(requests: Requests, world: World | None = None) -> list[Run]:
    """All runs."""
    intake = Intake(MemoryBatches(world or World()), ACTOR, None)
    async with aclosing(intake.runs(requests)) as runs:
        return [run async for run in runs]


async def refusal_of(requests: Sequence[Any]) -> InvalidRequest:
    """How they are refused."""
    with pytest.raises(InvalidRequest) as caught:
        await runs_of(requests)
    return caught.value


def raw(body: object, custom_id: str | None = None, url: str = ENDPOINT) -> RawRequest:
    """A request on the provider's wire."""
    return RawRequest(url, cast("Any", body), custom_id=custom_id)


BODY = {"model": "m", "input": "x"}


@pytest.mark.trio
async def test_b6_lines_without_a_name_are_numbered() -> None:
    """B-6: a request without a custom_id is called req-{index}, its place in the input."""
    (run,) = await runs_of([raw(BODY), raw(BODY, "mine"), raw(BODY)])
    assert run.names == ["req-0", "mine", "req-2"]


@pytest.mark.trio
async def test_b6_w21_a_name_that_perdure_would_give_is_taken_once() -> None:
    """B-6, W-21: a caller's own req-1 and an unnamed second line collide: refused, not renamed."""
    refusal = await refusal_of([raw(BODY, "req-1"), raw(BODY)])
    assert (refusal.line, refusal.field) == (2, "custom_id")


@pytest.mark.trio
async def test_w21_a_name_that_comes_twice_is_refused_with_its_line() -> None:
    """W-21: two lines with one custom_id are refused before anything is sent; the error names the second line."""
    refusal = await refusal_of([raw(BODY, "a"), raw(BODY, "b"), raw(BODY, "a")])
    assert (refusal.line, refusal.field, refusal.value) == (3, "custom_id", "'a'")


@pytest.mark.trio
@pytest.mark.parametrize("name", ["", "n" * 257], ids=["empty", "too long"])
async def test_w21_names_have_1_to_256_characters(name: str) -> None:
    """W-21: the limits of a custom_id are checked and named."""
    refusal = await refusal_of([raw(BODY, name)])
    assert (refusal.line, refusal.field, refusal.limit) == (1, "custom_id", 256)
    assert len(await runs_of([raw(BODY, "n" * 256)])) == 1


@pytest.mark.trio
async def test_w21_the_id_at_the_provider_is_ours_and_full_width() -> None:
    """W-21: at the provider a line is called <operation>-<number>; the caller's name stays here."""
    (run,) = await runs_of([raw(BODY, "x/../y"), raw(BODY)])
    assert [msgspec.json.decode(line)["custom_id"] for line in run.lines] == ["batch_1-0", "batch_1-1"]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (raw({**BODY, "model": "other"}), "body.model"),
        (raw({"input": "x"}), "body.model"),
        (raw({**BODY, "model": 7}), "body.model"),
        (raw(BODY, url="/v1/other"), "url"),
        (raw([1, 2]), "body"),
        (raw({"model": "m", "x": object()}), "body"),
        (raw(msgspec.Raw(b'{"model": "m"')), "body"),
        ("a text", "request"),
        (None, "request"),
    ],
    ids=[
        "mixed models",
        "no model",
        "model of a wrong type",
        "mixed endpoints",
        "no object",
        "not JSON",
        "cut",
        "a text",
        "null",
    ],
)
async def test_what_is_wrong_with_a_request_is_told_with_its_line(bad: object, field: str) -> None:
    refusal = await refusal_of([raw(BODY), raw(BODY), bad])
    assert (refusal.line, refusal.field) == (3, field)
    assert "line 3" in str(refusal)


@pytest.mark.trio
async def test_an_endpoint_that_is_not_batched_is_refused() -> None:
    refusal = await refusal_of([raw(BODY, url="/v1/videos")])
    assert (refusal.line, refusal.field) == (1, "url")


@pytest.mark.trio
async def test_w16_a_line_beyond_the_providers_limit_is_refused() -> None:
    """W-16: a line that no batch can hold is refused with the limit in bytes."""
    with pytest.raises(TooLarge) as refusal:
        await runs_of([raw({"model": "m", "input": "x" * 300})], World(max_bytes=200))
    assert refusal.value.limit == 200


@pytest.mark.trio
async def test_w16_no_run_is_larger_than_a_batch_may_be() -> None:
    """W-16: runs end before they exceed what one batch may hold, in lines and in bytes, so any legal input fits."""
    long = {"model": "m", "input": "x" * 500}
    world = World(max_bytes=1_000, max_lines=3)
    runs = await runs_of([raw(BODY), raw(long), raw(long), raw(BODY), raw(BODY), raw(BODY), raw(BODY)], world)
    assert all(run.size_bytes <= 1_000 and len(run.lines) <= 3 for run in runs)
    assert [run.first for run in runs] == [sum(len(run.lines) for run in runs[:place]) for place in range(len(runs))]


@pytest.mark.trio
async def test_w22_w78_requests_are_read_in_bounded_runs() -> None:
    """W-22, W-78: input is a stream: a thousand lines are in memory at a time, and others get their turn."""
    unread = 0
    turns = 0

    def source() -> Iterator[Prompt]:
        nonlocal unread
        for number in range(10_500):
            unread += 1
            yield Prompt("x", model="m", custom_id=str(number))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    sizes: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        intake = Intake(MemoryBatches(World()), ACTOR, None)
        async with aclosing(intake.runs(source())) as runs:
            async for run in runs:
                assert unread <= module.RUN_LINES + 1
                unread = 0
                sizes.append(len(run.lines))
        nursery.cancel_scope.cancel()
    assert sizes == [module.RUN_LINES] * 10 + [500]
    assert turns >= len(sizes) - 2, "between two runs everybody else has a turn"


@pytest.mark.trio
async def test_asynchronous_sources_are_read_alike() -> None:
    async def source() -> AsyncIterator[Prompt]:
        for number in range(3):
            await trio.lowlevel.checkpoint()
            yield Prompt("x", model="m", custom_id=str(number))

    (run,) = await runs_of(source())
    assert run.names == ["0", "1", "2"]


def test_the_first_difference_of_two_runs() -> None:
    assert first_difference([b"a", b"b"], [b"a", b"c"]) == 1
    assert first_difference([b"a"], [b"a", b"b"]) == 1
    assert first_difference([b"a", b"b"], [b"a"]) == 1
