"""What an append leaves behind, and how it is read again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace

from perdure.events.event import EncodedEvent, Origin
from perdure.store.disk import Disk, InlineDisk, ThreadDisk
from perdure.store.records import Append, Appended, Claim, Holder, ItemRow, KeyTaken, Standing
from perdure.store.sqlite import open_log, open_reader
from tests.store.sqlite.toys import AT, CODEC, TOY, Added, Ended, Hand, Opened, append, listing


@pytest.fixture(params=["threads", "inline"])
def disk(request: pytest.FixtureRequest) -> Disk:
    return ThreadDisk(4) if request.param == "threads" else InlineDisk()


@pytest.mark.trio
async def test_what_was_appended_is_read_again_after_reopening(tmp_path: Path, disk: Disk) -> None:
    hand = Hand("toy_1", tenant="acme")
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        first = await log.append(hand.events(Opened(name="one"), Added(by=2), key="k", trace="t-1"))
        second = await hand.add(log, 5)
        log_id = log.log_id
    assert (first, second) == (Appended(2, 2), Appended(3, 3))
    async with open_log(tmp_path / "log.db", codecs=[CODEC], disk=disk) as log:
        assert log.log_id == log_id
        row = await log.row("toy_1")
        assert row is not None
        assert (row.kind, row.tenant, row.key, row.version) == ("toy", "acme", "k", 3)
        assert (row.created_at, row.updated_at, row.standing.progress) == (AT, AT, "7")
        (stream,) = await log.load(["toy_1", "toy_2"])
        assert [(version, CODEC.decode(payload)) for version, _, payload in stream.events] == [
            (1, Opened(name="one")),
            (2, Added(by=2)),
            (3, Added(by=5)),
        ]
        records = await log.records()
        assert [(r.position, r.actor, r.version, r.type, r.trace) for r in records] == [
            (1, "toy_1", 1, "opened", "t-1"),
            (2, "toy_1", 2, "added", "t-1"),
            (3, "toy_1", 3, "added", ""),
        ]
        assert await log.find_key("acme", "k") == Holder("toy_1")
        assert await log.find_key("", "k") is None
        assert await log.head() == 3
        assert await log.append(hand.events(Ended())) == Appended(4, 4)


@pytest.mark.trio
async def test_load_can_be_bounded_by_versions(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await hand.add(log, 1, 2, 3, 4)
        (stream,) = await log.load(["toy_1"], after=1, until=3)
        assert [version for version, _, _ in stream.events] == [2, 3]
        assert stream.row.version == 4
        assert [record.version for record in await log.stream("toy_1", after=2, limit=1)] == [3]
        assert [record.position for record in await log.records(after=1, until=3, limit=9)] == [2, 3]


@pytest.mark.trio
async def test_payloads_can_be_queried_with_plain_sql(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await Hand("toy_1").add(log, 41, 1)
        found = await log.read(
            lambda connection: connection.execute("SELECT sum(payload ->> '$.by') FROM events").fetchone()
        )
    assert found == (42,)


@pytest.mark.trio
async def test_p3_rows_are_listed_newest_first_by_page_and_filter(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for number in range(7):
            standing = Standing(
                status="odd" if number % 2 else "even",
                fold=1,
                next_due=None,
                provider="openai",
                group=f"g{number % 3}",
                tags={"n": str(number), 'quo"ted': "yes"},
            )
            await log.append(append(f"toy_{number}", 0, standing=standing))
        page = await log.rows(limit=3)
        assert [row.actor for row in page] == ["toy_6", "toy_5", "toy_4"]
        assert [row.actor for row in await log.rows(after="toy_4", limit=2)] == ["toy_3", "toy_2"]
        assert [row.actor for row in await log.rows(kind="toy", status="odd")] == ["toy_5", "toy_3", "toy_1"]
        assert [row.actor for row in await log.rows(group="g1", provider="openai")] == ["toy_4", "toy_1"]
        assert [row.actor for row in await log.rows(tag=("n", "2"))] == ["toy_2"]
        assert len(await log.rows(tag=('quo"ted', "yes"), tenant="")) == 7
        assert not await log.rows(tenant="acme")
        assert page[0].standing.tags == {"n": "6", 'quo"ted': "yes"}


@pytest.mark.trio
async def test_an_item_is_replaced_but_keeps_a_name_that_is_not_given_again(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(hand.events(Added(items=[ItemRow(n, f"line-{n}", "asked", "b1", n, 1) for n in range(5)])))
        await log.append(
            hand.events(Added(items=[ItemRow(3, "", "ok", "b2", 30, 3), ItemRow(9, "", "ok", "b2", 0, 3)]))
        )
        async with trio.open_nursery() as nursery:  # one group: the later row of a number wins, the name stays
            nursery.start_soon(log.append, hand.events(Added(items=[ItemRow(7, "seven", "asked", "b1", 7, 1)])))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(log.append, hand.events(Added(items=[ItemRow(7, "", "ok", "b3", 0, 9)])))
        assert await log.items("toy_1", first=3, last=7) == [
            ItemRow(3, "line-3", "ok", "b2", 30, 3),
            ItemRow(4, "line-4", "asked", "b1", 4, 1),
            ItemRow(7, "seven", "ok", "b3", 0, 9),
        ]
        assert await log.items_by_number("toy_1", [0, 9, 77]) == {
            0: ItemRow(0, "line-0", "asked", "b1", 0, 1),
            9: ItemRow(9, "", "ok", "b2", 0, 3),
        }
        assert await log.item_named("toy_1", "line-4") == ItemRow(4, "line-4", "asked", "b1", 4, 1)
        assert await log.item_named("toy_1", "") is None
        assert await log.item_named("toy_2", "line-4") is None


@pytest.mark.trio
async def test_p2_a_key_is_claimed_once_and_can_be_given_back(tmp_path: Path) -> None:
    first, second = Hand("toy_1"), Hand("toy_2")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await first.add(log, 1, key="k")
        with pytest.raises(KeyTaken) as taken:
            await log.append(append("toy_2", 0, key="k"))
        assert taken.value.holder == Holder("toy_1")
        assert await log.row("toy_2") is None
        await log.append(first.events(Ended(), release_key=True))
        assert await log.find_key("", "k") is None
        await second.add(log, 1, key="k")
        assert await log.find_key("", "k") == Holder("toy_2")
        row = await log.row("toy_1")
        assert row is not None
        assert row.key is None


@pytest.mark.trio
async def test_keys_of_items_share_the_namespace_and_are_claimed_all_or_none(tmp_path: Path) -> None:
    claims = [Claim("a", 0, "digest-a"), Claim("b", 1, "digest-b")]
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(append("toy_1", 0, claims=claims))
        assert await log.find_keys("", ["a", "b", "c"]) == {
            "a": Holder("toy_1", 0, "digest-a"),
            "b": Holder("toy_1", 1, "digest-b"),
        }
        with pytest.raises(KeyTaken) as taken:
            await log.append(append("toy_2", 0, key="c", claims=[Claim("d", 0, ""), Claim("b", 1, "")]))
        assert (taken.value.key, taken.value.holder) == ("b", Holder("toy_1", 1, "digest-b"))
        with pytest.raises(KeyTaken) as taken:
            await log.append(append("toy_2", 0, key="a"))
        assert taken.value.holder == Holder("toy_1", 0, "digest-a")
        assert await log.find_keys("", ["c", "d"]) == {}
        assert await log.row("toy_2") is None
        await log.append(append("toy_3", 0, tenant="other", claims=[Claim("a", 0, "")]))
        assert await log.find_key("other", "a") == Holder("toy_3", 0)


@pytest.mark.trio
async def test_rows_come_due_in_order_and_page_over_equal_times(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for number, due in enumerate([50, 10, None, 10, 10, 30]):
            standing = Standing(status="running", fold=1, next_due=due)
            await log.append(append(f"toy_{number}", 0, standing=standing))
        first = await log.due(limit=2)
        assert [row.actor for row in first] == ["toy_1", "toy_3"]
        rest = await log.due(after=(10, "toy_3"))
        assert [(row.actor, row.standing.next_due) for row in rest] == [("toy_4", 10), ("toy_5", 30), ("toy_0", 50)]


@pytest.mark.trio
async def test_a_standing_is_rewritten_when_the_fold_changed(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for number in range(3):
            standing = Standing(status="running", fold=1, next_due=None, terminal=number == 0)
            await log.append(append(f"toy_{number}", 0, standing=standing))
        assert await log.outdated("toy", 2) == ["toy_1", "toy_2", "toy_0"]
        assert await log.outdated("toy", 1) == []
        await log.restate(
            {"toy_1": Standing(status="new", fold=2, next_due=4), "toy_9": Standing(status="", fold=2, next_due=1)}
        )
        assert await log.outdated("toy", 2) == ["toy_2", "toy_0"]
        row = await log.row("toy_1")
        assert row is not None
        assert (row.version, row.standing) == (1, Standing(status="new", fold=2, next_due=4))
        assert await log.append(append("toy_1", 1, standing=Standing(status="x", fold=2, next_due=5))) == Appended(4, 2)


@pytest.mark.trio
async def test_an_event_that_leaves_the_standing_alone_does_not_write_the_row(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    ten, twelve = (Standing(status="running", fold=1, next_due=None, progress=each) for each in ("10", "12"))
    async with open_log(path, codecs=[CODEC]) as log:
        for version, standing in enumerate([ten, ten, twelve, twelve, twelve]):
            event = EncodedEvent("opened", 1, AT + version + 1, b'{"event":"opened"}')
            await log.append(msgspec.structs.replace(append("toy_1", version, standing=standing), events=(event,)))
        row = await log.row("toy_1")
        assert row is not None
        assert (row.version, row.updated_at, row.standing) == (5, AT + 5, twelve)
        assert await log.rows(kind="toy") == [row]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version, updated_at FROM streams").fetchall() == [(3, AT + 3)]
    async with open_log(path, codecs=[CODEC]) as log:
        assert await log.append(append("toy_1", 5, standing=twelve)) == Appended(6, 6)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("payload", "stored_as"),
    [(b'{"name":"\xc3\xa9"}', "text"), (b"\x00{", "text"), (b"\xff\x00{", "blob")],
    ids=["JSON", "a zero byte", "no UTF-8"],
)
async def test_a_payload_is_read_byte_for_byte_and_is_text_for_sql(
    tmp_path: Path, payload: bytes, stored_as: str
) -> None:
    path = tmp_path / "log.db"
    async with open_log(path, codecs=[CODEC]) as log:
        event = EncodedEvent("opened", 1, AT, payload)
        await log.append(msgspec.structs.replace(append("toy_1", 0), events=(event,)))
        assert [record.payload for record in await log.records()] == [payload]
        assert (await log.verify()).ok
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT typeof(payload) FROM events").fetchone() == (stored_as,)


@pytest.mark.trio
@pytest.mark.parametrize("actors", [1, 7, 8, 65, 200])
async def test_a_group_of_any_size_is_written_whole(tmp_path: Path, actors: int) -> None:
    names = [f"toy_{number}" for number in range(actors)]
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for version in range(3):
            async with trio.open_nursery() as nursery:
                for name in names:
                    standing = Standing(status="running", fold=1, next_due=None, progress=f"{version} of {name}")
                    nursery.start_soon(log.append, append(name, version, standing=standing))
        streams = await log.load(names)
        assert [(stream.row.actor, stream.row.version, len(stream.events)) for stream in streams] == [
            (name, 3, 3) for name in names
        ]
        assert [stream.row.standing.progress for stream in streams] == [f"2 of {name}" for name in names]


@pytest.mark.trio
async def test_positions_are_never_given_out_again(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    async with open_log(path, codecs=[CODEC]) as log:
        await Hand("toy_1").add(log, 1, 2, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM events")
        connection.execute("DELETE FROM commits")
    connection.close()
    async with open_log(path, codecs=[CODEC]) as log:
        assert await Hand("toy_2").add(log, 1) == Appended(4, 1)


@pytest.mark.trio
async def test_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
            await Hand("toy_1").add(log, 1)
            modes = {name: mode for name, (mode, _) in listing(tmp_path).items()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm", "log.db-lock"), 0o600)
    assert list(listing(tmp_path)) == ["log.db"]


@pytest.mark.trio
async def test_a_follower_gets_what_was_and_what_comes(tmp_path: Path) -> None:
    first, second = Hand("toy_1"), Hand("toy_2")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log, trio.open_nursery() as nursery:
        await first.add(log, 1, 2)
        of_all: list[int] = []
        of_one: list[int] = []

        async def follow(into: Callable[[int], None], actor: str | None, after: int) -> None:
            async for record in log.follow(after=after, actor=actor):
                into(record.position)

        nursery.start_soon(follow, of_all.append, None, 1)
        nursery.start_soon(follow, of_one.append, "toy_2", 0)
        with trio.fail_after(5):
            await second.add(log, 3)
            await first.add(log, 4)
            await second.add(log, 5)
            while of_all != [2, 3, 4, 5] or of_one != [3, 5]:
                await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_listeners_are_told_of_each_commit(tmp_path: Path) -> None:
    told: list[tuple[str, Appended]] = []
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        with log.on_commit(lambda written: told.extend((append.actor, done) for append, done in written)):
            await hand.add(log, 1)
            await hand.add(log, 2)
        await hand.add(log, 3)
    assert told == [("toy_1", Appended(1, 1)), ("toy_1", Appended(2, 2))]


@pytest.mark.trio
async def test_blobs_that_events_name_are_known_until_they_are_forgotten(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(Hand("toy_1").events(Added(blobs=["aa", "bb"])))
        await log.append(Hand("toy_2").events(Added(blobs=["bb"])))
        assert await log.referenced(["aa", "bb", "cc"]) == {"aa", "bb"}
        await log.forget("toy_1")
        assert await log.referenced(["aa", "bb", "cc"]) == {"bb"}


@pytest.mark.trio
async def test_blobs_are_released_by_the_append_that_says_so_and_only_for_its_actor(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        first, second = Hand("toy_1"), Hand("toy_2")
        await log.append(first.events(Added(blobs=["aa", "bb"])))
        await log.append(second.events(Added(blobs=["bb"])))
        await log.append(first.events(Added(released=["aa", "bb", "never named"])))
        assert await log.referenced(["aa", "bb"]) == {"bb"}
        assert (await log.verify([TOY])).ok
        await log.append(first.events(Added(blobs=["aa"])))
        assert await log.referenced(["aa", "bb"]) == {"aa", "bb"}
        assert (await log.verify([TOY])).ok


@pytest.mark.trio
async def test_an_actor_is_found_by_the_names_that_others_have_for_it(tmp_path: Path) -> None:
    one, two = Hand("toy_1", tenant="acme"), Hand("toy_2")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        for hand, names in ((one, ["batch_1", "batch_1", "batch_2"]), (two, ["batch_2"]), (one, ["batch_1"])):
            await log.append(replace(hand.events(Added(by=1)), known_as=names))
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        found = {name: [row.actor for row in await log.known_as(name)] for name in ("batch_1", "batch_2", "batch_3")}
        assert found == {"batch_1": ["toy_1"], "batch_2": ["toy_1", "toy_2"], "batch_3": []}
        (row,) = await log.known_as("batch_1")
        assert (row.tenant, row.version) == ("acme", 2)


@pytest.mark.trio
async def test_a_log_that_knows_no_such_names_learns_them_when_it_is_opened(tmp_path: Path) -> None:
    hand = Hand("toy_1")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        await log.append(replace(hand.events(Added(by=1)), known_as=["batch_1"]))
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("DROP TABLE known_as")
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        assert await log.known_as("batch_1") == []
        await log.append(replace(hand.events(Added(by=1)), known_as=["batch_1"]))
        assert [row.actor for row in await log.known_as("batch_1")] == ["toy_1"]
        (await log.verify()).raise_if_bad()


@pytest.mark.trio
async def test_an_append_without_events_is_a_mistake(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        with pytest.raises(ValueError, match="at least one event"):
            await log.append(Hand("toy_1").events())


@pytest.mark.trio
async def test_the_origin_is_kept_with_each_record(tmp_path: Path) -> None:
    async with open_log(tmp_path / "log.db", codecs=[CODEC]) as log:
        written: Append = append("toy_1", 0, origin=Origin(trace="t", causation="c", principal="p"))
        await log.append(written)
        async with open_reader(tmp_path / "log.db", codecs=[CODEC]) as reader:
            (record,) = await reader.records()
    assert (record.trace, record.causation, record.principal, record.key_id) == ("t", "c", "p", None)
    assert (record.kind, record.schema, record.at) == ("toy", 1, AT)
