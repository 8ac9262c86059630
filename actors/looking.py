"""Looking at the log for many waiters: rows, short streams and single lines, each read shared with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import trio
from msgspec import Struct

from perdure.actors.batch.state import CODEC
from perdure.actors.sharing import Sharing
from perdure.events.batch import LineNote, LinesCollected
from perdure.events.errors import BlobLost, Corrupt, NotFound
from perdure.store.blobs import BlobReader
from perdure.store.log import LogReader
from perdure.store.records import ActorRow, ItemRow, Stream

T = TypeVar("T")

AT_A_TIME: Final = 1_000
STREAMS_AT_A_TIME: Final = 200
BYTES_AT_A_TIME: Final = 4_000_000
EVENTS_AT_A_TIME: Final = 16
"""How many rows or lines, streams, about how many bytes of lines, and events of a batch one read fetches: bounds on an
answer's memory."""

WAITING: Final = "waiting"
"""The status of an item that has neither an answer nor an error."""

_NO_EVENTS: Final = (1 << 63) - 1
_CLOSED: Final = "the log is being closed here: ask again by id or key after the restart"


class Look(Struct, frozen=True):
    """A line as it stands: the row of its batch, its own row, and its bytes once it has an answer or an error."""

    row: ActorRow
    item: ItemRow
    text: bytes | None


class Origin(Struct, frozen=True, kw_only=True):
    """What a line's caller said beside the request. `created_at` is µs since 1970 UTC."""

    created_at: int
    key: str | None = None
    tags: dict[str, str] = {}


class Looking:
    """Reads for whoever asks. `run` is its task, owned by whoever opened the log."""

    def __init__(self, log: LogReader, blobs: BlobReader) -> None:
        self._log = log
        self._blobs = blobs
        self._rows = Sharing(self._read_rows, at_a_time=AT_A_TIME, closed=_CLOSED, alone=True)
        self._streams = Sharing(self._read_streams, at_a_time=STREAMS_AT_A_TIME, closed=_CLOSED, alone=True)
        self._lines = Sharing(self._read_lines, at_a_time=AT_A_TIME, closed=_CLOSED, alone=True)
        self._origins = Sharing(self._read_origins, at_a_time=AT_A_TIME, closed=_CLOSED, alone=True)

    async def row(self, actor: str) -> ActorRow:
        """An actor's row. Raises `NotFound`, `Closed`, and what the log raises if it cannot be read."""
        return await self._rows.ask(actor)

    async def stream(self, actor: str) -> Stream:
        """A whole stream, for kinds whose streams are short. Raises as `row`."""
        return await self._streams.ask(actor)

    async def line(self, actor: str, number: int) -> Look:
        """A line of a batch. Raises as `row`, and `BlobLost`."""
        return await self._lines.ask((actor, number))

    async def origin(self, actor: str, number: int) -> Origin:
        """What is on record about a line of a batch. Raises as `row`, and `Corrupt`."""
        return await self._origins.ask((actor, number))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reads until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._rows.run)
            await nursery.start(self._streams.run)
            await nursery.start(self._lines.run)
            await nursery.start(self._origins.run)
            task_status.started()

    # ------------------------------------------------------------------ reading

    async def _read_rows(self, actors: Sequence[str]) -> Mapping[int, ActorRow | Exception]:
        streams = await self._log.load(list(dict.fromkeys(actors)), after=_NO_EVENTS)
        rows = {stream.row.actor: stream.row for stream in streams}
        return {place: _found(rows.get(actor), actor) for place, actor in enumerate(actors)}

    async def _read_streams(self, actors: Sequence[str]) -> Mapping[int, Stream | Exception]:
        streams = {stream.row.actor: stream for stream in await self._log.load(list(dict.fromkeys(actors)))}
        return {place: _found(streams.get(actor), actor) for place, actor in enumerate(actors)}

    async def _read_lines(self, lines: Sequence[tuple[str, int]]) -> Mapping[int, Look | Exception]:
        """The lines of the first one's actor, as far as their bytes stay within bounds."""
        actor = lines[0][0]
        # The row is read first: what it says of the batch's end is never newer than what the items say.
        (row,) = (await self._read_rows([actor])).values()
        if isinstance(row, Exception):
            return {place: row for place, line in enumerate(lines) if line[0] == actor}
        mine = _of_the_first(lines)
        items = await self._log.items_by_number(actor, sorted({number for _, number in mine}))
        wanted: dict[int, ItemRow] = {}
        size_bytes = 0
        answered: list[tuple[int, int]] = []
        for place, number in mine:
            item = items.get(number)
            if item is not None and item.blob and item.status != WAITING and number not in wanted:
                if wanted and size_bytes + item.length > BYTES_AT_A_TIME:
                    break
                wanted[number] = item
                size_bytes += item.length
            answered.append((place, number))
        texts = await self._texts(list(wanted.values()))
        looks: dict[int, Look | Exception] = {}
        for place, number in answered:
            item, text = items.get(number), texts.get(number)
            if item is None:
                looks[place] = _found(None, f"{actor}-{number}")
            elif isinstance(text, BlobLost):
                looks[place] = text
            else:
                looks[place] = Look(row, item, text)
        return looks

    async def _read_origins(self, lines: Sequence[tuple[str, int]]) -> Mapping[int, Origin | Exception]:
        """The origins of the first one's actor."""
        actor, mine = lines[0][0], _of_the_first(lines)
        try:
            origins = await self._origins_in(actor, {number for _, number in mine})
        except Corrupt as error:
            return {place: error for place, _ in mine}
        return {place: _found(origins.get(number), f"{actor}-{number}") for place, number in mine}

    async def _origins_in(self, actor: str, numbers: set[int]) -> Mapping[int, Origin]:
        """What is found of some lines in a batch's stream, which is read no further than the last of them."""
        origins: dict[int, Origin] = {}
        after, missing = 0, numbers
        while missing and (streams := await self._log.load([actor], after=after, until=after + EVENTS_AT_A_TIME)):
            for version, at, payload in streams[0].events:
                after, event = version, CODEC.decode(payload)
                if isinstance(event, LinesCollected):
                    here = {number for number in missing if event.first <= number < event.first + len(event.lengths)}
                    notes = {note.number: note for note in event.notes if note.number in here}
                    for number in here:
                        note = notes.get(number, LineNote(number=number))
                        origins[number] = Origin(created_at=at, key=note.key or None, tags=dict(note.tags))
                    missing = missing - here
            if not streams[0].events:
                break
        return origins

    async def _texts(self, items: Sequence[ItemRow]) -> Mapping[int, bytes | BlobLost]:
        """The bytes of lines, in one hop; where a blob is lost, each by itself, so that only its own lines miss it."""
        if not items:
            return {}
        try:
            read = await self._blobs.read_many([(item.blob, item.offset, item.length) for item in items])
            return {item.number: text for item, text in zip(items, read, strict=True)}
        except BlobLost as lost:
            if len(items) == 1:
                return {items[0].number: lost}
        return {number: text for item in items for number, text in (await self._texts([item])).items()}


def _of_the_first(lines: Sequence[tuple[str, int]]) -> list[tuple[int, int]]:
    """Place and number of those lines that are of the first one's actor."""
    return [(place, number) for place, (actor, number) in enumerate(lines) if actor == lines[0][0]]


def _found(thing: T | None, id: str) -> T | NotFound:
    """What was asked for, or that it is not there."""
    return NotFound(f"{id} is not in the log", id=id) if thing is None else thing
