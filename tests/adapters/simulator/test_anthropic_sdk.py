"""Anthropic's own SDK, unmodified, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anthropic
import pytest
from anthropic import AsyncAnthropic

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from perdure.adapters.simulator.faults import ActThenDrop, AnswerStatus
from tests.adapters.simulator.bench import BATCH_S, Bench, bench
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio


@asynccontextmanager
async def client(b: Bench, key: str | None = None) -> AsyncGenerator[AsyncAnthropic]:
    """The SDK with a key, told only where the simulator is."""
    address = str(b.http.base_url).rstrip("/") + ANTHROPIC_PREFIX
    async with AsyncAnthropic(api_key=key or unique_key(), base_url=address) as sdk:
        yield sdk


async def test_files_are_stored_listed_over_all_pages_and_deleted() -> None:
    async with bench() as b, client(b) as sdk:
        files = [
            await sdk.files.upload(file=(f"{n}.txt", b"words", "text/plain"), expires_in_seconds=3_600)
            for n in range(5)
        ]
        assert files[0].downloadable is False
        assert files[0].expires_at is not None
        assert (files[0].expires_at - files[0].created_at).total_seconds() == 3_600
        assert await sdk.files.retrieve_metadata(files[0].id) == files[0]
        listed = [file.id async for file in sdk.files.list(limit=2)]
        assert listed == [file.id for file in reversed(files)]
        assert [file.id async for file in sdk.files.list(ids=[files[1].id])] == [files[1].id]
        deleted = await sdk.files.delete(files[0].id)
        assert (deleted.id, deleted.type) == (files[0].id, "file_deleted")


async def test_errors_are_the_sdks_own_classes() -> None:
    async with bench() as b, client(b) as sdk:
        file = await sdk.files.upload(file=("a.txt", b"words", "text/plain"))
        with pytest.raises(anthropic.BadRequestError) as refused:
            await sdk.files.download(file.id)
        assert refused.value.error_code == "file_not_downloadable"
        assert refused.value.request_id is not None
        await b.arm("expire_file", file=file.id)
        with pytest.raises(anthropic.NotFoundError) as gone:
            await sdk.files.download(file.id)
        assert gone.value.error_code == "file_expired"
        async with client(b, wrong_key()) as stranger:
            with pytest.raises(anthropic.AuthenticationError):
                await stranger.files.list()


async def test_a_message_with_a_file_in_it() -> None:
    async with bench() as b, client(b) as sdk:
        file = await sdk.files.upload(file=("a.txt", b"words", "text/plain"))
        message = await sdk.messages.create(
            model="claude-sonnet-5-5",
            max_tokens=100,
            system="be kind",
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "read this"},
                        {"type": "document", "source": {"type": "file", "file_id": file.id}},
                    ],
                }
            ],
        )
        (block,) = message.content
        assert block.type == "text"
        assert block.text.endswith("read this\n[document text/plain 5 bytes]")
        assert (message.stop_reason, message.usage.cache_read_input_tokens) == ("end_turn", 0)
        assert b.units("text") == [1]


async def test_the_sdk_tries_an_overloaded_service_again() -> None:
    async with bench() as b, client(b) as sdk:
        b.simulator.faults.arm(
            AnswerStatus(route="POST /anthropic/v1/messages", status=529, headers={"retry-after-ms": "1"}, count=2)
        )
        await sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}])
        assert [seen.status for seen in b.simulator.traffic.requests()] == [529, 529, 200]
        assert b.units("text") == [1]


async def test_models_are_listed() -> None:
    async with bench() as b, client(b) as sdk:
        names = [model.id async for model in sdk.models.list()]
        assert names
        assert (await sdk.models.retrieve(names[0])).lifecycle == "active"


async def test_a_batch_is_made_listed_read_and_deleted() -> None:
    async with bench() as b, client(b) as sdk:
        message = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
        requests = [
            {"custom_id": f"r-{n}", "params": message | ({"model": "nope"} if n == 2 else {})} for n in range(3)
        ]
        made = await sdk.messages.batches.create(requests=requests)  # type: ignore[arg-type]
        others = [await sdk.messages.batches.create(requests=requests) for _ in range(3)]  # type: ignore[arg-type]
        assert (made.processing_status, made.request_counts.processing) == ("in_progress", 3)
        assert (made.expires_at - made.created_at).total_seconds() == 86_400
        listed = [batch.id async for batch in sdk.messages.batches.list(limit=2)]
        assert listed == [other.id for other in reversed(others)] + [made.id]
        before = [batch.id async for batch in sdk.messages.batches.list(limit=2, before_id=made.id)]
        assert sorted(before) == sorted(other.id for other in others)
        told = await sdk.messages.batches.cancel(others[0].id)
        assert (told.processing_status, told.cancel_initiated_at) == ("canceling", told.created_at)
        with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
            await sdk.messages.batches.results(made.id)
        b.simulator.clock.advance(BATCH_S)
        ended = await sdk.messages.batches.retrieve(made.id)
        assert (ended.processing_status, ended.request_counts.errored) == ("ended", 1)
        results = {line.custom_id: line.result async for line in await sdk.messages.batches.results(made.id)}
        assert results["r-0"].type == "succeeded"
        assert results["r-0"].message.usage.service_tier == "batch"
        assert results["r-2"].type == "errored"
        assert results["r-2"].error.error.type == "not_found_error"
        assert [line.result.type async for line in await sdk.messages.batches.results(others[0].id)] == ["canceled"] * 3
        assert (await sdk.messages.batches.delete(made.id)).type == "message_batch_deleted"
        with pytest.raises(anthropic.NotFoundError):
            await sdk.messages.batches.retrieve(made.id)


async def test_the_sdk_buys_thrice_when_answers_are_lost() -> None:
    async with bench() as b, client(b) as sdk:
        b.simulator.faults.arm(ActThenDrop(route="POST /anthropic/v1/messages/batches", count=2))
        message = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
        await sdk.messages.batches.create(requests=[{"custom_id": "r-0", "params": message}])  # type: ignore[typeddict-item]
        assert b.units("batch") == [1, 1, 1]
        assert len(b.simulator.account.bought_twice()) == 2
