"""What callers say with a single request, good or bad: no input reaches the log that cannot be read from it again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from trio.testing import MockClock as Clock

import perdure
from perdure.testing import simulation

pytestmark = pytest.mark.trio

HALF = "\ud800"
"""Half of a surrogate pair: Python has it as a character, UTF-8 does not."""

RESPONSES = "/v1/responses"


@pytest.mark.parametrize("via", ["live", "batch", "auto"])
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"key": HALF}, "key"),
        ({"key": 5}, "key"),
        ({"tags": {"a": HALF}}, "tags.a"),
        ({"tags": {HALF: "a"}}, "tags"),
        ({"tags": {"a": 1}}, "tags.a"),
        ({"tags": {1: "a"}}, "tags"),
        ({"tags": {"a": object()}}, "tags.a"),
        ({"tags": {"a": "x" * 1_025}}, "tags.a"),
        ({"tags": {str(number): "" for number in range(65)}}, "tags"),
        ({"credential": HALF}, "credential"),
        ({"credential": 5}, "credential"),
        ({"request": perdure.Prompt("x", model="m", custom_id=HALF)}, "custom_id"),
        ({"request": perdure.Prompt("x", model="m", custom_id="")}, "custom_id"),
        ({"request": perdure.Prompt("x", model="m", custom_id="x" * 257)}, "custom_id"),
        ({"request": perdure.RawRequest(RESPONSES, {"model": "m"}, custom_id=5)}, "custom_id"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ({"request": perdure.Prompt(HALF, model="m")}, "body"),
        ({"request": perdure.RawRequest(RESPONSES, msgspec.Raw(b'{"model":"m","input":"\xff"}'))}, "body"),
    ],
    ids=str,
)
async def test_what_cannot_be_stored_is_refused_and_concerns_nobody_else(
    autojump_clock: Clock, wrong: dict[str, Any], field: str, via: Any
) -> None:
    """One bad tag in a shared window must not cost the others theirs, let alone the service."""
    async with simulation() as simulated, simulated.open() as service:
        how: dict[str, Any] = {"provider": "openai", "via": via, **wrong}
        request = how.pop("request", perdure.Prompt("x", model="m"))
        before = await service.submit(perdure.Prompt("before", model="m"), provider="openai", via=via)
        with pytest.raises(perdure.InvalidRequest) as refused:
            await service.submit(request, **how)
        assert refused.value.field == field
        after = await service.submit(perdure.Prompt("after", model="m"), provider="openai", via=via)
        assert (await before.result()).text
        assert (await after.result()).text
        (await service.log.verify()).raise_if_bad()


@pytest.mark.parametrize(
    "wrong", [{"key": HALF}, {"tags": {"a": 1}}, {"tags": {1: "a"}}, {"credential": HALF}], ids=str
)
async def test_a_batch_is_refused_for_the_same_reasons(autojump_clock: Clock, wrong: dict[str, Any]) -> None:
    async with simulation() as simulated, simulated.open() as service:
        how: dict[str, Any] = {"provider": "openai", **wrong}
        with pytest.raises(perdure.InvalidRequest):
            await service.batches.submit([perdure.Prompt("x", model="m")], **how)
        with pytest.raises(perdure.InvalidRequest) as refused:
            await service.batches.submit([perdure.Prompt("x", model="m", custom_id=HALF)], provider="openai")
        assert refused.value.line == 1
        assert await service.log.head() == 0


@pytest.mark.parametrize("wrong", [{"tenant": HALF}, {"principal": 5}, {"tags": {"a": 1}}], ids=str)
async def test_nobody_acts_as_somebody_without_a_name(autojump_clock: Clock, wrong: dict[str, Any]) -> None:
    async with simulation() as simulated, simulated.open() as service:
        with pytest.raises(perdure.InvalidRequest):
            service.acting_as(**wrong)


@pytest.mark.parametrize("via", ["live", "batch"])
async def test_a_deadline_shorter_than_the_clocks_tick_is_one(autojump_clock: Clock, via: Any) -> None:
    async with simulation(batch_s=60) as simulated, simulated.open() as service:
        handle = await service.submit(
            perdure.Prompt("x", model="m"), provider="openai", via=via, deadline_s=1e-9, key="k"
        )
        state = await handle.state()
        assert state.opened.deadline_at if via == "live" else state.deadlines
