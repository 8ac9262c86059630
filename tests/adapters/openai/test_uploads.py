"""OpenAI's uploads in parts: the adapter against the simulator, over real sockets."""

from __future__ import annotations

import json

import pytest

from perdure.actors.fetch import NotSent, Refused, Unknown
from perdure.adapters.openai import OpenAIRemoteFiles
from perdure.adapters.simulator import OPENAI_PREFIX, faults
from tests.adapters.openai_compatible.rig import AT, OPENAI, Rig, Stored, rig

pytestmark = pytest.mark.trio

PART = 1_000
FILES = OpenAIRemoteFiles(max_plain_bytes=2_000, part_bytes=PART)
DATA = bytes(n * n % 251 for n in range(4_500))
NAME = "log-file-0.txt"
PARTS = f"POST {OPENAI_PREFIX}/uploads/*/parts"
COMPLETE = f"POST {OPENAI_PREFIX}/uploads/*/complete"


async def store(it: Rig, stored: Stored, *, session: str = "") -> bytes:
    """Stores it and gives back what OpenAI has of it then."""
    file = await FILES.upload(it.fetch, stored.upload(session=session))
    assert (file.filename, file.size_bytes) == (NAME, len(stored.data))
    return await it.content(file.id)


async def stopped(it: Rig, stored: Stored, *, after_parts: int) -> str:
    """The session that is left of a process that ended in the middle of the part behind so many."""
    stored.fails_at = after_parts * PART + PART // 2
    with pytest.raises(OSError, match="the disk is gone"):
        await FILES.upload(it.fetch, stored.upload())
    stored.fails_at = None
    assert len(json.loads(stored.kept[-1])["part_ids"]) == after_parts
    stored.offsets.clear()
    return stored.kept[-1]


async def test_a_large_file_goes_in_parts_and_keeps_its_order() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA)
        assert await store(it, stored) == DATA
        assert stored.offsets == [0, 1_000, 2_000, 3_000, 4_000]
        assert (it.asked(PARTS), it.asked(COMPLETE), it.asked(f"POST {OPENAI_PREFIX}/files")) == (5, 1, 0)
        sessions = [json.loads(text) for text in stored.kept]
        assert [len(session["part_ids"]) for session in sessions] == [0, 1, 2, 3, 4, 5]
        assert len({session["upload_id"] for session in sessions}) == 1
        (purchase,) = it.simulator.account.purchases()
        assert (purchase.kind, purchase.identity) == ("file", NAME)
        (found,) = await FILES.find(it.fetch, filename=NAME, size_bytes=len(DATA), since=AT)
        assert found.id == purchase.id


@pytest.mark.parametrize("size", [2_000, 2_001, 3_000, 3_001], ids=str)
async def test_sizes_about_a_limit(size: int) -> None:
    async with rig(OPENAI) as it:
        assert await store(it, Stored(DATA[:size])) == DATA[:size]
        assert it.asked(PARTS) == (0 if size <= 2_000 else -(-size // PART))


async def test_nothing_is_sent_before_its_place_is_kept() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA, fails_at=0)
        with pytest.raises(OSError, match="the disk is gone"):
            await FILES.upload(it.fetch, stored.upload())
        (session,) = stored.kept
        assert json.loads(session)["part_ids"] == []


@pytest.mark.parametrize("after_bytes", [0, 100, 1_100], ids=["at its start", "in its middle", "near its end"])
async def test_a_part_that_was_cut_is_sent_again_and_counts_once(after_bytes: int) -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.CutRequest(route=PARTS, after_bytes=after_bytes, skip=2))
        stored = Stored(DATA)
        assert await store(it, stored) == DATA
        assert stored.offsets == [0, 1_000, 2_000, 2_000, 3_000, 4_000]


async def test_a_part_whose_answer_was_lost_is_sent_again_and_counts_once() -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.ActThenDrop(route=PARTS, skip=1))
        assert await store(it, Stored(DATA)) == DATA
        assert it.asked(PARTS) == 6


