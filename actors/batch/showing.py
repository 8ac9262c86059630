"""Prompts with files on their way into a batch: each is shown its files, several at a time, and their order stays."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Final

import trio
from msgspec import Struct, structs

from perdure.actors.prompts import with_files, words_of
from perdure.events.errors import InvalidRequest, Rejected
from perdure.events.file_warnings import FileWarning
from perdure.events.requests import Prompt, RawRequest

Requests = Iterable[Prompt | RawRequest] | AsyncIterable[Prompt | RawRequest]

AT_A_TIME: Final = 64
"""How many prompts that follow one another are shown their files at the same time: each may wait for an upload."""


class Shown(Struct, frozen=True):
    """A request as its line will say it. `digest` is a hash of what its caller wrote, "" where that is the line itself;
    `warnings` are of what was left out."""

    request: Prompt | RawRequest
    digest: str = ""
    warnings: tuple[FileWarning, ...] = ()


ShowFiles = Callable[[Prompt], Awaitable[Shown]]


async def show_words(prompt: Prompt) -> Shown:
    """The prompt with words for its files: enough to judge it by."""
    return Shown(words_of(prompt))


async def shown(requests: Requests, show: ShowFiles) -> AsyncGenerator[Shown]:
    """The requests in order. Raises `InvalidRequest` that names the line for files that can never be shown, and what an
    upload failed of."""
    waiting: list[Prompt] = []
    line = 0
    async with aclosing(_read(requests)) as read:
        async for request in read:
            prompt = with_files(request)
            if prompt is not None:
                waiting.append(prompt)
            if waiting and (prompt is None or len(waiting) == AT_A_TIME):
                for one in await _show_all(waiting, show, line):
                    yield one
                line += len(waiting)
                waiting = []
            if prompt is None:
                line += 1
                yield Shown(request)
    for one in await _show_all(waiting, show, line):
        yield one


async def _read(requests: Requests) -> AsyncGenerator[Prompt | RawRequest]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


async def _show_all(prompts: list[Prompt], show: ShowFiles, line: int) -> list[Shown]:
    """All of them; the first of those that fail, in their order, says of what. `line`: how many are before them."""
    done: dict[int, Shown] = {}
    failed: dict[int, Exception] = {}

    async def one(place: int, prompt: Prompt) -> None:
        try:
            result = await show(prompt)
        except Rejected as error:
            failed[place] = InvalidRequest(str(error), line=line + place + 1, field=error.field or "content")
        except Exception as error:
            # A value here: tasks side by side would raise a group.
            failed[place] = error
        else:
            numbered = tuple(structs.replace(warning, line=line + place) for warning in result.warnings)
            done[place] = structs.replace(result, warnings=numbered)

    async with trio.open_nursery() as nursery:
        for place, prompt in enumerate(prompts):
            nursery.start_soon(one, place, prompt)
    if failed:
        raise failed[min(failed)]
    return [done[place] for place in range(len(prompts))]
