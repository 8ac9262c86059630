"""OpenAI's own SDK, unmodified, against the simulator's OpenAI and xAI."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import openai
import pytest
from openai import AsyncOpenAI

from perdure.adapters.simulator import OPENAI_PREFIX, XAI_PREFIX
from tests.adapters.simulator.bench import Bench, bench
from tests.secrets import unique_key, wrong_key

pytestmark = pytest.mark.trio

BOTH = pytest.mark.parametrize("prefix", [OPENAI_PREFIX, XAI_PREFIX], ids=["openai", "xai"])


@asynccontextmanager
async def client(b: Bench, prefix: str, key: str | None = None) -> AsyncGenerator[AsyncOpenAI]:
    """The SDK with a key, told only where the simulator is."""
    address = str(b.http.base_url).rstrip("/") + prefix
    async with AsyncOpenAI(api_key=key or unique_key(), base_url=address, max_retries=0) as sdk:
        yield sdk


@BOTH
async def test_files_are_stored_listed_over_all_pages_read_and_deleted(prefix: str) -> None:
    async with bench() as b, client(b, prefix) as sdk:
        files = [await sdk.files.create(file=(f"{n}.txt", b"words"), purpose="user_data") for n in range(5)]
        assert (files[0].filename, files[0].bytes, files[0].expires_at) == ("0.txt", 5, None)
        assert (await sdk.files.retrieve(files[0].id)).id == files[0].id
        assert [file.id async for file in sdk.files.list(limit=2)] == [file.id for file in reversed(files)]
        assert (await sdk.files.content(files[0].id)).content == b"words"
        assert (await sdk.files.delete(files[0].id)).deleted is True
        with pytest.raises(openai.NotFoundError):
            await sdk.files.retrieve(files[0].id)


async def test_a_file_goes_in_parts() -> None:
    data = bytes(n % 256 for n in range(2_500))
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        upload = await sdk.uploads.upload_file_chunked(
            file=data,
            filename="big.bin",
            bytes=len(data),
            mime_type="application/octet-stream",
            purpose="user_data",
            part_size=1_000,
        )
        assert (upload.status, upload.bytes) == ("completed", 2_500)
        assert upload.file is not None
        assert (await sdk.files.content(upload.file.id)).content == data
        begun = await sdk.uploads.create(bytes=1, filename="a", mime_type="text/plain", purpose="user_data")
        assert (await sdk.uploads.cancel(begun.id)).status == "cancelled"


@BOTH
async def test_messages_name_files(prefix: str) -> None:
    async with bench() as b, client(b, prefix) as sdk:
        file = await sdk.files.create(file=("a.txt", b"words"), purpose="user_data")
        said = await sdk.responses.create(
            model="m",
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Read it."},
                        {"type": "input_file", "file_id": file.id},
                        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"},
                    ],
                }
            ],
        )
        assert said.output_text.endswith(f"Read it.\n[file {file.id}]\n[image]")
        assert said.usage is not None
        assert ("cost_in_usd_ticks" in (said.usage.model_extra or {})) is (prefix == XAI_PREFIX)
        chat = await sdk.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": file.id}}]}],
        )
        assert (chat.choices[0].message.content or "").endswith(f"[file {file.id}]")
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-unknown"}}]}],
            )


@BOTH
async def test_errors_are_the_sdks_own_classes(prefix: str) -> None:
    async with bench() as b, client(b, prefix) as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="nope", input="a")
        with pytest.raises(openai.BadRequestError):
            await sdk.responses.create(model="", input="a")
        async with client(b, prefix, wrong_key()) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.models.list()
        await b.arm("rate", route=f"* {prefix}/models", per_s=1)
        await sdk.models.list()
        with pytest.raises(openai.RateLimitError):
            await sdk.models.list()
