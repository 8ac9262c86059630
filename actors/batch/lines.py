"""One line of a batch as applications see it: a request that shares a window with others, with a handle of its own.

The line is an entry of its batch's stream and a row; it has no actor. Its id is the batch's id and its number, which is
also what the provider knows it by.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
import trio

from perdure.actors.batch.state import BatchState
from perdure.actors.looking import WAITING, Look, Origin
from perdure.actors.views import ENDED, Backing, Handle, Teller, View
from perdure.events.batch import (
    BatchClosed,
    CancelLines,
    LineAnswered,
    LineFailed,
    LinesAbandoned,
    LinesCollected,
    LineSettled,
    Part,
    PartSettled,
    ResubmitBatch,
    ResultsTaken,
    ResumeBatch,
)
from perdure.events.command import Command
from perdure.events.cost import CostRecorded
from perdure.events.errors import OperationFailed
from perdure.events.event import Event
from perdure.events.file_warnings import FILE_WARNINGS
from perdure.events.purchase import PURCHASE_EVENTS
from perdure.events.requests import Answer, LineError
from perdure.store.recorded_event import RecordedEvent, with_event
from perdure.store.records import ActorRow, Standing

KIND: Final = "request"
"""What a line is to its caller: the same as a request that went live."""

LONGEST_NUMBER: Final = 12
"""Digits of a line's number; more than any batch will have."""

ENDS: Final = {"batch_cancelled": "cancelled", "batch_expired": "expired", "batch_uncertain": "uncertain"}
"""What the code of an unanswered line says about how it ended; all other codes are failures."""


def line_id(batch: str, number: int) -> str:
    """The id of a line."""
    return f"{batch}-{number}"


def split_line_id(id: str) -> tuple[str, int] | None:
    """The batch and the number of a line's id; None for any other id."""
    batch, dash, number = id.rpartition("-")
    if not dash or not number.isascii() or not number.isdigit() or len(number) > LONGEST_NUMBER:
        return None
    if number != str(int(number)):
        return None
    return batch, int(number)


class LineView(View[Answer]):
    """A request in a batch, as any process sees it."""

    def __init__(self, backing: Backing, batch: ActorRow, number: int, origin: Origin) -> None:
        super().__init__(backing, _row(batch, number, origin, "pending"))
        self._batch = batch
        self._number = number
        self._origin = origin
        self._text: bytes | None = None
        self._item_status = WAITING

    @property
    def batch(self) -> str:
        """The id of the batch that it is a line of."""
        return self._batch.actor

    async def refresh(self) -> str:
        """Looks again and returns the status."""
        look = await self._backing.looking.line(self.batch, self._number)
        self._batch, self._text, self._item_status = look.row, look.text, look.item.status
        status = _status(look)
        self._row = _row(look.row, self._number, self._origin, status)
        return status

    async def events(self, *, after: int = 0, follow: bool = True) -> AsyncGenerator[RecordedEvent]:
        """The history of its batch as far as it concerns this line, then what comes (with `follow`), to its end."""
        codecs = {fold.name: fold.codec for fold in self._backing.folds}
        part = await self._part() if after else None
        while True:
            signal = self._signal()
            ended = await self.refresh() in ENDED
            page = await self._backing.log.stream(self.batch, after=after)
            for record in page:
                told = with_event(record, self._backing.log.log_id, codecs)
                event = told.event
                after = record.version
                if isinstance(event, BatchClosed):
                    part = next((place for place, each in enumerate(event.parts) if _is_in(self._number, each)), None)
                if _concerns(event, self._number, part):
                    yield told
            if page:
                continue
            if not follow or ended:
                return
            self._backing.check_open()
            await signal.wait()

    async def state(self, *, at: int | datetime | None = None) -> Any:
        """The state of its batch: a line has none of its own."""
        return (await self._fold(at)).state

    def _signal(self) -> trio.Event:
        return self._backing.signal(self.batch, self._number)

    def _stream(self) -> str:
        return self.batch

    async def _part(self) -> int | None:
        state: BatchState = await self.state()
        part = state.part_of(self._number)
        return None if part is None else part.number

    async def _value(self) -> Answer:
        outcome = self._said()
        if isinstance(outcome, Answer):
            return outcome
        raise self._failed(outcome)

    async def _failure(self, status: str) -> Exception:
        if status == "failed":
            return self._failed(self._said())
        return await super()._failure(status)

    async def _reason(self) -> str:
        said = self._said() if self._item_status == "unanswered" else None
        return said.message if isinstance(said, LineError) else ""

    def _said(self) -> Answer | LineError:
        """What the line's bytes say, as of the last look."""
        endpoint = self._row.standing.group.partition(" ")[0]
        if self._text is None:
            return LineError("line_without_result", "its batch came to rest without a result for it")
        if self._item_status == "unanswered":
            return msgspec.json.decode(self._text, type=LineError)
        if self._item_status in ("direct", "direct_error"):
            return self._backing.live[self.provider].read(endpoint, self._text)
        return self._backing.providers[self.provider].answer(endpoint, self._text)

    def _failed(self, outcome: Answer | LineError) -> OperationFailed:
        assert isinstance(outcome, LineError)
        text = f"{self.id} failed: {outcome.code}: {outcome.message}"
        return OperationFailed(text, id=self.id, cause=outcome.code)


