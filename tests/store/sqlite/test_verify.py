"""What verification finds, and that it names the first bad record."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import trio

from perdure.events.errors import NotFound
from perdure.store.records import Claim, ItemRow
from perdure.store.replay import state_at
from perdure.store.sqlite import Fault, Progress, Verified, fold_all, open_log, open_reader
from tests.store.sqlite.toys import AT, CODEC, TOY, Added, Ended, Hand, Opened, Sum, Toy, append, tamper


async def make(path: Path) -> str:
    """Three toys, written turn by turn, one commit each; gives the head."""
    hands = [Hand(f"toy_{number}") for number in range(3)]
    async with open_log(path, codecs=[CODEC]) as log:
        for turn in range(4):
            for number, hand in enumerate(hands):
                items = [ItemRow(turn, f"line-{turn}", "ok", "b", 0, 1)] if number == 1 else []
                await log.append(hand.events(Added(by=turn * 10 + number, items=items, blobs=["b"] if items else [])))
        return (await log.verify([TOY])).head


async def check(path: Path, kept_head: str | None = None) -> Verified:
    """Verifies a closed log."""
    async with open_reader(path, codecs=None) as reader:
        return await reader.verify([TOY], kept_head=kept_head)


@pytest.mark.trio
async def test_a_whole_log_verifies(tmp_path: Path) -> None:
    head = await make(tmp_path / "log.db")
    found = await check(tmp_path / "log.db", head)
    found.raise_if_bad()
    assert (found.ok, found.head, found.commits, found.records) == (True, head, 12, 12)
    assert (found.actors, found.items, found.outdated, found.anomalies) == (3, 4, 0, 0)
    assert head.startswith("12:")


@pytest.mark.trio
async def test_w76_an_edited_payload_breaks_the_chain_at_its_record(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", 'UPDATE events SET payload = \'{"event":"added","by":7}\' WHERE position = 5')
    found = await check(tmp_path / "log.db")
    assert (found.faults[0].position, found.faults[0].actor, found.faults[0].version) == (5, "toy_1", 2)


@pytest.mark.trio
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET at = at + 1 WHERE position = 5",
        "UPDATE events SET trace = 'x' WHERE position = 5",
        "UPDATE events SET principal = 'x' WHERE position = 5",
        "UPDATE events SET key_id = 'x' WHERE position = 5",
        "UPDATE commits SET at = at + 1 WHERE last = 5",
        "UPDATE commits SET hash = zeroblob(32) WHERE last = 5",
        "UPDATE event_types SET name = 'other'",
        "UPDATE streams SET tenant = 'other' WHERE actor = 'toy_1'",
        "UPDATE streams SET actor = 'toy_9' WHERE actor = 'toy_1'",
    ],
)
async def test_an_edited_envelope_breaks_the_chain(tmp_path: Path, change: str) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", change)
    found = await check(tmp_path / "log.db")
    assert not found.ok
    assert found.faults[0].position in (1, 2, 5)


@pytest.mark.trio
@pytest.mark.parametrize("with_commit", [False, True], ids=["record only", "with its commit"])
async def test_a_record_dropped_from_the_middle_is_found(tmp_path: Path, with_commit: bool) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", "DELETE FROM events WHERE position = 5")
    if with_commit:
        tamper(tmp_path / "log.db", "DELETE FROM commits WHERE last = 5")
    found = await check(tmp_path / "log.db")
    assert found.faults[0].position == (6 if with_commit else 5)


@pytest.mark.trio
async def test_a_dropped_tail_is_found_with_a_kept_head_even_if_every_trace_was_removed(tmp_path: Path) -> None:
    head = await make(tmp_path / "log.db")
    for statement in (
        "DELETE FROM events WHERE position > 9",
        "DELETE FROM commits WHERE last > 9",
    ):
        tamper(tmp_path / "log.db", statement)
    found = await check(tmp_path / "log.db")
    assert "position 12 was given out once" in found.faults[0].reason
    for statement in (
        "UPDATE sqlite_sequence SET seq = 9",
        "UPDATE streams SET version = 3, progress = (SELECT sum(payload ->> '$.by') FROM events WHERE stream = id)",
        "DELETE FROM items WHERE number = 3",
    ):
        tamper(tmp_path / "log.db", statement)
    assert (await check(tmp_path / "log.db")).ok
    found = await check(tmp_path / "log.db", head)
    assert found.faults[0].position == 9
    assert "cut off" in found.faults[0].reason


@pytest.mark.trio
async def test_a_dropped_actor_is_found(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    for table, column in (("events", "stream"), ("items", "stream"), ("blob_references", "stream"), ("streams", "id")):
        tamper(tmp_path / "log.db", f"DELETE FROM {table} WHERE {column} = 2")
    found = await check(tmp_path / "log.db")
    assert found.faults[0] == Fault("a record of the commit of positions 2 to 2 is missing", 2)


@pytest.mark.trio
async def test_a_dropped_actor_row_is_found(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", "DELETE FROM streams WHERE id = 2")
    found = await check(tmp_path / "log.db")
    assert found.faults[0].position == 2
    assert "row of its actor" in found.faults[0].reason


@pytest.mark.trio
async def test_records_of_two_actors_that_changed_places_are_found(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    for statement in (
        "UPDATE events SET position = 100 WHERE position = 4",
        "UPDATE events SET position = 4 WHERE position = 5",
        "UPDATE events SET position = 5 WHERE position = 100",
        "UPDATE sqlite_sequence SET seq = 12",
    ):
        tamper(tmp_path / "log.db", statement)
    found = await check(tmp_path / "log.db")
    assert found.faults[0].position == 4


@pytest.mark.trio
async def test_a_history_that_was_computed_anew_does_not_lead_to_the_kept_head(tmp_path: Path) -> None:
    head = await make(tmp_path / "log.db")
    async with open_log(tmp_path / "other.db", codecs=[CODEC]) as log:
        for number in range(12):
            await log.append(append(f"toy_{number}", 0))
    found = await check(tmp_path / "other.db", head)
    assert "rewritten" in found.faults[0].reason


@pytest.mark.trio
async def test_rows_that_say_otherwise_than_the_events_are_found(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    for statement in (
        "UPDATE streams SET progress = '-1' WHERE id = 1",
        "UPDATE items SET blob = 'c' WHERE number = 2",
        "DELETE FROM blob_references",
        "UPDATE streams SET next_due = NULL WHERE id = 3",
    ):
        tamper(tmp_path / "log.db", statement)
    found = await check(tmp_path / "log.db")
    assert [fault.actor for fault in found.faults] == ["toy_0", "toy_1", "toy_1", "toy_2"]
    assert found.fault_count == 4


@pytest.mark.trio
async def test_a_blob_that_was_released_and_is_still_referenced_is_found(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        hand = Hand("toy_0")
        await log.append(hand.events(Added(blobs=["aa", "bb"]), Added(released=["aa"])))
        assert (await log.verify([TOY])).ok
    tamper(tmp_path / "log.db", "INSERT INTO blob_references VALUES ('aa', 1)")
    found = await check(tmp_path / "log.db")
    assert [fault.reason for fault in found.faults] == ["1 blobs that events release are still referenced"]


@pytest.mark.trio
@pytest.mark.parametrize("folds", [[TOY], []], ids=["folded", "counted"])
async def test_a_row_that_was_written_later_than_its_last_event_is_found(tmp_path: Path, folds: list[Toy]) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", "UPDATE streams SET version = version + 1 WHERE id = 2")
    async with open_reader(tmp_path / "log.db", codecs=None) as reader:
        found = await reader.verify(folds)
    assert [fault.actor for fault in found.faults] == ["toy_1"]
    assert "written at version 5" in found.faults[0].reason


@pytest.mark.trio
async def test_a_record_that_does_not_decode_is_named(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    tamper(tmp_path / "log.db", "UPDATE events SET payload = '{' WHERE position = 8")
    found = await check(tmp_path / "log.db")
    assert [(fault.position, fault.actor, fault.version) for fault in found.faults] == [(8, "toy_1", 3)] * 2


@pytest.mark.trio
async def test_anomalies_and_rows_of_another_fold_are_counted_not_compared(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        hand = Hand("toy_1")
        await log.append(hand.events(Opened(), Ended(), Added(by=1)))
        await log.append(append("other", 0))
        newer = Toy()
        newer.fold = 2
        said: list[Progress] = []
        found = await log.verify([newer], progress=said.append)
    assert (found.anomalies, found.outdated, found.ok) == (1, 2, True)


@pytest.mark.trio
async def test_progress_is_told_in_both_phases(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC], synchronous="NORMAL") as log:
        async with trio.open_nursery() as nursery:
            for number in range(2_500):
                nursery.start_soon(log.append, Hand(f"toy_{number}").events(Added(by=1)))
        said: list[Progress] = []
        found = await log.verify([TOY], progress=said.append)
    found.raise_if_bad()
    assert {each.phase for each in said} == {"chain", "fold"}
    assert all(each.total == 2_500 for each in said)


@pytest.mark.trio
async def test_any_version_of_an_actor_can_be_folded(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, *([1] * 5_000))
        assert await state_at(log, "toy_1", [TOY], version=0) == (0, Sum())
        assert await state_at(log, "toy_1", [TOY], version=3) == (3, Sum(total=3, version=3))
        assert await state_at(log, "toy_1", [TOY]) == (5_000, hand.state)
        assert await state_at(log, "toy_1", [TOY], time=AT - 1) == (0, Sum())
        with pytest.raises(NotFound):
            await state_at(log, "toy_9", [TOY])
        with pytest.raises(NotFound, match="nothing here folds"):
            await state_at(log, "toy_1", [])


@pytest.mark.trio
async def test_a_whole_log_is_folded_in_stream_order(tmp_path: Path) -> None:
    hands = [Hand(f"toy_{number}") for number in range(1_200)]
    async with open_log(tmp_path / "log.db", codecs=[CODEC], synchronous="NORMAL") as log:
        for turn in range(3):
            async with trio.open_nursery() as nursery:
                for hand in hands[turn * 100 :]:
                    nursery.start_soon(log.append, hand.events(Added(by=turn)))
    expected = [(hand.actor, hand.version, hand.state) for hand in hands]
    assert sorted(fold_all(tmp_path / "log.db", [TOY])) == sorted(expected)
    assert list(fold_all(tmp_path / "log.db", [])) == []


@pytest.mark.trio
async def test_a_damaged_page_is_a_fault_not_an_exception(tmp_path: Path) -> None:
    await make(tmp_path / "log.db")
    connection = sqlite3.connect(tmp_path / "log.db")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'commits'").fetchone()
    connection.close()
    path = trio.Path(tmp_path / "log.db")
    whole = bytearray(await path.read_bytes())
    whole[(root - 1) * 4_096 : root * 4_096] = b"\xff" * 4_096
    await path.write_bytes(bytes(whole))
    found = await check(tmp_path / "log.db")
    assert "SQLite cannot read the file" in found.faults[0].reason


@pytest.mark.trio
async def test_the_key_of_an_item_is_compared_with_its_event(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(Hand("toy_1").events(Added(by=1, claims=[Claim("a", 0, "x"), Claim("b", 1, "y")])))
    assert (await check(tmp_path / "log.db")).ok
    tamper(tmp_path / "log.db", "UPDATE keys SET number = 7 WHERE key = 'b'")
    found = await check(tmp_path / "log.db")
    assert "the key of item 1" in found.faults[0].reason
