"""Google's file store against the simulator, over the network engine and real sockets."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import pytest

from perdure.actors.fetch import Refused, Unknown
from perdure.adapters.google import GoogleFiles
from perdure.adapters.google.names import planted_name
from perdure.adapters.simulator import GOOGLE_PREFIX
from perdure.adapters.simulator.faults import (
    ActThenDrop,
    AnswerStatus,
    CutRequest,
    Drop,
    FailProcessing,
    Fault,
    Truncate,
    WrongContentType,
)
from tests.adapters.google.rig import CHUNK, FILES, GRANULE, PROCESSING_S, START_S, UPLOADS, Given, Killed, Rig, rig
from tests.secrets import wrong_key

pytestmark = pytest.mark.trio

START_US = int(START_S * 1_000_000)
HOURS_48_US = 172_800_000_000
FILE = f"GET {GOOGLE_PREFIX}/v1/files/*"


def noise(size: int) -> bytes:
    """Bytes that no chunk repeats."""
    return Random(size).randbytes(size)


def assert_bought_once(it: Rig, given: Given) -> None:
    """The account shows the file once, whole, under what was planted."""
    (purchase,) = it.simulator.account.purchases(kind="file", provider="google")
    assert purchase.identity == given.filename
    assert purchase.payload == hashlib.sha256(given.data).hexdigest()


# ---------------------------------------------------------------- what is stored


async def test_a_file_is_stored_shown_and_deleted() -> None:
    async with rig() as it:
        given = Given(b"x" * 1000)
        stored = await FILES.upload(it.fetch, given.upload())
        assert stored.id == planted_name(given.filename)
        assert stored.reference == f"{it.base_url}/v1/{stored.id}"
        assert (stored.filename, stored.size_bytes, stored.mime_type) == (given.filename, 1000, given.mime_type)
        assert (stored.created_at, stored.expires_at) == (START_US, START_US + HOURS_48_US)
        assert (stored.readiness, stored.error) == ("ready", "")
        assert it.sent() == [("start", it.sent()[0][1]), ("upload, finalize", 1000)]
        assert_bought_once(it, given)
        assert await FILES.info(it.fetch, stored.id) == stored
        await FILES.delete(it.fetch, stored.id)
        assert await FILES.info(it.fetch, stored.id) is None
        await FILES.delete(it.fetch, stored.id)


@pytest.mark.parametrize("size", [0, 1, GRANULE, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
async def test_every_size_goes_in_chunks_of_eight_mebibytes(size: int) -> None:
    async with rig() as it:
        given = Given(noise(size))
        assert (await FILES.upload(it.fetch, given.upload())).size_bytes == size
        (_, *chunks) = it.sent()
        assert [command for command, _ in chunks] == ["upload"] * (len(chunks) - 1) + ["upload, finalize"]
        assert all(sent == CHUNK for _, sent in chunks[:-1])
        assert sum(sent for _, sent in chunks) == size
        assert_bought_once(it, given)


@pytest.mark.parametrize(("asked", "chunk"), [(1, GRANULE), (GRANULE, GRANULE), (GRANULE + 1, 2 * GRANULE)])
async def test_smaller_chunks_are_whole_granules(asked: int, chunk: int) -> None:
    async with rig() as it:
        given = Given(noise(2 * chunk + 5))
        await GoogleFiles(chunk_bytes=asked).upload(it.fetch, given.upload())
        (_, *chunks) = it.sent()
        assert [sent for _, sent in chunks] == [chunk, chunk, 5]
        assert_bought_once(it, given)


@pytest.mark.parametrize("form", ["uri", "name", "bare id"])
async def test_f14_delete_and_info_accept_the_uri_the_name_and_the_bare_id(form: str) -> None:
    async with rig() as it:
        stored = await FILES.upload(it.fetch, Given(b"x").upload())
        forms = {"uri": stored.reference, "name": stored.id, "bare id": stored.id.removeprefix("files/")}
        assert await FILES.info(it.fetch, forms[form]) == stored
        await FILES.delete(it.fetch, forms[form])
        assert await FILES.info(it.fetch, forms[form]) is None


async def test_w55_a_listing_reads_every_page() -> None:
    async with rig() as it:
        names = {(await FILES.upload(it.fetch, Given(b"x", filename=f"f{n}").upload())).id for n in range(205)}
        listed = [file.id async for file in FILES.listing(it.fetch)]
        assert (len(listed), set(listed)) == (205, names)
        assert len(it.simulator.traffic.requests()) == 2 * 205 + 3
    async with rig() as it:
        assert [file async for file in FILES.listing(it.fetch)] == []


async def test_media_are_processed_first_and_may_fail() -> None:
    async with rig() as it:
        it.simulator.faults.arm(FailProcessing(message="no frames"))
        bad = await FILES.upload(it.fetch, Given(b"x", filename="bad", mime_type="video/mp4").upload())
        good = await FILES.upload(it.fetch, Given(b"y", filename="good", mime_type="video/mp4").upload())
        assert (bad.readiness, good.readiness) == ("processing", "processing")
        it.simulator.clock.advance(PROCESSING_S)
        (bad_now,) = await FILES.find(it.fetch, filename="bad", size_bytes=1, since=START_US)
        good_now = await FILES.info(it.fetch, good.id)
        assert good_now is not None
        assert (bad_now.readiness, bad_now.error, good_now.readiness) == ("failed", "no frames", "ready")


async def test_an_expired_file_is_gone() -> None:
    async with rig() as it:
        given = Given(b"x")
        stored = await FILES.upload(it.fetch, given.upload())
        it.simulator.clock.advance(HOURS_48_US / 1_000_000)
        assert await FILES.info(it.fetch, stored.id) is None
        assert await FILES.find(it.fetch, filename=given.filename, size_bytes=1, since=START_US) == ()
        await FILES.delete(it.fetch, stored.id)
        assert (await FILES.upload(it.fetch, given.upload())).id == stored.id, "its name is free again"


# ---------------------------------------------------------------- found again


async def test_a_file_is_found_by_its_planted_name_and_never_stored_twice() -> None:
    async with rig() as it:
        given = Given(b"x" * 10)
        assert await FILES.find(it.fetch, filename=given.filename, size_bytes=10, since=START_US) == ()
        stored = await FILES.upload(it.fetch, given.upload())
        assert await FILES.find(it.fetch, filename=given.filename, size_bytes=10, since=START_US) == (stored,)
        assert await FILES.find(it.fetch, filename=given.filename, size_bytes=11, since=START_US) == ()
        assert await FILES.upload(it.fetch, given.upload()) == stored
        assert_bought_once(it, given)


async def test_a_name_that_is_taken_by_a_file_that_cannot_be_read_is_a_conflict() -> None:
    async with rig() as it:
        await FILES.upload(it.fetch, Given(b"x").upload())
        it.simulator.faults.arm(
            AnswerStatus(route=FILE, status=403, body={"error": {"code": 403, "message": "no", "status": "X"}})
        )
        with pytest.raises(Refused) as refused:
            await FILES.upload(it.fetch, Given(b"x").upload())
        assert (refused.value.kind, refused.value.retryable) == ("conflict", True)


# ---------------------------------------------------------------- what breaks


async def test_a_chunk_that_breaks_off_is_gone_on_with_where_it_broke() -> None:
    async with rig() as it:
        given = Given(noise(3 * CHUNK))
        it.simulator.faults.arm(CutRequest(route=UPLOADS, skip=2, after_bytes=5 * GRANULE + 77))
        await FILES.upload(it.fetch, given.upload())
        assert [command for command, _ in it.sent()] == [
            "start",
            "upload",
            "upload",
            "query",
            "upload",
            "upload, finalize",
        ]
        assert it.file_bytes_sent() - len(given.data) < CHUNK
        assert_bought_once(it, given)
        assert len(given.kept) == 1


@pytest.mark.parametrize("at", [0, CHUNK // 2, CHUNK, 2 * CHUNK - 1])
async def test_a_restart_goes_on_in_the_kept_session(at: int) -> None:
    async with rig() as it:
        given = Given(noise(2 * CHUNK + 5), breaks_at=at)
        with pytest.raises(Killed):
            await FILES.upload(it.fetch, given.upload())
        (session,) = given.kept
        assert it.simulator.account.purchases() == []
        again = Given(given.data, session=session)
        await FILES.upload(it.fetch, again.upload())
        assert again.kept == [], "no other session was begun"
        assert [command for command, _ in it.sent()].count("start") == 1
        assert it.file_bytes_sent() - len(given.data) < CHUNK
        assert_bought_once(it, given)


@pytest.mark.parametrize(
    "fault",
    [
        ActThenDrop(route=UPLOADS, skip=2),
        ActThenDrop(route=UPLOADS, skip=1, count=2),
        Drop(route=UPLOADS, skip=1),
        Drop(route=UPLOADS, skip=2, count=2),
        AnswerStatus(route=UPLOADS, skip=1, status=500),
        AnswerStatus(route=UPLOADS, skip=1, status=503),
        AnswerStatus(route=UPLOADS, skip=1, status=500, act=True),
        AnswerStatus(route=UPLOADS, skip=2, status=502, act=True, body="<h1>bad gateway</h1>"),
        WrongContentType(route=UPLOADS, skip=2, body="<html>"),
        Truncate(route=UPLOADS, skip=2, after_bytes=10),
        Truncate(route=UPLOADS, skip=2, after_bytes=10, clean=True),
    ],
    ids=[
        "finalized, dropped",
        "both chunks, dropped",
        "the first, not taken",
        "the last, twice",
        "500",
        "503",
        "500 after all",
        "502 after all",
        "a page",
        "cut",
        "cleanly cut",
    ],
)
async def test_an_upload_survives_what_strikes_its_chunks(fault: Fault) -> None:
    async with rig() as it:
        given = Given(noise(CHUNK + 1000))
        it.simulator.faults.arm(fault)
        stored = await FILES.upload(it.fetch, given.upload())
        assert stored.size_bytes == len(given.data)
        assert_bought_once(it, given)
        assert len(given.kept) == 1
        assert [command for command, _ in it.sent()].count("start") == 1


@pytest.mark.parametrize("fault", [ActThenDrop(route=UPLOADS), Drop(route=UPLOADS)], ids=["begun", "not begun"])
async def test_an_upload_whose_beginning_was_not_heard_of_begins_again(fault: Fault) -> None:
    async with rig() as it:
        given = Given(b"x" * 100)
        it.simulator.faults.arm(fault)
        await FILES.upload(it.fetch, given.upload())
        assert len(given.kept) == 1
        assert_bought_once(it, given)


async def test_what_never_comes_to_an_answer_is_unknown_and_then_found() -> None:
    async with rig() as it:
        given = Given(b"x" * 100)
        it.simulator.faults.arm(ActThenDrop(route=UPLOADS, skip=1, count=None))
        with pytest.raises(Unknown):
            await FILES.upload(it.fetch, given.upload())
        it.simulator.faults.clear()
        (found,) = await FILES.find(it.fetch, filename=given.filename, size_bytes=100, since=START_US)
        again = Given(given.data, session=given.kept[0])
        assert await FILES.upload(it.fetch, again.upload()) == found, "the session is over because it is done"
        assert_bought_once(it, given)


async def test_a_chunk_that_never_arrives_ends_the_upload() -> None:
    async with rig() as it:
        given = Given(b"x" * 100)
        it.simulator.faults.arm(*(Drop(route=UPLOADS, skip=passed) for passed in (1, 2, 3)))
        with pytest.raises(Unknown):
            await FILES.upload(it.fetch, given.upload())
        assert [command for command, _ in it.sent()].count("upload, finalize") == 3
        assert it.simulator.account.purchases() == []


async def test_a_session_whose_time_is_over_is_begun_anew() -> None:
    async with rig() as it:
        given = Given(noise(CHUNK + 5), breaks_at=CHUNK)
        with pytest.raises(Killed):
            await FILES.upload(it.fetch, given.upload())
        it.simulator.clock.advance(8 * 86_400)
        again = Given(given.data, session=given.kept[0])
        await FILES.upload(it.fetch, again.upload())
        assert len(again.kept) == 1
        assert again.kept != given.kept
        assert_bought_once(it, given)


async def test_a_refused_key_ends_an_upload_at_once() -> None:
    async with rig(key=wrong_key()) as it:
        with pytest.raises(Refused) as refused:
            await FILES.upload(it.fetch, Given(b"x").upload())
        assert (refused.value.kind, refused.value.provider_code) == ("auth", "API_KEY_INVALID")
        assert len(it.sent()) == 1


OFF = {"code": 403, "message": "off", "status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"error": OFF}, "auth"), ("<h1>403 Forbidden</h1>", "server_error")],
    ids=["the key's trouble", "somebody in between"],
)
async def test_a_403_that_is_not_about_the_file_is_no_absence(body: dict[str, Any] | str, kind: str) -> None:
    async with rig() as it:
        it.simulator.faults.arm(AnswerStatus(route=FILE, status=403, body=body))
        with pytest.raises(Refused) as refused:
            await FILES.find(it.fetch, filename="a", size_bytes=1, since=START_US)
        assert refused.value.kind == kind


async def test_retry_info_is_the_time_to_come_back() -> None:
    async with rig() as it:
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "340.5s"}
        body = {"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
        it.simulator.faults.arm(AnswerStatus(route=FILE, status=429, body=body))
        with pytest.raises(Refused) as refused:
            await FILES.info(it.fetch, "a")
        assert (refused.value.kind, refused.value.retry_after_s) == ("rate_limit", 340.5)
        assert refused.value.provider_code == "RESOURCE_EXHAUSTED"
