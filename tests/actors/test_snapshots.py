"""Snapshots are a cache over long streams: they bound what waking reads and change no fold."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.actors.runtime.aggregate import Aggregate, KindFold
from perdure.actors.runtime.snapshot import EVERY
from perdure.adapters.composition import folds
from perdure.store.replay import by_kind
from perdure.store.sqlite import SqliteLog, open_reader
from tests.actors.living import living
from tests.actors.toys import Add, Added, Counters
from tests.logs.pins import kept_logs

COUNTER = "batch_counter"


def folded(kind: Counters, amounts: Sequence[int]) -> Aggregate:
    """A counter after some amounts."""
    aggregate = Aggregate(kind, COUNTER, "")
    for at, amount in enumerate(amounts):
        aggregate.evolve(Added(amount=amount), at)
    return aggregate


async def count_to(path: Path, commands: int) -> None:
    """Gives one counter that many commands, in several turns."""
    async with living(path, [Counters()]) as (runtime, _):
        for _ in range(commands):
            await runtime.tell("counter", COUNTER, Add(amount=2))


@given(st.lists(st.integers(1, 9), max_size=40), st.data())
def test_folding_on_from_a_snapshot_is_folding_the_whole(amounts: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(amounts)))
    restored = Aggregate(Counters(), COUNTER, "")
    assert restored.restore(folded(Counters(), amounts[:cut]).snapshot())
    for at, amount in enumerate(amounts[cut:], cut):
        restored.evolve(Added(amount=amount), at)
    whole = folded(Counters(), amounts)
    assert restored.version == whole.version
    assert restored.snapshot() == whole.snapshot()


@pytest.mark.trio
async def test_every_prefix_of_a_kept_log_goes_on_from_a_snapshot_as_from_the_start() -> None:
    kinds = by_kind(folds())
    async with open_reader(kept_logs()[0] / "perdure.db") as log:
        streams = await log.load([row.actor for row in await log.rows()])
    for stream in streams:
        fold = kinds[stream.row.kind]
        assert isinstance(fold, KindFold)
        whole = fold.initial(stream.row.actor, stream.row.tenant)
        for _, at, payload in stream.events:
            again = fold.initial(stream.row.actor, stream.row.tenant)
            assert again.restore(whole.snapshot())
            event = fold.codec.decode(payload)
            again.evolve(event, at)
            whole.evolve(fold.codec.decode(payload), at)
            assert again.snapshot() == whole.snapshot()
            assert msgspec.json.encode(again.settle()) == msgspec.json.encode(whole.settle())


@pytest.mark.trio
async def test_a_long_stream_is_woken_from_its_snapshot_and_verifies(tmp_path: Path, autojump_clock: object) -> None:
    path = tmp_path / "log.db"
    await count_to(path, EVERY + 20)
    async with living(path, [Counters()]) as (runtime, log):
        (stream,) = await log.resume([COUNTER], folds={"counter": Counters.fold})
        assert stream.snapshot is not None
        assert len(stream.events) == 20
        assert (await runtime.state("counter", COUNTER)).state.total == 2 * (EVERY + 20)
        verified = await log.verify([KindFold(Counters())])
        assert verified.ok, verified.faults


@pytest.mark.trio
async def test_a_short_stream_has_no_snapshot(tmp_path: Path, autojump_clock: object) -> None:
    path = tmp_path / "log.db"
    await count_to(path, 30)
    async with living(path, [Counters()]) as (_, log):
        assert await resumed(log) is None


@pytest.mark.trio
@pytest.mark.parametrize("spoil", ["UPDATE snapshots SET fold = 99", "UPDATE snapshots SET payload = x'7b'"])
async def test_a_snapshot_of_another_fold_or_that_cannot_be_read_is_passed_over(
    spoil: str, tmp_path: Path, autojump_clock: object
) -> None:
    path = tmp_path / "log.db"
    await count_to(path, EVERY + 5)
    with sqlite3.connect(path) as connection:
        connection.execute(spoil)
    connection.close()
    async with living(path, [Counters()]) as (runtime, _):
        assert (await runtime.state("counter", COUNTER)).state.total == 2 * (EVERY + 5)


@pytest.mark.trio
async def test_verification_names_a_snapshot_that_lies(tmp_path: Path, autojump_clock: object) -> None:
    path = tmp_path / "log.db"
    await count_to(path, EVERY)
    with sqlite3.connect(path) as connection:
        lie = folded(Counters(), [1] * EVERY).snapshot()
        connection.execute("UPDATE snapshots SET payload = ?", (lie,))
    connection.close()
    async with living(path, [Counters()]) as (_, log):
        verified = await log.verify([KindFold(Counters())])
    assert [(fault.actor, fault.version) for fault in verified.faults] == [(COUNTER, EVERY)]
    assert "snapshot" in verified.faults[0].reason


async def resumed(log: SqliteLog) -> bytes | None:
    """The counter's snapshot, if there is one."""
    (stream,) = await log.resume([COUNTER], folds={"counter": Counters.fold})
    return stream.snapshot
