"""Files from upload to the end of their bytes under a virtual clock, with copies at providers in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.abc import Clock
from trio.testing import MockClock

from perdure.actors.backing import Watching
from perdure.actors.fetch import CredentialMissing, NotSent, Refused
from perdure.actors.file.state import MARGIN_US
from perdure.actors.service import Reader
from perdure.actors.views import Handle
from perdure.events.errors import (
    FileDeleted,
    FileExpired,
    InvalidRequest,
    InvalidSource,
    KeyConflict,
    NotFound,
    OperationCancelled,
    OperationFailed,
    Rejected,
    TooLarge,
    UnknownProvider,
)
from perdure.events.files import ProviderFile
from perdure.events.messages import FileReference
from tests.actors.file.memory import CHUNK_BYTES, LOST, MAX_BYTES, PLAIN, RESUMABLE, World
from tests.actors.file.rig import filing
from tests.store.blobs.looking import lose

pytestmark = pytest.mark.trio

CONTENT = b"%PDF-1.7 " + bytes(range(256)) * 20
DAY_S = 86_400


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps whenever all tasks wait."""
    return MockClock(autojump_threshold=0)


async def in_pieces(content: bytes, size: int = 700) -> AsyncIterator[bytes]:
    """A stream of unknown length."""
    for start in range(0, len(content), size):
        await trio.lowlevel.checkpoint()
        yield content[start : start + size]


async def fails(asking: Awaitable[Any], error: type[Exception]) -> Any:
    """What was raised, which must be exactly an `error`."""
    with pytest.raises(error) as raised:
        await asking
    assert type(raised.value) is error
    return raised.value


async def blocked(push: Handle[ProviderFile]) -> None:
    """Waits until it is."""
    async with aclosing(push.progress_updates()) as updates:
        async for progress in updates:
            if progress.status == "blocked":
                return


# ---------------------------------------------------------------- the file


