"""A batch as applications see it: its summary, and its lines in order of arrival or of input.

Lines are read from index rows and blobs, a run at a time; nothing here holds a batch in memory, and a reader that died
goes on behind the last cursor it kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Literal

import msgspec

from perdure.actors.batch.state import BatchState
from perdure.actors.views import ENDED, Handle, View
from perdure.events.batch import (
    CancelBatch,
    LineAnswered,
    LinesAbandoned,
    LineSettled,
    PartResubmitted,
    PartSettled,
    ResubmitBatch,
    ResultsTaken,
    ResumeBatch,
)
from perdure.events.command import Command
from perdure.events.errors import NotFound
from perdure.events.event import Event
from perdure.events.pricing import BATCH_TIER, STANDARD_TIER, CostEntry, Rates, cost_entry
from perdure.events.requests import Answer, BatchSummary, Line, LineError
from perdure.store.records import ItemRow

PAGE_LINES = 1_000
PAGE_BYTES = 4_000_000
"""How many lines, and about how many bytes of them, a reader holds at a time."""

EVENTS_AT_A_TIME = 16
"""How many events a reader holds at a time: each may name a thousand lines, some 30 KB."""

LINES_PER_EVENT = 1 << 20
"""Cursors in order of arrival are `version * LINES_PER_EVENT + place`: an event settles fewer lines than that."""

GIVEN_UP = {"cancelled": "batch_cancelled", "expired": "batch_expired"}
"""What the error of a line is called that was given up, or whose batch was before it had one of its own."""

Order = Literal["arrival", "input"]


class BatchView(View[BatchSummary]):
    """A batch, as any process sees it."""

    def results(
        self, *, after: int = 0, order: Order = "arrival", follow: bool = True
    ) -> AbstractAsyncContextManager[AsyncIterator[Line]]:
        """All lines behind cursor `after`, each as soon as it is durable; ends when every line was given out.

        A context manager around the iterator. `order="input"` waits for each line's turn. Cursors of the two orders are
        different. Lines never raise: each holds an answer or an error. Without `follow` it ends where the log does.
        """
        return self._open_results(after, order, follow)

    async def line(self, custom_id: str) -> Line:
        """One line, once it has an answer or an error. Raises `NotFound`, `Closed`."""
        while True:
            item = await self._find(custom_id)
            if item is None:
                raise NotFound(f"{self.id} has no line {custom_id!r}", id=custom_id)
            signal = self._backing.signal(self.id, item.number)
            item = (await self._backing.log.items_by_number(self.id, [item.number]))[item.number]
            if item.status != "waiting" or await self.refresh() in ENDED:
                return (await self._read([item], [0]))[0]
            self._backing.check_open()
            await signal.wait()

    async def _find(self, custom_id: str) -> ItemRow | None:
        """The row of a line by its name, or, of one without a name, by the batch's id and its number."""
        item = await self._backing.log.item_named(self.id, custom_id)
        number = custom_id.removeprefix(f"{self.id}-")
        if item is None and number != custom_id and number.isascii() and number.isdigit():
            found = await self._backing.log.items_by_number(self.id, [int(number)])
            item = next((row for row in found.values() if not row.name), None)
        return item

    @asynccontextmanager
    async def _open_results(self, after: int, order: Order, follow: bool) -> AsyncGenerator[AsyncIterator[Line]]:
        given = self._in_input_order if order == "input" else self._in_order_of_arrival
        lines = given(after, follow=follow)
        try:
            yield lines
        finally:
            await lines.aclose()

    async def _in_input_order(self, after: int, *, follow: bool) -> AsyncGenerator[Line]:
        number = after
        while True:
            signal = self._backing.signal(self.id)
            items = await self._backing.log.items(self.id, first=number, last=number + PAGE_LINES - 1)
            ready = _ready(items)
            if not ready:
                status = await self.refresh()
                if status in ENDED:
                    items = await self._backing.log.items(self.id, first=number, last=number + PAGE_LINES - 1)
                    ready = _bounded(items)
                    if not ready:
                        return
                elif not follow:
                    return
                else:
                    self._backing.check_open()
                    await signal.wait()
                    continue
            for line in await self._read(ready, [item.number + 1 for item in ready]):
                yield line
            number = ready[-1].number + 1

    async def _in_order_of_arrival(self, after: int, *, follow: bool) -> AsyncGenerator[Line]:
        version, given = divmod(after, LINES_PER_EVENT)
        version = max(0, version - 1) if after else 0
        while True:
            signal = self._backing.signal(self.id)
            streams = await self._backing.log.load([self.id], after=version, until=version + EVENTS_AT_A_TIME)
            events = streams[0].events if streams else ()
            fold = next(fold for fold in self._backing.folds if fold.name == self.kind)
            for number, _, payload in events:
                numbers = _settled_by(fold.codec.decode(payload))
                base = number * LINES_PER_EVENT
                skip = given if base // LINES_PER_EVENT == after // LINES_PER_EVENT else 0
                for start in range(skip, len(numbers), PAGE_LINES):
                    page = numbers[start : start + PAGE_LINES]
                    items = await self._backing.log.items_by_number(self.id, page)
                    rows = [items[wanted] for wanted in page]
                    for line in await self._read(rows, range(base + start + 1, base + start + 1 + len(rows))):
                        yield line
                version = number
            if not events:
                if await self.refresh() in ENDED and self._row.version <= version:
                    break
                if self._row.version > version:
                    continue
                if not follow:
                    return
                self._backing.check_open()
                await signal.wait()

        async for line in self._without_an_end((version + 1) * LINES_PER_EVENT):
            yield line

    async def _without_an_end(self, cursor: int) -> AsyncGenerator[Line]:
        """The lines without an answer or an error of a batch that came to rest all the same: it was given up while it
        was collected, or a purchase is in doubt. All carry the same cursor: what comes later lies behind it."""
        number = 0
        while items := await self._backing.log.items(self.id, first=number, last=number + PAGE_LINES - 1):
            waiting = [item for item in items if item.status == "waiting"]
            for line in await self._read(waiting, [cursor] * len(waiting)):
                yield line
            number += PAGE_LINES

    async def costs(self, rates: Rates, *, after: int = 0) -> AsyncGenerator[CostEntry]:
        """What each answered line behind cursor `after` costs at `rates`, in US dollars, in order of arrival.

        The tier is `batch`, whatever the provider's answer says of it, and `standard` where the lines went live. Lines
        with an error cost nothing and give no entry; nor do answers to lines that had been given up. Ends as `results`
        does; close it (`contextlib.aclosing`) when you leave it early.
        """
        tier = ""
        async with aclosing(self._in_order_of_arrival(after, follow=True)) as lines:
            async for line in lines:
                if line.answer is not None:
                    tier = tier or await self._tier()
                    tags = {
                        "type": "batch",
                        "provider": self.provider,
                        "batch_id": self.id,
                        "custom_id": line.custom_id,
                    }
                    yield cost_entry(line.answer.usage, rates, tier=tier, model=line.answer.model, tags=tags)

    async def _tier(self) -> str:
        """At what rates the lines are bought: known once there is an answer, for then the window is closed."""
        state: BatchState = await self.state()
        return BATCH_TIER if state.direct is None else STANDARD_TIER

    async def _read(self, items: Sequence[ItemRow], cursors: Sequence[int]) -> list[Line]:
        """The lines of some rows, in one hop for all their bytes."""
        provider = self._backing.providers[self.provider]
        endpoint = self._row.standing.group.partition(" ")[0]
        live = self._backing.live.get(self.provider)
        settled = [item for item in items if _has_text(item)]
        texts = iter(await self._backing.blobs.read_many([(item.blob, item.offset, item.length) for item in settled]))
        lines: list[Line] = []
        for item, cursor in zip(items, cursors, strict=True):
            outcome: Answer | LineError
            if item.status == "waiting":
                code = GIVEN_UP.get(self.status, "batch_uncertain")
                outcome = LineError(code, f"the batch came to rest as {self.status} without this line")
            elif item.status in GIVEN_UP:
                outcome = LineError(GIVEN_UP[item.status], f"the line was {item.status} before it had an answer")
            elif item.status == "unanswered":
                outcome = msgspec.json.decode(next(texts), type=LineError)
            elif item.status in ("direct", "direct_error") and live is not None:
                outcome = live.read(endpoint, next(texts))
            else:
                outcome = provider.answer(endpoint, next(texts))
            answer, error = (outcome, None) if isinstance(outcome, Answer) else (None, outcome)
            name = item.name or f"{self.id}-{item.number}"
            lines.append(Line(item.number, name, answer is not None, answer, error, cursor))
        return lines

    async def _value(self) -> BatchSummary:
        state: BatchState = await self.state()
        return BatchSummary(id=self.id, lines=state.lines, ok=state.ok, failed=state.failed)

    async def _reason(self) -> str:
        state: BatchState = await self.state()
        for part in state.parts:
            if part.end is not None and part.end.status != "completed":
                said = part.end.message.open()
                return said if isinstance(said, str) else part.end.code
        return ""


