"""Looking at the log for many: shared reads, bounded answers, a lost blob that costs only its own lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock as Clock

import perdure.actors.looking as module
from perdure.actors.batch.state import CODEC
from perdure.actors.looking import Look, Looking, Origin
from perdure.events.batch import LineNote, LinesCollected
from perdure.events.errors import BlobLost, NotFound, PerdureError
from perdure.store.blobs import BlobStore
from perdure.store.disk import InlineDisk
from perdure.store.records import ActorRow, ItemRow, Standing, Stream

pytestmark = pytest.mark.trio


NOTE = LineNote(3, key="k", tags={"team": "a"})
LINES = LinesCollected(first=0, blob="", names=(), lengths=[1] * 100, notes=[NOTE])
COLLECTED = CODEC.encode(LINES, 5).payload


class CountingLog:
    """The reads of a log that has actors `a` and `b`, with lines 0 to 99 each."""

    def __init__(self, items: dict[int, ItemRow]) -> None:
        self.reads: Counter[str] = Counter()
        self.items = items

    async def load(self, actors: Sequence[str], *, after: int = 0, until: int | None = None) -> Sequence[Stream]:
        """See `LogReader`."""
        self.reads["load"] += 1
        await trio.sleep(0.01)
        return [Stream(row(actor), () if after else ((1, 5, COLLECTED),)) for actor in actors if actor in "ab"]

    async def items_by_number(self, actor: str, numbers: Sequence[int]) -> dict[int, ItemRow]:
        """See `LogReader`."""
        self.reads["items"] += 1
        await trio.sleep(0.01)
        return {number: self.items[number] for number in numbers if number in self.items}


class CountingBlobs:
    """A blob store that counts, and says how much one read gave."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.sizes: list[int] = []

    async def read_many(self, ranges: Any) -> list[bytes]:
        """See `BlobReader`."""
        texts = await self.store.read_many(ranges)
        self.sizes.append(sum(map(len, texts)))
        return list(texts)


def row(actor: str) -> ActorRow:
    """An actor's row."""
    standing = Standing(status="running", fold=1, next_due=None)
    return ActorRow(
        actor=actor, kind="batch", tenant="", key=None, version=1, created_at=0, updated_at=0, standing=standing
    )


class Around:
    """What is looked at and who looks."""

    def __init__(self, looking: Looking, log: CountingLog, blobs: CountingBlobs) -> None:
        self.looking = looking
        self.log = log
        self.blobs = blobs

    async def all(self, ask: Callable[..., Any], questions: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
        """Asks everything at once, each in a task of its own, while an answer is under way."""
        told: dict[tuple[Any, ...], Any] = {}

        async def one(question: tuple[Any, ...]) -> None:
            try:
                told[question] = await ask(*question)
            except PerdureError as error:
                told[question] = type(error)

        async with trio.open_nursery() as nursery:
            for question in questions:
                nursery.start_soon(one, question)
        return told


@asynccontextmanager
async def around(tmp_path: Path, *, line: bytes = b"x" * 10) -> AsyncGenerator[Around]:
    """Lines 0 to 49 lie in one blob, 50 to 89 in another that is lost, 90 to 99 wait."""
    async with BlobStore(tmp_path / "blobs", InlineDisk()) as store, trio.open_nursery() as nursery:
        kept = (await store.put(line * 50)).digest
        lost = "0" * len(kept)
        items = {
            number: ItemRow(
                number, "", "waiting" if number >= 90 else "ok", kept if number < 50 else lost, 0, len(line)
            )
            for number in range(100)
        }
        log, blobs = CountingLog(items), CountingBlobs(store)
        looking = Looking(log, blobs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await nursery.start(looking.run)
        yield Around(looking, log, blobs)
        nursery.cancel_scope.cancel()


async def test_rows_and_streams_are_read_together(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        rows = await here.all(here.looking.row, [("a",), ("b",), ("c",)])
        assert rows == {("a",): row("a"), ("b",): row("b"), ("c",): NotFound}
        streams = await here.all(here.looking.stream, [("a",), ("c",)])
        assert (len(streams["a",].events), streams["c",]) == (1, NotFound)
        assert here.log.reads["load"] <= 4, "one for who came first, one for the rest, of each sort"


async def test_lines_of_one_batch_are_read_together(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        looks = await here.all(here.looking.line, [("a", number) for number in range(50)])
        assert {look.text for look in looks.values()} == {b"x" * 10}
        assert here.log.reads["load"] == here.log.reads["items"] == len(here.blobs.sizes) <= 2


async def test_batches_take_turns_and_who_is_not_there_is_told_alone(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        questions = [(actor, number) for number in (0, 95, 100) for actor in "abc"]
        looks = await here.all(here.looking.line, questions)
        for actor in "ab":
            found, waiting = looks[actor, 0], looks[actor, 95]
            assert isinstance(found, Look)
            assert isinstance(waiting, Look)
            assert (found.row.actor, found.text) == (actor, b"x" * 10)
            assert (waiting.row.actor, waiting.text) == (actor, None), (
                "a line that waits has bytes of its question only"
            )
            assert looks[actor, 100] is NotFound
        assert [looks["c", number] for number in (0, 95, 100)] == [NotFound] * 3


async def test_a_lost_blob_costs_its_own_lines_and_no_other(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        looks = await here.all(here.looking.line, [("a", number) for number in range(100)])
        assert all(looks["a", number].text == b"x" * 10 for number in range(50))
        assert all(looks["a", number] is BlobLost for number in range(50, 90))
        assert all(looks["a", number].text is None for number in range(90, 100))


async def test_one_answer_is_bounded_in_bytes(
    tmp_path: Path, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BYTES_AT_A_TIME", 1_000)
    async with around(tmp_path, line=b"x" * 300) as here:
        looks = await here.all(here.looking.line, [("a", number) for number in range(20)])
        assert {look.text for look in looks.values()} == {b"x" * 300}
        assert max(here.blobs.sizes) <= 1_000
    async with around(tmp_path, line=b"x" * 3_000) as here:
        looks = await here.all(here.looking.line, [("a", number) for number in range(3)])
        assert {look.text for look in looks.values()} == {b"x" * 3_000}, "a line beyond the bound is read by itself"
        assert here.blobs.sizes == [3_000] * 3


async def test_a_line_that_many_ask_for_is_read_once(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        told: list[Look] = []

        async def ask() -> None:
            told.append(await here.looking.line("a", 1))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(ask)
        assert len(told) == 30
        assert sum(here.blobs.sizes) <= 2 * 10


async def test_what_callers_said_of_lines_is_read_together(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        questions = [(actor, number) for actor in "abc" for number in range(101)]
        origins = await here.all(here.looking.origin, questions)
        for actor in "ab":
            assert origins[actor, 3] == Origin(created_at=5, key="k", tags={"team": "a"})
            assert origins[actor, 99] == Origin(created_at=5)
            assert origins[actor, 100] is NotFound
        assert {origins["c", number] for number in range(101)} == {NotFound}
        assert here.log.reads["load"] <= 12, "a few for each batch, however many ask"


async def test_after_the_end_it_is_looked_alone(tmp_path: Path, autojump_clock: Clock) -> None:
    async with around(tmp_path) as here:
        pass
    assert (await here.looking.row("a")).actor == "a"
    with pytest.raises(NotFound):
        await here.looking.row("c")
