"""A service that has been closed resolves and stores nothing any more: it says so, and messages stay as they are.

What only reads is not refused: views and files of a service that drains can be looked at as long as there is a log.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal

import pytest
import trio

import perdure
from perdure.adapters.testing.simulation import simulation

pytestmark = pytest.mark.trio

CONTENT: Final = b"%PDF-1.7 " + bytes(range(256)) * 400
OTHER: Final = CONTENT + b"other"


async def _first(things: AsyncIterator[Any]) -> Any:
    return await anext(things)


FILE_CALLS: Final[dict[str, Callable[[perdure.Service, perdure.FileReference], Awaitable[Any]]]] = {
    "upload": lambda service, file: service.files.upload(OTHER),
    "upload from a provider": lambda service, file: service.files.upload(perdure.ProviderRef("openai", "file-1")),
    "push": lambda service, file: service.files.push(file, provider="anthropic"),
    "ensure": lambda service, file: service.files.ensure(file, provider="anthropic"),
    "lost": lambda service, file: service.files.lost(file, provider="openai", reference="file-1"),
    "delete": lambda service, file: service.files.delete(file),
    "orphans": lambda service, file: _first(service.files.orphans(provider="openai")),
    "sweep": lambda service, file: _first(service.files.sweep(provider="openai")),
}


@pytest.mark.parametrize("call", FILE_CALLS.values(), ids=FILE_CALLS)
@pytest.mark.parametrize("how", ["left", "drained"])
async def test_f17_a_closed_service_stores_and_sends_nothing_any_more(
    autojump_clock: object, how: str, call: Callable[[perdure.Service, perdure.FileReference], Awaitable[Any]]
) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            file = await service.files.upload(CONTENT, filename="fjords.pdf")
            await service.files.ensure(file, provider="openai")
            if how == "drained":
                await service.drain()
                with pytest.raises(perdure.Closed):
                    await call(service, file)
        asked = simulated.traffic.total
        with pytest.raises(perdure.Closed):
            await call(service, file)
        assert simulated.traffic.total == asked, "nothing is asked of anybody"
        async with simulated.open() as again:
            (info,) = [info async for info in again.files.list()]
            assert (info.id, [copy.status for copy in info.copies]) == (file.id, ["uploaded"])


@pytest.mark.parametrize("via", ["live", "batch", "auto"])
async def test_f17_a_closed_service_leaves_messages_as_they_are(
    autojump_clock: object, via: Literal["live", "batch", "auto"]
) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            file = await service.files.upload(CONTENT, filename="fjords.pdf")
        asked = simulated.traffic.total
        source = perdure.Inline(OTHER, "application/pdf")
        parts: list[perdure.Text | perdure.Document] = [
            perdure.Text("What is this?"),
            perdure.Document(file),
            perdure.Document(source),
        ]
        messages = [perdure.Message("user", parts)]
        before = copy.deepcopy(messages)
        with pytest.raises(perdure.Closed):
            await service.submit(perdure.Prompt(messages, model="m"), provider="openai", via=via)
        assert messages == before, "they stay as they were, to the last part"
        assert messages[0].parts is parts
        assert simulated.traffic.total == asked
        async with simulated.open() as again:
            assert [info.id async for info in again.files.list()] == [file.id], "nothing was taken in"
            await trio.lowlevel.checkpoint()