async def test_f3_what_is_uploaded_can_be_got_listed_and_read(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        shelf = cabinet.acting_as(tags={"team": "sea"}, subject="ada").files
        file = await shelf.upload(in_pieces(CONTENT), filename="dir/Fjords.pdf", mime_type="text/plain")
        assert file.id.startswith("file_")
        info = await cabinet.files.info(file)
        assert info == await cabinet.files.info(file.id)
        assert (info.id, info.filename, info.shown_name) == (file.id, "Fjords.pdf", "dir/Fjords.pdf")
        assert (info.mime_type, info.declared_mime_type, info.size_bytes) == (
            "application/pdf",
            "text/plain",
            len(CONTENT),
        )
        assert (info.tags, info.subject, info.copies) == ({"team": "sea"}, "ada", [])
        other = await cabinet.files.upload(b"other")
        assert [one.id async for one in cabinet.files.list()] == [other.id, file.id]
        assert [one async for one in cabinet.files.list(tag=("team", "sea"))] == [info]
        assert await cabinet.content(file) == CONTENT
        assert await cabinet.content(file, 5, 1_005) == CONTENT[5:1_005]
        assert await cabinet.content(file, len(CONTENT)) == b""
        for start, end in ((-1, None), (0, len(CONTENT) + 1), (6, 5), (len(CONTENT) + 1, None)):
            with pytest.raises(InvalidRequest, match="is not in the file"):
                await cabinet.content(file, start, end)
        await cabinet.verify()


async def test_the_service_and_readers_know_files(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(CONTENT, key="k")
        push = await cabinet.files.push(file, provider=PLAIN)
        for handle in (await cabinet.get(file.id), await cabinet.find("k")):
            assert handle is not None
            assert (handle.id, handle.kind, handle.key, handle.status) == (file.id, "file", "k", "succeeded")
            assert (await handle.result()).id == file.id
        assert [summary.id async for summary in cabinet.list(kind="file")] == [file.id]
        copy = await cabinet.get(push.id)
        assert copy.id == push.id == f"{file.id}-0"
        assert await copy.result() == await push.result()
        assert [record.type async for record in copy.events()][:3] == ["FileCreated", "CopyOrdered", "PurchaseIntended"]
        with pytest.raises(NotFound):
            await cabinet.get(f"{file.id}-7")
        acting = cabinet.acting
        reader = Reader(Watching(acting.log, acting.blobs, acting.folds, {}, {}))
        assert await (await reader.get(file.id)).result() == await (await cabinet.get(file.id)).result()
        assert await (await reader.get(push.id)).result() == await push.result()


async def test_same_content_is_one_blob_and_two_files(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        first = await cabinet.files.upload(CONTENT)
        second = await cabinet.files.upload(in_pieces(CONTENT))
        assert first != second
        await cabinet.files.delete(first)
        await cabinet.settled(first)
        assert await cabinet.sweep() == 0
        assert await cabinet.content(second) == CONTENT
        await cabinet.files.delete(second)
        await cabinet.settled(second)
        assert await cabinet.sweep() == 1, "the bytes go with the last file that has them"
        await cabinet.verify()


async def test_a_key_names_one_file(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(CONTENT, key="k")
        assert await cabinet.files.upload(in_pieces(CONTENT), key="k", filename="other") == file
        conflict = await fails(cabinet.files.upload(b"other", key="k"), KeyConflict)
        assert (conflict.key, conflict.existing_id, conflict.difference) == ("k", file.id, "content")
        foreign = await cabinet.acting_as(tenant="other").files.upload(b"other", key="k")
        assert foreign != file
        await fails(cabinet.files.info(foreign), NotFound)
        await trio.sleep(DAY_S + 1)
        again = await cabinet.files.upload(CONTENT, key="k")
        assert again != file, "a file that is over gives its key back"
        await cabinet.files.delete(again)
        assert await cabinet.files.upload(b"other", key="k") not in (file, again)
        assert cabinet.blobs.pinned == 0


async def test_100_callers_with_one_key_make_one_file(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        files: set[str] = set()

        async def upload() -> None:
            files.add((await cabinet.files.upload(in_pieces(CONTENT), key="k")).id)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(upload)
        assert len(files) == 1
        assert await cabinet.sweep() == 0
        assert cabinet.blobs.pinned == 0


@pytest.mark.parametrize("ttl_s", [59, 2_592_001, 60.5, float("nan"), -1, "forever", None, "60", True])
async def test_d3_a_time_to_live_out_of_range_is_refused_and_nothing_is_read(
    tmp_path: Path, clock: Clock, ttl_s: Any
) -> None:
    read: list[bytes] = []

    async def source() -> AsyncIterator[bytes]:
        read.append(CONTENT)
        yield CONTENT

    async with filing(tmp_path / "p.db", World()) as cabinet:
        refusal = await fails(cabinet.files.upload(source(), ttl_s=ttl_s), InvalidRequest)
        assert (refusal.field, read) == ("ttl_s", [])
        assert [summary async for summary in cabinet.list()] == []


@pytest.mark.parametrize("ttl_s", [60, 3_600, 2_592_000])
async def test_d4_the_expiry_follows_the_time_to_live_exactly(tmp_path: Path, clock: Clock, ttl_s: int) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        info = await cabinet.files.info(await cabinet.files.upload(CONTENT, ttl_s=ttl_s))
        assert info.expires_at is not None
        assert info.expires_at - info.created_at == timedelta(seconds=ttl_s)
        await trio.sleep(ttl_s - 0.001)
        assert await cabinet.files.info(info.id) == info
        await trio.sleep(0.001)
        await fails(cabinet.files.info(info.id), FileExpired)


async def test_d5_persistent_never_expires_by_itself(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(CONTENT, ttl_s="persistent")
        await trio.sleep(31 * DAY_S)
        assert (await cabinet.files.info(file)).expires_at is None
        assert await cabinet.content(file) == CONTENT


async def test_d6_without_a_time_to_live_it_is_a_day(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        info = await cabinet.files.info(await cabinet.files.upload(CONTENT))
        assert info.expires_at is not None
        assert info.expires_at - info.created_at == timedelta(days=1)


async def test_unknown_expired_and_deleted_are_three_errors(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        files = cabinet.files
        expired, deleted = await files.upload(CONTENT, ttl_s=60), await files.upload(CONTENT)
        await files.delete(deleted)
        await trio.sleep(61)
        uses: list[Callable[[FileReference], Awaitable[Any]]] = [
            files.info,
            cabinet.content,
            files.delete,
            lambda file: files.push(file, provider=PLAIN),
            lambda file: files.ensure(file, provider=PLAIN),
        ]
        for use in uses:
            await fails(use(FileReference("file_none")), NotFound)
            await fails(use(expired), FileExpired)
            await fails(use(deleted), FileDeleted)
        for file, error in ((expired, FileExpired), (deleted, FileDeleted)):
            await fails((await cabinet.get(file.id)).result(), error)
        assert [info async for info in files.list()] == []
        for file in (expired, deleted):
            await cabinet.settled(file)
        assert await cabinet.sweep() == 1
        await cabinet.verify()


async def test_what_is_being_read_stays_to_its_end(tmp_path: Path, clock: Clock) -> None:
    content = bytes(3_000_000)
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(content)
        async with aclosing(cabinet.files.read(file)) as chunks:
            read = await anext(chunks)
            await cabinet.files.delete(file)
            await cabinet.settled(file)
            assert await cabinet.sweep() == 0
            async for chunk in chunks:
                read += chunk
        assert read == content
        assert await cabinet.sweep() == 1


async def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path, clock: Clock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT
        raise OSError("gone")

    async with filing(tmp_path / "p.db", World()) as cabinet:
        await fails(cabinet.files.upload(broken()), OSError)
        await fails(cabinet.files.upload(b""), InvalidSource)
        assert [summary async for summary in cabinet.list()] == []
        assert (await cabinet.sweep(), cabinet.blobs.pinned) == (0, 0)


# ---------------------------------------------------------------- pushing


@pytest.mark.parametrize("provider", [PLAIN, RESUMABLE])
async def test_f4_a_push_gives_what_the_provider_calls_it(tmp_path: Path, clock: Clock, provider: str) -> None:
    world = World(lifetime_s=2 * DAY_S)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, filename="a.pdf")
        push = await cabinet.files.push(file, provider=provider)
        assert (push.provider, push.status) == (provider, "pending")
        result = await push.result()
        (remote,) = world.files.values()
        assert (result.provider, result.id, result.reference) == (provider, remote.id, remote.reference)
        assert result.expires_at is not None
        assert world.account == [(f"log-{file.id}-0.pdf", hashlib.sha256(CONTENT).hexdigest())]
        assert remote.mime_type == "application/pdf"
        (copy,) = (await cabinet.files.info(file)).copies
        assert (copy.provider, copy.status, copy.reference) == (provider, "uploaded", remote.reference)
        assert await cabinet.files.ensure(file, provider=provider) == result
        assert (await (await cabinet.files.push(file, provider=provider)).result()) == result
        assert len(world.account) == 1
        await cabinet.verify()


async def test_f5_an_unknown_provider_is_named(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        with pytest.raises(UnknownProvider, match="'nobody': one of plain, resumable"):
            await cabinet.files.push(file, provider="nobody")
        assert (await cabinet.files.info(file)).copies == []


async def test_what_is_too_large_is_refused_before_a_byte_is_sent(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(bytes(MAX_BYTES + 1))
        refusal = await fails(cabinet.files.push(file, provider=PLAIN), TooLarge)
        assert (refusal.limit, refusal.size) == (MAX_BYTES, MAX_BYTES + 1)
        assert (world.sent_bytes, await cabinet.types(file)) == (0, ["FileCreated"])


@pytest.mark.parametrize("provider", [PLAIN, RESUMABLE])
async def test_w46_100_callers_at_once_make_one_upload(tmp_path: Path, clock: Clock, provider: str) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        results: list[ProviderFile] = []

        async def push() -> None:
            results.append(await (await cabinet.files.push(file, provider=provider)).result())

        async def ensure() -> None:
            results.append(await cabinet.files.ensure(file, provider=provider))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(push)
                nursery.start_soon(ensure)
        assert (len(results), len({result.id for result in results})) == (100, 1)
        assert (len(world.account), world.sent_bytes) == (1, len(CONTENT))


async def test_w46_a_failed_upload_is_told_to_all_and_the_next_push_tries_again(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("refused", Refused("no such type", kind="invalid_request", status=400, provider_code="bad_type"))
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        push = await cabinet.files.push(file, provider=PLAIN)
        failure = await fails(push.result(), OperationFailed)
        assert failure.cause == "bad_type: no such type"
        (copy,) = (await cabinet.files.info(file)).copies
        assert (copy.status, copy.error) == ("error", "bad_type: no such type")
        again = await cabinet.files.push(file, provider=PLAIN)
        assert (await again.result()).id == "r-0"
        assert await fails(push.result(), OperationFailed), "what the first one came to stays"
        assert [copy.status for copy in (await cabinet.files.info(file)).copies] == ["uploaded"]
        await cabinet.verify()


async def test_what_is_processed_is_waited_for_with_growing_waits(tmp_path: Path, clock: Clock) -> None:
    world = World(processing_s=600.0)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        push = await cabinet.files.push(file, provider=PLAIN)
        await push.result()
        assert trio.current_time() >= 600.0
        assert world.calls.count("info") < 30
        types = await cabinet.types(file)
        assert types == ["FileCreated", "CopyOrdered", "PurchaseIntended", "CopyStored", "CopyReady"]


async def test_what_the_provider_cannot_process_is_an_error_and_deleted_there(tmp_path: Path, clock: Clock) -> None:
    world = World(processing_s=60.0)
    world.becomes = "failed"
    world.trouble["info"] = [NotSent("no connection")]
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        failure = await fails((await cabinet.files.push(file, provider=PLAIN)).result(), OperationFailed)
        assert failure.cause == "processing_failed: not a film"
        await cabinet.settled(file)
        assert world.files == {}


async def test_what_is_processed_for_ever_is_given_up(tmp_path: Path, clock: Clock) -> None:
    world = World(processing_s=30 * DAY_S)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, ttl_s="persistent")
        failure = await fails((await cabinet.files.push(file, provider=PLAIN)).result(), OperationFailed)
        assert failure.cause.startswith("processing_timeout")
        await cabinet.settled(file)
        assert world.files == {}


async def test_w54_a_copy_that_is_about_to_expire_is_put_there_again(tmp_path: Path, clock: Clock) -> None:
    world = World(lifetime_s=DAY_S)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, ttl_s="persistent")
        first = await cabinet.files.ensure(file, provider=PLAIN)
        await trio.sleep(DAY_S - MARGIN_US / 1e6 - 10)
        assert await cabinet.files.ensure(file, provider=PLAIN) == first
        await trio.sleep(20)
        assert [copy.status for copy in (await cabinet.files.info(file)).copies] == ["expired"]
        second = await cabinet.files.ensure(file, provider=PLAIN)
        assert second.id != first.id
        assert [name for name, _ in world.account] == [f"log-{file.id}-0.pdf", f"log-{file.id}-1.pdf"]
        await cabinet.verify()


async def test_w54_what_the_provider_does_not_know_is_put_there_once_more(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        first = await cabinet.files.ensure(file, provider=PLAIN)
        world.files.clear()
        for _ in range(3):
            await cabinet.files.lost(file, provider=PLAIN, reference=first.reference)
        second = await cabinet.files.ensure(file, provider=PLAIN)
        assert (second.id, len(world.account)) == ("r-1", 2)
        await cabinet.files.lost(file, provider=PLAIN, reference=second.reference)
        await cabinet.settled(file)
        assert len(world.account) == 2, "not again by itself"
        assert (await cabinet.files.ensure(file, provider=PLAIN)).id == "r-2"
        await fails(cabinet.files.lost("file_none", provider=PLAIN, reference="r"), NotFound)


async def test_a_missing_credential_blocks_and_fails_nobody(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("not sent", CredentialMissing("no key"), times=2)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        push = await cabinet.files.push(file, provider=PLAIN)
        await blocked(push)
        assert push.progress.note == "credential_missing: no key"
        (copy,) = (await cabinet.files.info(file)).copies
        assert (copy.status, copy.error) == ("pending", "credential_missing: no key")
        await push.resume()
        start = trio.current_time()
        await push.result()
        assert 290 < trio.current_time() - start < 400, "blocked once more, it goes on by itself"


async def test_a_push_can_be_given_up_before_it_is_sent(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("not sent", CredentialMissing("no key"))
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        push = await cabinet.files.push(file, provider=PLAIN)
        await blocked(push)
        assert await push.cancel() == "cancelled"
        await fails(push.result(), OperationCancelled)
        done = await cabinet.files.push(file, provider=PLAIN)
        await done.result()
        assert await done.cancel() == "too_late"


# ---------------------------------------------------------------- doubt


@pytest.mark.parametrize("sending_s", [0.0, 1_000.0])
async def test_a_lost_answer_is_found_again_and_not_sent_again(tmp_path: Path, clock: Clock, sending_s: float) -> None:
    """However long ago its intent was: a list may not show yet what came last."""
    world = World(sending_s=sending_s)
    world.fail("lost", LOST)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        await (await cabinet.files.push(file, provider=PLAIN)).result()
        assert len(world.account) == 1
        assert (await cabinet.types(file))[2:] == ["PurchaseIntended", "PurchaseUncertain", "CopyStored"]


async def test_duplicates_are_deleted_at_the_provider(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.doubles = True
    world.fail("lost", LOST)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        result = await (await cabinet.files.push(file, provider=PLAIN)).result()
        await cabinet.settled(file)
        assert list(world.files) == [result.id] == ["r-0"]
        assert len(world.account) == 2
        await cabinet.verify()


async def test_a_resumed_upload_sends_what_is_missing(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("cut", LOST)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        await (await cabinet.files.push(file, provider=RESUMABLE)).result()
        assert len(CONTENT) <= world.sent_bytes < len(CONTENT) + CHUNK_BYTES
        assert (len(world.account), len(world.sessions)) == (1, 1)
        assert "CopySessionKept" in await cabinet.types(file)


async def test_w52_a_later_process_knows_what_is_where(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=5.0)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, key="k")
        first = await cabinet.files.ensure(file, provider=PLAIN)
        push = await cabinet.files.push(file, provider=RESUMABLE)
        await trio.sleep(12)
    async with filing(tmp_path / "p.db", world) as cabinet:
        assert await cabinet.files.upload(CONTENT, key="k") == file
        assert await cabinet.files.ensure(file, provider=PLAIN) == first
        second = await (await cabinet.get(push.id)).result()
        assert [name for name, _ in world.account] == [f"log-{file.id}-0.pdf", f"log-{file.id}-1.pdf"]
        assert world.sent_bytes < 2 * len(CONTENT) + CHUNK_BYTES
        assert second.id == "r-1"
        await cabinet.verify()


async def test_a_store_that_cannot_be_searched_may_get_it_twice(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("lost", LOST)
    async with filing(tmp_path / "p.db", world, searchable=False) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        await (await cabinet.files.push(file, provider=PLAIN)).result()
        assert len(world.account) == 2
        assert "PurchaseResubmitted" in await cabinet.types(file)


# ---------------------------------------------------------------- the end


async def test_deleting_leaves_copies_alone_unless_it_is_everywhere(tmp_path: Path, clock: Clock) -> None:
    world = World()
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        for provider in (PLAIN, RESUMABLE):
            await cabinet.files.ensure(file, provider=provider)
        await cabinet.files.delete(file)
        await cabinet.settled(file)
        assert len(world.files) == 2
        await fails(cabinet.files.delete(file), FileDeleted)
        world.trouble["delete"] = [NotSent("no connection"), Refused("slowly", kind="rate_limit", status=429)]
        await cabinet.files.delete(file, everywhere=True)
        state = await cabinet.settled(file)
        assert world.files == {}
        assert [copy.status for copy in state.copies] == ["deleted", "deleted"]
        await cabinet.files.delete(file, everywhere=True)
        await cabinet.verify()


@pytest.mark.parametrize(
    ("error", "times"),
    [(Refused("no", kind="invalid_request", status=400), 1), (NotSent("no connection"), 5_000)],
    ids=["refused for good", "never reached"],
)
async def test_what_cannot_be_deleted_is_said_and_not_tried_for_ever(
    tmp_path: Path, clock: Clock, error: Any, times: int
) -> None:
    world = World()
    world.trouble["delete"] = [error] * times
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        await cabinet.files.ensure(file, provider=PLAIN)
        await cabinet.files.delete(file, everywhere=True)
        state = await cabinet.settled(file)
        assert [copy.status for copy in state.copies] == ["error"]
        assert "CopyLeft" in await cabinet.types(file)
        assert trio.current_time() < 1.1 * DAY_S


async def test_at_its_end_what_is_under_way_goes_on_and_then_the_bytes_go(tmp_path: Path, clock: Clock) -> None:
    world = World(answer_s=100.0)
    async with filing(tmp_path / "p.db", world) as cabinet:
        file = await cabinet.files.upload(CONTENT, ttl_s=60)
        push = await cabinet.files.push(file, provider=PLAIN)
        await trio.sleep(61)
        await fails(cabinet.files.info(file), FileExpired)
        assert await cabinet.sweep() == 0
        assert (await push.result()).id == "r-0", "whoever waits for it gets it"
        await cabinet.settled(file)
        assert await cabinet.sweep() == 1
        row = (await cabinet.get(file.id)).status
        assert row == "expired"
        await cabinet.verify()


async def test_a_push_that_was_not_sent_ends_with_its_file(tmp_path: Path, clock: Clock) -> None:
    world = World()
    world.fail("not sent", CredentialMissing("no key"), times=100)
    async with filing(tmp_path / "p.db", world) as cabinet:
        expired, deleted = await cabinet.files.upload(CONTENT, ttl_s=60), await cabinet.files.upload(CONTENT)
        pushes = [await cabinet.files.push(file, provider=PLAIN) for file in (expired, deleted)]
        await cabinet.files.delete(deleted)
        await fails(pushes[0].result(), FileExpired)
        await fails(pushes[1].result(), FileDeleted)
        assert world.account == []


async def test_lost_bytes_fail_the_push(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        file = await cabinet.files.upload(CONTENT)
        lose(tmp_path / "p.db-blobs", hashlib.sha256(CONTENT).hexdigest())
        cabinet.blobs.close()
        failure = await fails((await cabinet.files.push(file, provider=PLAIN)).result(), OperationFailed)
        assert failure.cause.startswith("blob_lost")


async def test_odd_names_and_types_are_stored(tmp_path: Path, clock: Clock) -> None:
    async with filing(tmp_path / "p.db", World()) as cabinet:
        for filename, mime_type in (("../../etc/passwd", "x" * 5_000), ("a\ud800\0b" * 2_000, "\ud800/\0"), (" ", "")):
            info = await cabinet.files.info(await cabinet.files.upload(b"text", filename=filename, mime_type=mime_type))
            assert 0 < len(info.filename.encode()) <= 255
            assert info.mime_type == "text/plain"
        with pytest.raises(Rejected):
            await cabinet.files.push(info.id, provider=PLAIN, credential="\ud800")
        await cabinet.verify()
