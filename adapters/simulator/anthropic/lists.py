"""Lists with `after_id` and `before_id`: of message batches, and of files as the beta had them.

Source: Anthropic's Python SDK 2.11 (20 November 2026), `pagination.py`, `types/messages/batch_list_params.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from starlette.requests import Request

from perdure.adapters.simulator.anthropic.errors import invalid
from perdure.adapters.simulator.storage import Page, Tables
from perdure.adapters.simulator.world import World

USUAL_PAGE: Final = 20
MAX_PAGE: Final = 1_000
"""How many objects a page has unless asked otherwise, and at most (SDK, `types/messages/batch_list_params.py`)."""


class Listing(Struct, frozen=True):
    """A page. `first_id` and `last_id` are None for an empty one."""

    data: Sequence[object]
    has_more: bool
    first_id: str | None
    last_id: str | None


def asked_limit(request: Request) -> int:
    """How many objects a page shall have. Raises `ApiError` 400."""
    text = request.query_params.get("limit", str(USUAL_PAGE))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise invalid(f"limit: must be between 1 and {MAX_PAGE}, not '{text}'")
    return int(text)


async def read_around(request: Request, world: World, kind: str) -> Page:
    """The page, newest first, that is just after `after_id` or just before `before_id`. Raises `ApiError` 400."""
    after, before = request.query_params.get("after_id", ""), request.query_params.get("before_id", "")
    if after and before:
        raise invalid("after_id: cannot be combined with before_id")
    limit = asked_limit(request)
    if not before:
        return await read_page(world, kind, "after_id", after, limit)
    page = await read_page(world, kind, "before_id", before, limit, newest_first=False)
    return Page(page.docs[::-1], page.has_more)


async def read_page(
    world: World, kind: str, parameter: str, behind: str, limit: int, *, newest_first: bool = True
) -> Page:
    """The page behind an object that `parameter` named, "" for the first. Raises `ApiError` 400 for another object."""
    now = world.clock.now()

    def read(tables: Tables) -> Page:
        after = tables.place(kind, behind) if behind else None
        if behind and after is None:
            raise invalid(f"{parameter}: '{behind}' is no place in this list")
        return tables.page(kind, now=now, limit=limit, newest_first=newest_first, after=after)

    return await world.storage.run(read)
