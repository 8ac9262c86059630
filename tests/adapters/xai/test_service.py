"""Single requests at xAI, and messages with files in them, through a whole service on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio.testing

import perdure
from perdure import Document, Image, Inline, Message, Prompt, ProviderRef, Text, Url
from perdure.adapters.simulator import faults
from perdure.testing import Simulation

pytestmark = pytest.mark.trio

Simulate = Callable[[], AbstractAsyncContextManager[Simulation]]

CONVERSATION = (
    Message(
        "user",
        (
            Text("Compare them."),
            Document(Inline(b"%PDF", "application/pdf"), "report.pdf"),
            Image(Url("https://example.org/a.png")),
        ),
    ),
    Message("assistant", (Text("To what?"),)),
    Message("user", (Text("To each other."),)),
)


@pytest.mark.parametrize("endpoint", [None, "/v1/chat/completions"], ids=["responses", "chat"])
async def test_a_prompt_is_answered_by_xai(
    perdure_simulation: Simulate, autojump_clock: trio.testing.MockClock, endpoint: str | None
) -> None:
    async with perdure_simulation() as simulation, simulation.open() as service:
        handle = await service.submit(Prompt("Name a fjord.", model="grok-5"), provider="xai", endpoint=endpoint)
        answer = await handle.result()
        assert answer.text.endswith("] Name a fjord.")
        assert answer.body()["usage"]["cost_in_usd_ticks"] > 0
        (purchase,) = simulation.account.purchases()
        assert (purchase.provider, purchase.kind) == ("xai", "text")


@pytest.mark.parametrize("provider", ["openai", "xai"])
async def test_a_conversation_with_files_is_answered(
    perdure_simulation: Simulate, autojump_clock: trio.testing.MockClock, provider: str
) -> None:
    async with perdure_simulation() as simulation, simulation.open() as service:
        handle = await service.submit(Prompt(CONVERSATION, model="m"), provider=provider)
        said = (await handle.result()).text.split("] ", 1)[1]
        assert said == "Compare them.\n[file report.pdf]\n[image]\nTo what?\nTo each other."


async def test_a_file_that_is_not_there_fails_the_request_in_xais_words(
    perdure_simulation: Simulate, autojump_clock: trio.testing.MockClock
) -> None:
    missing = Document(ProviderRef("xai", "file_unknown", "application/pdf"))
    async with perdure_simulation() as simulation, simulation.open() as service:
        handle = await service.submit(Prompt([Message("user", (missing,))], model="m"), provider="xai")
        with pytest.raises(perdure.OperationFailed, match="file_unknown"):
            await handle.result()
        assert simulation.account.purchases() == []


async def test_xai_out_of_order_is_asked_again_until_it_answers(
    perdure_simulation: Simulate, autojump_clock: trio.testing.MockClock
) -> None:
    async with perdure_simulation() as simulation, simulation.open() as service:
        simulation.faults.arm(faults.AnswerStatus(route="POST /xai/v1/responses", status=503, count=4))
        handle = await service.submit(Prompt("Name a fjord.", model="grok-5"), provider="xai")
        assert (await handle.result()).text.endswith("Name a fjord.")
        assert len(simulation.account.purchases()) == 1


async def test_an_answer_of_xai_is_there_after_a_crash(
    perdure_simulation: Simulate, autojump_clock: trio.testing.MockClock
) -> None:
    async with perdure_simulation() as simulation:
        async with simulation.open() as service:
            handle = await service.submit(Prompt("Name a fjord.", model="grok-5"), provider="xai", key="fjord")
            first = await handle.result()
            await simulation.crash()
        async with simulation.open() as service:
            again = await service.submit(Prompt("Name a fjord.", model="grok-5"), provider="xai", key="fjord")
            assert (await again.result()).raw == first.raw
        assert len(simulation.account.purchases()) == 1
