"""Finding a message batch that may have been created, at a provider that has no place for an identity.

What tells it apart (`contracts/providers.md` section 0): when it was made, how many requests it has, and, once it has
ended, the custom ids in its results. So a batch with the right count is

- excluded when it has ended and its results are not ours, or when it is known to be another;
- ours when it has ended and its results are;
- ours, too, when it still runs, was made in the right moments, and stays the only one that is left.

In between it cannot be told yet: `Undecided`, until one of them ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
import trio

from perdure.actors.batch.ports import ProviderBatch, Sought, Undecided
from perdure.actors.fetch import Fetch, HttpRequest
from perdure.actors.purchase import CLOCK_MARGIN_US
from perdure.adapters.answers import read_answer, refuse_answer
from perdure.adapters.anthropic.lines import parse_line
from perdure.adapters.anthropic.wire import BatchObject, BatchPage, microseconds
from perdure.adapters.patience import CLOCK_MARGIN_S, patience_s

BATCHES_A_PAGE: Final = 100
"""How many batches are asked for at a time; up to 1,000 are given (section 2.2)."""

SENDING_S: Final = patience_s(256_000_000)
"""How long after the intent a batch may still be made, in seconds: as long as the largest create call is waited for."""

CLOCK_JUMP_S: Final = 7_200.0
"""How wrong our clock may have been when the intent was written, in seconds: by an hour, as after a mistaken time zone,
and a margin. Ours. A batch that far off is not adopted while it runs, but it is not passed over either."""

LINES_LOOKED_AT: Final = 100
"""How many results that are not ours exclude a batch. One would do, if providers never mixed up any. Ours."""

UNDECIDED_RETRY_S: Final = 60.0
"""How long to wait before candidates are looked at again, in seconds. Ours: a batch takes minutes to hours."""

ALONE_S: Final = 900.0
"""How long a batch that runs must stay the only one before it is ours, in seconds: by then whoever has another batch of
this log has asked about it, so that it is known (the first poll comes after ten minutes at the latest unless it was set
otherwise, `Polling`). Ours."""

MOST_HELD: Final = 20_000
"""How many batches are remembered at most, the latest; each takes some hundred bytes. Ours."""

OpenResults = Callable[[str], AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]]
"""Opens the results of the batch with this id, from their beginning."""

_SECOND: Final = 1_000_000
_LONGEST_NUMBER: Final = 18
_RUNNING: Final = ("pending", "processing")
_PAGE: Final = msgspec.json.Decoder(BatchPage)


class Memory:
    """Which batches somebody asks about: whoever asks has them in the log, so they are no others'. Of this process
    alone; what it forgets is only told apart more slowly."""

    def __init__(self) -> None:
        self._held: dict[str, None] = {}
        self._alone_since: dict[str, tuple[str, float]] = {}

    def hold(self, batch_id: str) -> None:
        """Somebody asks about this batch."""
        self._held.pop(batch_id, None)
        self._held[batch_id] = None
        if len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]

    def holds(self, batch_id: str) -> bool:
        """Whether somebody asked about this batch."""
        return batch_id in self._held

    def consider(self, found: Sequence[ProviderBatch], sought: Sought) -> None:
        """Raises `Undecided` for a batch that runs and has not been the only one for `ALONE_S`."""
        if not found or found[0].status not in _RUNNING:
            self._alone_since.pop(sought.identity, None)
            return
        now = trio.current_time()
        id_, since = self._alone_since.get(sought.identity, ("", now))
        if id_ != found[0].id:
            since = now
        if now - since >= ALONE_S:
            del self._alone_since[sought.identity]
            return
        self._alone_since[sought.identity] = (found[0].id, since)
        raise Undecided(
            f"the batch {found[0].id} may have the lines {sought.line_prefix}{sought.first} to {sought.last}; it is"
            f" taken for them when it stays the only one for {ALONE_S:g} s",
            retryable=True,
            retry_after_s=UNDECIDED_RETRY_S,
        )


async def batches_since(fetch: Fetch, path: str, sought: Sought, *, limit: int) -> AsyncGenerator[BatchObject]:
    """The batches of the list at `path`, newest first, back to `CLOCK_MARGIN_S` before `sought.since`.

    Whatever makes the reading incomplete is an error, never a short list: a batch that is not found may be bought
    again. Raises `Refused`, worth a repeat, for a page that cannot be read or that does not go on from the one before.
    """
    oldest = sought.since - CLOCK_MARGIN_S * _SECOND
    place = ""
    while True:
        query = {"limit": str(limit)} | ({"after_id": place} if place else {})
        answer = await fetch(HttpRequest(method="GET", path=path, query=query, safety="read"))
        page = read_answer(answer, _PAGE)
        for batch in page.data:
            yield batch
        if page.has_more is False or (not page.data and not page.has_more):
            return
        behind = (page.last_id or page.data[-1].id) if page.data else place
        if behind == place:
            refuse_answer(answer.status, answer.headers, f"the list of batches does not go on behind {place!r}")
        made_at = microseconds(page.data[-1].created_at)
        if made_at is not None and made_at < oldest:
            return
        place = behind


async def find(
    batches: Sequence[ProviderBatch], sought: Sought, *, open_results: OpenResults
) -> Sequence[ProviderBatch]:
    """The batches among these that are what is sought, oldest first. Raises `Undecided`, and what reading raises."""
    ours: list[ProviderBatch] = []
    running: list[ProviderBatch] = []
    silent: list[ProviderBatch] = []
    for batch in sorted(batches, key=lambda batch: batch.created_at):
        if batch.id in sought.others or batch.total != sought.count or not _is_near(batch, sought, CLOCK_JUMP_S):
            continue
        if batch.status in _RUNNING:
            running.append(batch)
            continue
        verdict = await _is_ours(batch, sought, open_results)
        if verdict is None:
            silent.append(batch)
        elif verdict:
            ours.append(batch)
    if ours:
        return ours
    if len(running) == 1 and not silent and _is_near(running[0], sought, 0.0):
        return running
    if running or silent:
        names = ", ".join(batch.id for batch in (*running, *silent))
        raise Undecided(
            f"it cannot be told yet which of these batches has the lines {sought.line_prefix}{sought.first} to"
            f" {sought.last}, if any: {names}",
            retryable=True,
            retry_after_s=UNDECIDED_RETRY_S,
        )
    return []


def _is_near(batch: ProviderBatch, sought: Sought, margin_s: float) -> bool:
    """Whether the batch was made when the one that is sought may have been; one that does not say when was.

    `sought.since` lies before the intent by as much as is read back.
    """
    if not batch.created_at:
        return True
    after_s = (batch.created_at - sought.since - CLOCK_MARGIN_US) / _SECOND
    return -CLOCK_MARGIN_S - margin_s <= after_s <= CLOCK_MARGIN_S + SENDING_S + margin_s


async def _is_ours(batch: ProviderBatch, sought: Sought, open_results: OpenResults) -> bool | None:
    """Whether the results of a batch that has ended are ours; None: it has none, so nobody can tell."""
    looked_at = 0
    if not batch.sources:
        return None
    async with open_results(batch.sources[0]) as runs:
        async for run in runs:
            for raw in run:
                line = parse_line(raw)
                if line is None:
                    continue
                if _is_sought(line.line_id, sought):
                    return True
                looked_at += 1
                if looked_at >= LINES_LOOKED_AT:
                    return False
    return False if looked_at else None


def _is_sought(line_id: str, sought: Sought) -> bool:
    prefix = sought.line_prefix
    number = line_id[len(prefix) :]
    if not line_id.startswith(prefix) or not (number.isascii() and number.isdecimal()):
        return False
    if len(number) > _LONGEST_NUMBER:
        return False
    return sought.first <= int(number) <= sought.last and number == str(int(number))
