"""Required behaviours of the store, each test named by its number, read as: for our log."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from perdure.events.errors import Corrupt
from perdure.store.records import Holder, KeyTaken, Standing
from perdure.store.sqlite import open_log, open_reader
from tests.store.sqlite.toys import CODEC, TOY, Added, Ended, Hand, append, tamper

STRANGE = ["a:b", "a/b\\c", "two words", "ключ-鍵-🔑", "x" * 10_000, "'; DROP TABLE keys; --", "%41", "..", "\t\n"]


@pytest.mark.trio
async def test_p1_what_is_not_there_reads_as_none(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.row("toy_1") is None
        assert await log.find_key("", "k") is None
        assert await log.load(["toy_1"]) == []
        assert await log.stream("toy_1") == []
        assert await log.items("toy_1", first=0, last=9) == []
        assert await log.head() == 0


@pytest.mark.trio
async def test_p2_what_was_appended_reads_back_and_a_key_is_given_back_once(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1, key="k")
        await hand.add(log, 2)
        (stream,) = await log.load(["toy_1"])
        assert [CODEC.decode(payload) for _, _, payload in stream.events] == [Added(by=1), Added(by=2)]
        with pytest.raises(KeyTaken):
            await log.append(append("toy_2", 0, key="k"))
        await log.append(hand.events(Ended(), release_key=True))
        await log.append(hand.events(Added(by=3), release_key=True))  # there is none any more: nothing happens
        assert await log.find_key("", "k") is None
        (stream,) = await log.load(["toy_1"])
        assert len(stream.events) == 4


@pytest.mark.trio
async def test_p3_lists_are_empty_all_or_filtered(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.rows() == []
        for number in range(3):
            await log.append(
                append(f"toy_{number}", 0, standing=Standing(status=f"s{number % 2}", fold=1, next_due=None))
            )
        assert {row.actor for row in await log.rows()} == {"toy_0", "toy_1", "toy_2"}
        assert {row.actor for row in await log.rows(status="s0")} == {"toy_0", "toy_2"}
        assert await log.rows(kind="other") == []


@pytest.mark.trio
async def test_p4_changing_what_was_given_or_read_changes_nothing_stored(tmp_path: Path) -> None:
    tags = {"a": "1"}
    given = append("toy_1", 0, standing=Standing(status="s", fold=1, next_due=None, tags=tags))
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(given)
        tags["a"] = "2"
        row = await log.row("toy_1")
        assert row is not None
        assert row.standing.tags == {"a": "1"}
        dict(row.standing.tags)["a"] = "3"
        again = await log.row("toy_1")
        assert again == row
        # What the writer remembers of the row is no way in either: the next append with the changed tags is written.
        await log.append(append("toy_1", 1, standing=Standing(status="s", fold=1, next_due=None, tags=tags)))
        changed = await log.row("toy_1")
        assert changed is not None
        assert changed.standing.tags == {"a": "2"}


@pytest.mark.trio
@pytest.mark.parametrize("form", [str, Path], ids=["text path", "path object"])
async def test_p5_strange_keys_survive_a_new_process_and_read_back_as_they_were(
    tmp_path: Path, form: type[str] | type[Path]
) -> None:
    path = form(tmp_path / "a log # with ? odd % name.db")
    async with open_log(path, codecs=[CODEC]) as log:
        for number, key in enumerate(STRANGE):
            await Hand(f"toy_{number}", tenant=key).add(log, 1, key=key)
    async with open_reader(path) as reader:
        for number, key in enumerate(STRANGE):
            assert await reader.find_key(key, key) == Holder(f"toy_{number}")
        assert [row.key for row in reversed(await reader.rows())] == STRANGE
        assert [row.tenant for row in reversed(await reader.rows())] == STRANGE


@pytest.mark.trio
async def test_w76_damage_is_an_error_and_never_absence(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1, 2, 3)
    for statement in (
        "UPDATE events SET payload = substr(payload, 1, 9) WHERE position = 2",
        "DELETE FROM events WHERE position = 3",
    ):
        tamper(tmp_path / "log.db", statement)
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.row("toy_1") is not None
        with pytest.raises(Corrupt) as corrupt:
            (await log.verify([TOY])).raise_if_bad()
        assert corrupt.value.position is not None


@pytest.mark.trio
async def test_w77_a_timer_is_a_row_that_survives_and_is_written_with_its_events(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(append("toy_1", 0, standing=Standing(status="s", fold=1, next_due=50)))
        await log.append(append("toy_2", 0, standing=Standing(status="s", fold=1, next_due=20)))
        await log.append(append("toy_3", 0, standing=Standing(status="s", fold=1, next_due=None)))
        log.move_due("toy_2", 70)
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert [(row.actor, row.standing.next_due) for row in await log.due()] == [("toy_1", 50), ("toy_2", 70)]
        await log.append(append("toy_1", 1, standing=Standing(status="s", fold=1, next_due=None)))  # it fired, once
        assert [row.actor for row in await log.due()] == ["toy_2"]


@pytest.mark.trio
async def test_w78_one_more_step_of_a_long_job_writes_one_row_not_the_job(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for _ in range(10):
            await log.append(hand.events(*[Added(by=1)] * 1_000))
        wal = trio.Path(tmp_path / "log.db-wal")
        before = (await wal.stat()).st_size
        await hand.add(log, 1)
        grown = (await wal.stat()).st_size - before
    assert grown <= 16 * (4_096 + 24)  # the pages of a few rows and index entries, whatever came before