class LineHandle(LineView, Handle[Answer]):
    """A request in a batch of a running service."""

    def __init__(self, backing: Teller, batch: ActorRow, number: int, origin: Origin) -> None:
        LineView.__init__(self, backing, batch, number, origin)
        self._teller = backing

    async def cancel(self, *, wait: bool = False) -> Literal["cancelled", "requested", "too_late"]:
        """Asks for its end, which is at once: before its window closed it is never sent, afterwards it is abandoned."""
        if await self.refresh() in ("succeeded", "failed", "expired"):
            return "too_late"
        await self._teller.tell(self._batch, self._cancel_command())
        return "cancelled" if await self.refresh() == "cancelled" else "too_late"

    def _target(self) -> ActorRow:
        return self._batch

    def _cancel_command(self) -> Command:
        return CancelLines(numbers=(self._number,), reason="caller")

    def _resubmit_command(self) -> Command:
        return ResubmitBatch()

    def _resume_command(self) -> Command:
        return ResumeBatch()


def _status(look: Look) -> str:
    """The line's status in the words of the API."""
    item, batch = look.item.status, look.row.standing.status
    if item in ("ok", "direct"):
        return "succeeded"
    if item in ("cancelled", "expired"):
        return item
    if item == "unanswered":
        code = msgspec.json.decode(look.text, type=LineError).code if look.text else ""
        return ENDS.get(code, "failed")
    if item != WAITING:
        return "failed"
    return batch if batch not in ("succeeded", "failed") else "running"


def _row(batch: ActorRow, number: int, origin: Origin, status: str) -> ActorRow:
    """The line as a row of its own, made from its batch's."""
    standing = batch.standing
    return ActorRow(
        actor=line_id(batch.actor, number),
        kind=KIND,
        tenant=batch.tenant,
        key=origin.key,
        version=batch.version,
        created_at=origin.created_at,
        updated_at=batch.updated_at,
        standing=Standing(
            status=status,
            fold=standing.fold,
            next_due=None,
            terminal=status in ENDED,
            provider=standing.provider,
            group=standing.group,
            tags=origin.tags,
            progress=f"{int(status in ENDED)}/1 {standing.progress.partition(' ')[2]}".rstrip(),
        ),
    )


def _concerns(event: Event, number: int, part: int | None) -> bool:
    """Whether an event of a batch says anything about a line of it, which lies in `part`, or in none: it goes live."""
    match event:
        case LinesCollected():
            return event.first <= number < event.first + len(event.lengths)
        case ResultsTaken() | CostRecorded():
            return number in event.numbers
        case LinesAbandoned():
            return any(first <= number <= last for first, last in event.ranges)
        case LineAnswered() | LineFailed() | LineSettled():
            return event.number == number
        case _ if isinstance(event, FILE_WARNINGS):
            return getattr(event, "line", None) == number
        case PartSettled():
            return any(first <= number <= last for each in event.settlements for first, last in each.ranges)
        case _ if isinstance(event, PURCHASE_EVENTS):
            return getattr(event, "ordinal", None) == (number if part is None else part)
        case _:
            return getattr(event, "part", part) == part


def _is_in(number: int, part: Part) -> bool:
    return part.first <= number <= part.last
