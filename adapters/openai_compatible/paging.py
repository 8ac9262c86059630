"""Reading lists over all their pages: to the end, or back to a time.

An object that the caller does not find here counts as never made, and may be bought again: so whatever makes the
reading incomplete is an error, never a short list.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

import msgspec

from perdure.actors.fetch import Fetch, HttpAnswer, HttpRequest
from perdure.adapters.answers import read_answer, refuse_answer
from perdure.adapters.openai_compatible.wire import Item, Page
from perdure.adapters.patience import CLOCK_MARGIN_S

Next = Callable[[Page[Item]], Mapping[str, str] | None]
"""What is asked for the page behind this one, which is not empty; None: this is the last."""


def after_last(page: Page[Item]) -> Mapping[str, str] | None:
    """OpenAI's way: `after` the last object, unless `has_more` is false. Without `has_more` there is another page until
    one comes empty (`contracts/providers.md` section 1.1)."""
    return None if page.has_more is False else {"after": page.data[-1].id}


async def read_pages(
    fetch: Fetch,
    path: str,
    decoder: msgspec.json.Decoder[Page[Item]],
    *,
    query: Mapping[str, str],
    following: Next[Item] = after_last,
) -> AsyncGenerator[Page[Item]]:
    """All pages of the list at `path` that have something on them, in the order in which they come.

    Raises what `fetch` raises, and `Refused(kind="server_error", retryable=True)` for a page that cannot be read or
    that does not go on from the one before.
    """
    place: Mapping[str, str] = {}
    while True:
        answer = await fetch(HttpRequest(method="GET", path=path, query={**query, **place}, safety="read"))
        page = read_answer(answer, decoder)
        if not page.data:
            if page.has_more:
                _refuse(answer, f"an empty page of {path} claims that there are more")
            return
        yield page
        behind = following(page)
        if behind is None:
            return
        if behind == place:
            _refuse(answer, f"the page of {path} behind {', '.join(place.values())!r} is the same page again")
        place = behind


async def read_back(
    fetch: Fetch,
    path: str,
    decoder: msgspec.json.Decoder[Page[Item]],
    *,
    limit: int,
    since: int,
    wanted: Callable[[Item], bool],
    query: Mapping[str, str] | None = None,
) -> list[Item]:
    """The wanted objects of the list at `path`, oldest first.

    The list comes newest first, `limit` a page (`contracts/providers.md` section 0), and is read to its end or to the
    first page whose last object was made more than `CLOCK_MARGIN_S` before `since` (µs since 1970 UTC).

    Raises what `read_pages` raises.
    """
    oldest_s = since / 1_000_000 - CLOCK_MARGIN_S
    found: list[Item] = []
    async with aclosing(read_pages(fetch, path, decoder, query={**(query or {}), "limit": str(limit)})) as pages:
        async for page in pages:
            found.extend(item for item in page.data if wanted(item))
            made_at = page.data[-1].created_at
            if made_at and made_at < oldest_s:
                break
    found.reverse()
    found.sort(key=lambda item: item.created_at or 0)
    return found


def _refuse(answer: HttpAnswer, reason: str) -> None:
    refuse_answer(answer.status, answer.headers, reason)