class BatchHandle(BatchView, Handle[BatchSummary]):
    """A batch of a running service."""

    def _cancel_command(self) -> Command:
        return CancelBatch()

    def _resubmit_command(self) -> Command:
        return ResubmitBatch()

    def _resume_command(self) -> Command:
        return ResumeBatch()


def _ready(items: Sequence[ItemRow]) -> Sequence[ItemRow]:
    """The run of settled rows that `items` begins with, bounded in bytes."""
    for place, item in enumerate(items):
        if item.status == "waiting":
            return _bounded(items[:place])
    return _bounded(items)


def _bounded(items: Sequence[ItemRow]) -> Sequence[ItemRow]:
    size_bytes = 0
    for place, item in enumerate(items):
        size_bytes += item.length
        if size_bytes > PAGE_BYTES and place:
            return items[:place]
    return items


def _has_text(item: ItemRow) -> bool:
    """Whether what a line says lies in its bytes."""
    return item.status != "waiting" and item.status not in GIVEN_UP


def _settled_by(event: Event) -> Sequence[int]:
    """The lines that an event gave an answer or an error. What comes for an abandoned line is neither."""
    match event:
        case ResultsTaken():
            late = {*event.cancelled, *event.expired}
            return [number for number in event.numbers if number not in late] if late else event.numbers
        case PartSettled() | PartResubmitted():
            return _numbers(ranges for settlement in event.settlements for ranges in settlement.ranges)
        case LinesAbandoned():
            return _numbers(event.ranges)
        case LineAnswered():
            return () if event.late else (event.number,)
        case LineSettled():
            return (event.number,)
        case _:
            return ()


def _numbers(ranges: Iterable[tuple[int, int]]) -> Sequence[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]
