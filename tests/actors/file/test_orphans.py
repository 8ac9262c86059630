"""Remote orphans at every provider's simulator, over real sockets, and on a virtual clock where time matters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec
import pytest
import trio

import perdure
from perdure.actors.fetch import Fetch, HttpRequest
from perdure.actors.file.orphans import AT_A_TIME
from perdure.actors.lane import Lane
from perdure.actors.orphan.effects import PATIENCE_US
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.actors.runtime.runtime import RuntimeLimits
from perdure.adapters.google import files as google_files
from perdure.adapters.openai import remote_files as openai_files
from perdure.adapters.simulator import faults
from perdure.adapters.testing.aim import PREFIXES
from perdure.adapters.testing.simulation import simulation
from perdure.adapters.xai import remote_files as xai_files
from perdure.events.ids import new_id
from tests.actors.file.memory import PLAIN, World
from tests.actors.file.rig import filing
from tests.actors.file.test_simulator import Rig, rigged

pytestmark = pytest.mark.trio

CONTENT: Final = b"%PDF-1.7 " + bytes(range(256)) * 8
PROVIDERS: Final = sorted(PREFIXES)


class Shelf:
    """A provider's file store, past the service: what is really there, and what others put there."""

    def __init__(self, service: perdure.Service, provider: str) -> None:
        acting = service._acting  # pyright: ignore[reportPrivateUsage] - what composition wired
        self._store = acting.remote_files[provider]
        self._fetch: Fetch = acting.network.bind(Lane("", provider, "default", "files"))
        self.log_id = acting.log.log_id

    async def put(self, filename: str, content: bytes = b"{}") -> RemoteFile:
        """Stores a file as any program could."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        async def keep(session: str) -> None:
            await trio.lowlevel.checkpoint()

        return await self._store.upload(
            self._fetch,
            Upload(
                filename=filename,
                mime_type="application/pdf",
                purpose=self._store.purpose,
                size_bytes=len(content),
                open=lambda offset: chunks(),
                keep=keep,
            ),
        )

    async def put_under_another_name(self, display_name: str) -> None:
        """Stores a file at Google that is shown as `display_name` and was never planted as that."""
        start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        asked = {"file": {"name": "files/theirs", "displayName": display_name, "mimeType": "application/pdf"}}
        started = await self._fetch(
            HttpRequest(
                method="POST",
                path="/upload/v1beta/files",
                safety="idempotent",
                headers={**start, "x-goog-upload-header-content-length": "2", "content-type": "application/json"},
                body=msgspec.json.encode(asked),
            )
        )
        await self._fetch(
            HttpRequest(
                method="POST",
                path=started.headers["x-goog-upload-url"],
                safety="idempotent",
                headers={"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"},
                body=b"{}",
            )
        )

    async def put_many(self, filenames: Sequence[str]) -> None:
        """Stores them side by side."""
        async with trio.open_nursery() as nursery:
            for name in filenames:
                nursery.start_soon(self.put, name)

    async def names(self) -> list[str]:
        """What is there, sorted."""
        listing = self._store.listing(self._fetch)
        return sorted([file.filename async for file in listing])


async def orphans_of(service: perdure.Service, provider: str) -> list[perdure.RemoteOrphan]:
    async with aclosing(service.files.orphans(provider=provider)) as orphans:
        return sorted([orphan async for orphan in orphans], key=lambda orphan: orphan.filename)


async def swept_of(service: perdure.Service, provider: str) -> list[perdure.SweptOrphan]:
    async with aclosing(service.files.sweep(provider=provider)) as swept:
        return [one async for one in swept]


async def pushed(rig: Rig, service: perdure.Service, provider: str, content: bytes) -> perdure.FileReference:
    file = await service.files.upload(content, filename="fjords.pdf")
    await service.files.ensure(file, provider=provider)
    return file


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_w52_w55_orphans_are_found_over_all_pages_and_swept_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setattr(openai_files, "FILES_A_PAGE", 20)
    monkeypatch.setattr(xai_files, "FILES_A_PAGE", 20)
    monkeypatch.setattr(google_files, "_FILES_A_PAGE", 20)
    async with rigged(tmp_path, monkeypatch, settle_s=0.0, page_size=20) as rig, rig.open() as service:
        shelf = Shelf(service, provider)
        await pushed(rig, service, provider, CONTENT)
        replaced = await pushed(rig, service, provider, CONTENT + b"2")
        first = await service.files.ensure(replaced, provider=provider)
        await service.files.lost(replaced, provider=provider, reference=first.reference)
        await service.files.ensure(replaced, provider=provider)
        unknown = sorted(f"{shelf.log_id}-{new_id('file')}-0.pdf" for _ in range(60))
        await shelf.put_many(unknown)
        used = f"{shelf.log_id}-{replaced.id}-0.pdf"
        others = [
            f"{new_id('log')}-{new_id('file')}-0.pdf",
            "report.pdf",
            f"{shelf.log_id}-report.pdf",
            f"{shelf.log_id}-{new_id('file')}-0.pdf.bak.pdf",
            f"{shelf.log_id}-{new_id('batch')}-0.pdf",
        ]
        await shelf.put_many(others)
        before = await shelf.names()
        if provider == "google":
            await shelf.put_under_another_name(unknown[0])
            before = sorted([*before, unknown[0]])

        found = await orphans_of(service, provider)
        assert [orphan.filename for orphan in found] == sorted([*unknown, used])
        assert {orphan.why for orphan in found if orphan.filename != used} == {"unknown"}
        assert [orphan.why for orphan in found if orphan.filename == used] == ["unused"]
        assert await shelf.names() == before, "listing deletes nothing"

        swept = await swept_of(service, provider)
        assert sorted(one.orphan.filename for one in swept) == sorted([*unknown, used])
        assert all(one.deleted and not one.reason for one in swept)
        for name in [*unknown, used]:
            before.remove(name)
        assert await shelf.names() == before, "what is used, and what is others', is there"
        assert await swept_of(service, provider) == []


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_w52_a_sweep_is_on_record_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    async with rigged(tmp_path, monkeypatch, settle_s=0.0) as rig:
        async with rig.open() as service:
            shelf = Shelf(service, provider)
            name = f"{shelf.log_id}-{new_id('file')}-3.pdf"
            remote = await shelf.put(name)
            (one,) = await swept_of(service, provider)
            assert (one.orphan.id, one.orphan.filename, one.deleted) == (remote.id, name, True)
        async with perdure.read(rig.path) as reader:
            (summary,) = [row async for row in reader.list(kind="orphan")]
            assert (summary.status, summary.provider) == ("succeeded", provider)
            view = await reader.get(summary.id)
            async with aclosing(view.events(follow=False)) as events:
                told = [record.event async for record in events]
            assert [type(event) for event in told] == [perdure.OrphanFound, perdure.OrphanDeleted]
            assert (await view.result()).orphan.id == remote.id


# ---------------------------------------------------------------- what is none, and when


SETTLED_S: Final = 60.0


async def planted(shelf: Shelf, file: str = "", ordinal: int = 0) -> RemoteFile:
    """A file that this log put there, by its name."""
    return await shelf.put(f"{shelf.log_id}-{file or new_id('file')}-{ordinal}.pdf")


async def test_w52_a_file_is_no_orphan_before_the_list_has_settled(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        remote = await planted(shelf)
        assert await orphans_of(service, "openai") == []
        await trio.sleep(SETTLED_S)
        assert [orphan.id for orphan in await orphans_of(service, "openai")] == [remote.id]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_w52_a_sweep_leaves_an_upload_alone_whose_answer_is_still_out(
    autojump_clock: object, provider: str
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, provider)
        file = await service.files.upload(CONTENT, filename="fjords.pdf")
        uploads = {"google": "POST /google/upload/{version}/files", "xai": "POST /xai/v1/files"}
        route = uploads.get(provider, f"POST /{provider}/v1/files")
        simulated.faults.arm(faults.Hold(route=route))
        push = await service.files.push(file, provider=provider)
        await simulated.holds.wait_held(1)
        # What is held is not there yet; it is as if the provider listed it before it answered.
        await planted(shelf, file.id)
        await trio.sleep(SETTLED_S)
        assert await swept_of(service, provider) == []
        simulated.holds.release()
        there = await push.result()
        found = [orphan.id for orphan in await orphans_of(service, provider)]
        assert there.id not in found
        assert len(found) == (0 if provider == "google" else 1), "the other one of that name is one too many"


async def test_w52_what_the_provider_removes_by_itself_is_left_to_it(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "google")
        await planted(shelf)
        await trio.sleep(2 * 86_400.0 - 300.0)
        assert await shelf.names() != []
        assert await orphans_of(service, "google") == []


async def test_w52_the_copies_of_a_file_that_is_over_are_orphans_two_days_later(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        kept = await service.files.upload(CONTENT, filename="fjords.pdf", ttl_s="persistent")
        deleted = await service.files.upload(CONTENT, filename="lakes.pdf", ttl_s="persistent")
        expired = await service.files.upload(CONTENT, filename="rivers.pdf", ttl_s=86_400)
        for file in (kept, deleted, expired):
            await service.files.ensure(file, provider="openai")
        await service.files.delete(deleted)
        await trio.sleep(86_400.0 + 3_600.0)
        assert await orphans_of(service, "openai") == []
        await trio.sleep(86_400.0)
        assert [(orphan.why, deleted.id in orphan.filename) for orphan in await orphans_of(service, "openai")] == [
            ("file_over", True)
        ]
        await trio.sleep(86_400.0)
        assert len(await swept_of(service, "openai")) == 2
        assert [kept.id in name for name in await Shelf(service, "openai").names()] == [True]


async def test_w52_the_input_of_a_batch_is_an_orphan_once_the_batch_has_ended(autojump_clock: object) -> None:
    async with simulation(batch_s=3_600.0) as simulated, simulated.open() as service:
        prompts = [perdure.Prompt(f"question {number}", model="m") for number in range(3)]
        handle = await service.batches.submit(prompts, provider="openai")
        await trio.sleep(1_800.0)
        shelf = Shelf(service, "openai")
        (name,) = await shelf.names()
        assert name.startswith(shelf.log_id)
        assert await orphans_of(service, "openai") == [], "the provider may still read it"
        await shelf.put(name)
        await trio.sleep(SETTLED_S)
        assert [orphan.why for orphan in await orphans_of(service, "openai")] == ["unused"], "a second copy"
        await handle.result()
        assert sorted(orphan.why for orphan in await orphans_of(service, "openai")) == ["batch_over", "unused"]
        assert all(one.deleted for one in await swept_of(service, "openai"))
        assert name not in await shelf.names()
        assert (await handle.result()).ok == 3


async def test_w52_other_tenants_have_orphans_of_their_own(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        fjord, lake = service.acting_as(tenant="fjord"), service.acting_as(tenant="lake")
        file = await fjord.files.upload(CONTENT)
        await fjord.files.ensure(file, provider="openai")
        await planted(shelf, file.id, ordinal=7)
        await planted(shelf)
        await trio.sleep(SETTLED_S)
        assert await swept_of(lake, "openai") == []
        assert [orphan.why for orphan in await orphans_of(service, "openai")] == ["unknown"]
        assert [one.orphan.why for one in await swept_of(fjord, "openai")] == ["unused"]


# ---------------------------------------------------------------- sweeping


async def test_w52_what_a_sweep_began_goes_on_after_a_crash(autojump_clock: object) -> None:
    async with simulation() as simulated:
        async with simulated.open() as service:
            shelf = Shelf(service, "openai")
            await shelf.put(f"{shelf.log_id}-{new_id('file')}-0.pdf")
            await trio.sleep(SETTLED_S)
            simulated.faults.arm(faults.Hold(route="DELETE /openai/v1/files/{id}"))

            async def sweep() -> None:
                await swept_of(service, "openai")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(sweep)
                await simulated.holds.wait_held(1)
                await simulated.crash()
        simulated.faults.clear()
        async with simulated.open() as service:
            (summary,) = [row async for row in service.list(kind="orphan")]
            assert (await (await service.get(summary.id)).result()).deleted
            assert await Shelf(service, "openai").names() == []
            assert await swept_of(service, "openai") == []
            (await service.log.verify()).raise_if_bad()


async def test_w52_what_could_not_be_deleted_is_left_with_a_reason_and_tried_again_by_the_next_sweep(
    autojump_clock: object,
) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        remote = await planted(shelf)
        await planted(shelf)
        await trio.sleep(SETTLED_S)
        route = f"DELETE /openai/v1/files/{remote.id}"
        simulated.faults.arm(faults.AnswerStatus(route=route, status=400, count=100))
        swept = {one.orphan.id: one for one in await swept_of(service, "openai")}
        assert len(swept) == 2
        assert not swept[remote.id].deleted
        assert "400" in swept[remote.id].reason
        (failed,) = [row async for row in service.list(kind="orphan", status="failed")]
        with pytest.raises(perdure.OperationFailed, match="400"):
            await (await service.get(failed.id)).result()
        simulated.faults.clear()
        assert [one.deleted for one in await swept_of(service, "openai")] == [True]
        assert await shelf.names() == []


async def test_w52_trouble_that_passes_is_waited_for_and_no_longer_than_that(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        await planted(shelf)
        await trio.sleep(SETTLED_S)
        simulated.faults.arm(faults.AnswerStatus(route="DELETE /openai/v1/files/{id}", status=503, count=10_000))
        began = simulated.now
        (left,) = await swept_of(service, "openai")
        assert not left.deleted
        assert PATIENCE_US < (simulated.now - began).total_seconds() * 1_000_000 < 3 * PATIENCE_US
        simulated.faults.clear()
        simulated.faults.arm(faults.AnswerStatus(route="DELETE /openai/v1/files/{id}", status=503, count=8))
        assert [one.deleted for one in await swept_of(service, "openai")] == [True]


async def test_w52_a_sweep_that_is_left_early_has_begun_what_it_found(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        await shelf.put_many([f"{shelf.log_id}-{new_id('file')}-0.pdf" for _ in range(20)])
        await trio.sleep(SETTLED_S)
        async with aclosing(service.files.sweep(provider="openai")) as swept:
            await anext(swept)
        await trio.sleep(SETTLED_S)
        assert await shelf.names() == []


async def test_w52_sweeps_side_by_side_delete_each_once(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        shelf = Shelf(service, "openai")
        await shelf.put_many([f"{shelf.log_id}-{new_id('file')}-0.pdf" for _ in range(20)])
        await trio.sleep(SETTLED_S)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(swept_of, service, "openai")
        assert len(simulated.requests("DELETE /openai/v1/files/{id}")) == 20


async def test_w52_ten_thousand_orphans_are_swept_and_no_more_than_a_few_are_held(
    tmp_path: Path, autojump_clock: object
) -> None:
    world = World()
    async with filing(tmp_path / "log.db", world, limits=RuntimeLimits(resident_bytes=1_000_000)) as cabinet:
        log_id = cabinet.acting.log.log_id
        for _ in range(10_000):
            world.store(f"{log_id}-{new_id('file')}-0.pdf", b"", "application/pdf")
        world.store("theirs.pdf", b"", "application/pdf")
        await trio.sleep(SETTLED_S)
        gone = 0
        async with aclosing(cabinet.files.sweep(provider=PLAIN)) as swept:
            async for one in swept:
                gone += one.deleted
        assert (gone, world.names) == (10_000, ["theirs.pdf"])
        rounds = " ".join(world.calls).split("listing")
        assert max(round.count("delete") for round in rounds) == AT_A_TIME, "what is found is deleted before more is"
        await cabinet.verify()


async def test_w52_a_provider_that_is_not_known_is_named(autojump_clock: object) -> None:
    async with simulation() as simulated, simulated.open() as service:
        with pytest.raises(perdure.UnknownProvider, match="nowhere"):
            service.files.orphans(provider="nowhere")
        with pytest.raises(perdure.UnknownProvider, match="nowhere"):
            service.files.sweep(provider="nowhere")
