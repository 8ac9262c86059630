"""Looking at a batch: what happened to it, and what its lines say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from perdure.actors.batch.views import BatchHandle
from perdure.actors.service import Service
from perdure.events.requests import Line
from tests.actors.batch.memory import NAME, prompts


async def payloads(handle: BatchHandle, type_: str) -> list[Any]:
    """What the events of one type say."""
    return [json.loads(record.payload) async for record in handle.events(follow=False) if record.type == type_]


async def types_of(handle: BatchHandle) -> list[str]:
    """The types of what happened to a batch."""
    return [record.type async for record in handle.events(follow=False)]


async def lines_of(handle: BatchHandle, *, order: str = "input") -> list[Line]:
    """All its lines."""
    async with handle.results(order="input" if order == "input" else "arrival") as lines:
        return [line async for line in lines]


def codes(lines: Sequence[Line]) -> dict[str, str]:
    """`ok` or the code of its error, for each line by its name."""
    return {line.custom_id: line.error.code if line.error else "ok" for line in lines}


async def submit(service: Service, count: int = 4, **how: object) -> BatchHandle:
    """Submits a small batch."""
    return await service.batches.submit(prompts(count), **{"provider": NAME, "key": "k", **how})  # type: ignore[arg-type]
