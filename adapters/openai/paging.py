"""Reading a list back to a time, over all its pages.

An object that the caller does not find here counts as never made, and may be bought again: so whatever makes the
reading incomplete is an error, never a short list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters.openai.answers import read_answer, refuse_answer
from perdure.adapters.openai.wire import Item, Page

CLOCK_MARGIN_S: Final = 300.0
"""How much further back than asked a list is read, in seconds: our clock and OpenAI's may differ, and theirs counts
whole seconds. Ours; hosts without time synchronisation drift by seconds a day."""


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

    Raises what `fetch` raises, and `Refused(kind="server_error", retryable=True)` for a page that cannot be read or
    that does not go on from the one before.
    """
    oldest_s = since / 1_000_000 - CLOCK_MARGIN_S
    found: list[Item] = []
    after = ""
    while True:
        asked = {**(query or {}), "limit": str(limit)}
        if after:
            asked["after"] = after
        answer = await fetch(HttpRequest(method="GET", path=path, query=asked, safety="read"))
        page = read_answer(answer, decoder)
        found.extend(item for item in page.data if wanted(item))
        if not page.data:
            if page.has_more:
                refuse_answer(answer.status, answer.headers, f"an empty page of {path} claims that there are more")
            break
        last = page.data[-1]
        if page.has_more is False or (last.created_at and last.created_at < oldest_s):
            break
        if last.id == after:
            refuse_answer(answer.status, answer.headers, f"the page of {path} after {after!r} is the same page again")
        after = last.id
    found.reverse()
    found.sort(key=lambda item: item.created_at or 0)
    return found
