"""Anthropic's own SDK, unmodified, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anthropic
import pytest
from anthropic import AsyncAnthropic

from perdure.adapters.simulator import ANTHROPIC_PREFIX
from perdure.adapters.simulator.faults import AnswerStatus
from tests.adapters.simulator.bench import Bench, bench
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