async def test_an_upload_that_broke_off_before_its_end_bought_nothing_and_goes_on() -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.CutRequest(route=PARTS, after_bytes=500, skip=2, count=None))
        stored = Stored(DATA)
        with pytest.raises(NotSent) as caught:
            await FILES.upload(it.fetch, stored.upload())
        assert caught.value.retryable
        it.simulator.faults.clear()
        stored.offsets.clear()
        assert await store(it, stored, session=stored.kept[-1]) == DATA
        assert stored.offsets == [2_000, 3_000, 4_000]


async def test_a_restart_goes_on_behind_the_last_part() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA)
        session = await stopped(it, stored, after_parts=2)
        assert await store(it, stored, session=session) == DATA
        assert stored.offsets == [2_000, 3_000, 4_000]
        assert it.asked(f"POST {OPENAI_PREFIX}/uploads") == 1


async def test_a_restart_keeps_the_size_of_its_parts() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA)
        session = await stopped(it, stored, after_parts=2)
        newer = OpenAIRemoteFiles(max_plain_bytes=2_000, part_bytes=300)
        file = await newer.upload(it.fetch, stored.upload(session=session))
        assert await it.content(file.id) == DATA


@pytest.mark.parametrize("session", ["", "not JSON", "{}", '{"upload_id":"","part_bytes":5}'], ids=str)
async def test_a_session_that_cannot_be_read_is_none(session: str) -> None:
    async with rig(OPENAI) as it:
        assert await store(it, Stored(DATA), session=session) == DATA


async def test_an_upload_that_has_lapsed_begins_again() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA)
        session = await stopped(it, stored, after_parts=2)
        it.simulator.clock.advance(3_600)
        assert await store(it, stored, session=session) == DATA
        assert stored.offsets[-5:] == [0, 1_000, 2_000, 3_000, 4_000]
        assert it.asked(f"POST {OPENAI_PREFIX}/uploads") == 2


async def test_an_upload_that_lapsed_before_its_end_is_forgotten_and_worth_another_attempt() -> None:
    async with rig(OPENAI) as it:
        stored = Stored(DATA)
        it.simulator.faults.arm(faults.AnswerStatus(route=COMPLETE, status=503, count=None))
        with pytest.raises(Refused):
            await FILES.upload(it.fetch, stored.upload())
        it.simulator.faults.clear()
        it.simulator.clock.advance(3_600)
        with pytest.raises(Refused) as caught:
            await FILES.upload(it.fetch, stored.upload(session=stored.kept[-1]))
        assert caught.value.retryable
        assert stored.kept[-1] == ""
        assert await store(it, stored) == DATA


async def test_a_completion_whose_answer_was_lost_is_unknown_and_found_again() -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.ActThenDrop(route=COMPLETE))
        with pytest.raises(Unknown):
            await FILES.upload(it.fetch, Stored(DATA).upload())
        (found,) = await FILES.find(it.fetch, filename=NAME, size_bytes=len(DATA), since=AT)
        assert await it.content(found.id) == DATA
        assert it.simulator.account.bought_twice() == []


@pytest.mark.parametrize("body", ["", '{"id":"upload_1"}', '{"id":"upload_1","file":null}'], ids=str)
async def test_a_completion_that_names_no_file_is_unknown(body: str) -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.AnswerStatus(route=COMPLETE, status=200, body=body))
        with pytest.raises(Unknown):
            await FILES.upload(it.fetch, Stored(DATA).upload())


async def test_what_is_refused_at_once_is_not_begun_again() -> None:
    async with rig(OPENAI) as it:
        it.simulator.faults.arm(faults.AnswerStatus(route=PARTS, status=400, count=None))
        with pytest.raises(Refused):
            await FILES.upload(it.fetch, Stored(DATA).upload())
        assert it.asked(f"POST {OPENAI_PREFIX}/uploads") == 1
