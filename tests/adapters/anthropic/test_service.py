"""`service.submit` to Anthropic from end to end, on a virtual clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import perdure
from perdure.events.messages import Document, Image, Inline, Message, Text
from perdure.testing import faults, simulation

pytestmark = pytest.mark.trio

ASK = "POST /anthropic/v1/messages"
PNG = b"\x89PNG\r\n\x1a\n"
"""How a picture of this type begins."""


async def test_a_prompt_is_answered_once(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            prompt = perdure.Prompt("name a fjord", model="claude-sonnet-5-5", instructions="be brief")
            handle = await service.submit(prompt, provider="anthropic", via="live", key="k-1")
            answer = await handle.result()
            assert answer.text.endswith("] name a fjord")
            assert (answer.model, answer.finish_reason) == ("claude-sonnet-5-5", "end_turn")
            assert answer.usage is not None
            assert (answer.usage.input_tokens, answer.usage.cached_tokens) == (5, 0)
            again = await service.submit(prompt, provider="anthropic", via="live", key="k-1")
            assert again.id == handle.id
        async with simulated.open() as service:
            assert await (await service.get(handle.id)).result() == answer
        (purchase,) = simulated.account.purchases()
        assert (purchase.provider, purchase.kind) == ("anthropic", "text")
        (seen,) = simulated.requests()
        assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == ("[redacted]", "2026-10-21")


async def test_a_conversation_with_files_goes_the_same_way(autojump_clock: trio.testing.MockClock) -> None:
    turns = [
        Message("user", (Text("look"), Image(Inline(PNG, "image/png")))),
        Message("assistant", (Text("a picture"),)),
        Message("user", (Document(Inline(b"words", "text/plain")),)),
    ]
    async with simulation() as simulated, simulated.open() as service:
        handle = await service.submit(perdure.Prompt(turns, model="m"), provider="anthropic")
        said = (await handle.result()).text
        assert said.endswith("look\n[image image/png 8 bytes]\na picture\n[document text/plain 5 bytes]")


async def test_a_raw_body_is_sent_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a long question " * 9}]}
    async with simulation() as simulated, simulated.open() as service:
        request = perdure.RawRequest("/v1/messages", body)
        answer = await (await service.submit(request, provider="anthropic")).result()
        assert answer.finish_reason == "max_tokens"
        assert answer.body()["usage"]["output_tokens"] == 5


async def test_trouble_is_waited_out_and_an_answer_bought_once(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(
            faults.AnswerStatus(route=ASK, status=529, count=4),
            faults.AnswerStatus(route=ASK, status=429, headers={"retry-after": "3600"}),
            faults.Drop(route=ASK),
        )
        began = simulated.now
        handle = await service.submit(perdure.Prompt("hello", model="m"), provider="anthropic")
        assert (await handle.result()).text
        assert (simulated.now - began).total_seconds() >= 3_600
        assert len(simulated.account.purchases()) == 1


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
async def test_a_lost_answer_is_the_policys_to_decide(
    autojump_clock: trio.testing.MockClock, policy: perdure.OnUncertain
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        simulated.faults.arm(faults.ActThenDrop(route=ASK))
        handle = await service.submit(perdure.Prompt("hello", model="m"), provider="anthropic", on_uncertain=policy)
        if policy == "fail":
            with pytest.raises(perdure.OutcomeUncertain):
                await handle.result()
        else:
            assert (await handle.result()).text
        assert len(simulated.account.purchases()) == (1 if policy == "fail" else 2)


async def test_what_anthropic_refuses_ends_with_its_words(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        prompt = perdure.Prompt("hello", model="m", extra={"temperature": 1.0})
        handle = await service.submit(prompt, provider="anthropic")
        with pytest.raises(perdure.OperationFailed, match="Extra inputs are not permitted"):
            await handle.result()
        assert simulated.account.purchases() == []


async def test_what_cannot_be_said_is_refused_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with simulation() as simulated, simulated.open() as service:
        with pytest.raises(perdure.Unsupported):
            await service.submit(perdure.Prompt("hello", model="m", temperature=0.5), provider="anthropic")
        assert simulated.requests() == []
