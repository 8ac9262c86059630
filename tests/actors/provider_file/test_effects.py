"""A provider file's upload: its bytes from any place on, over all blobs of the order; and a file that is processed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from trio.testing import MockClock

from perdure.actors.fetch import Fetch
from perdure.actors.kind import Again
from perdure.actors.lane import Lane
from perdure.actors.provider_file.effects import MIME_TYPE, PROCESSING_PATIENCE_US, ProviderFiles
from perdure.actors.provider_file.state import UploadEffect, WatchUpload
from perdure.actors.purchase import SECOND_US
from perdure.actors.remote_files import RemoteFile, Upload
from perdure.events.command import Command
from perdure.events.event import Event
from perdure.events.provider_file import (
    FailUpload,
    KeepUploadSession,
    NoteFileProcessed,
    NoteUploaded,
    UploadOrdered,
)
from perdure.store.blobs import BlobStore
from perdure.store.disk import InlineDisk
from tests.actors.batch.looking import submit, types_of
from tests.actors.batch.memory import MemoryFiles, MemoryNetwork, World
from tests.actors.batch.rig import serving, verified

pytestmark = pytest.mark.trio

LANE = Lane("", "memory", "default", "files")


class Reports:
    """The port of an effect: what it reports, at a time that is set."""

    actor = "pfile_1"
    tenant = ""
    trace = "pfile_1"

    def __init__(self, now: int = 0) -> None:
        self.said: list[Command] = []
        self._now = now

    async def report(self, command: Command) -> None:
        """See `Port`."""
        self.said.append(command)

    async def tell(self, kind: str, actor: str, command: Command) -> None:
        """See `Port`."""
        raise AssertionError(command)

    def events(self, *, after: int) -> AsyncIterator[tuple[int, Event]]:
        """See `Port`."""
        raise AssertionError(after)

    def now(self) -> int:
        """See `Port`."""
        return self._now


class Resuming(MemoryFiles):
    """A file store that takes the bytes from an offset on, and gives the upload a session."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.seen: list[tuple[Upload, bytes]] = []

    async def upload(self, fetch: Fetch, upload: Upload) -> RemoteFile:
        """See `RemoteFiles`."""
        await upload.keep(f"at {self.offset}")
        rest = b"".join([chunk async for chunk in upload.open(self.offset)])
        self.seen.append((upload, rest))
        return RemoteFile(id="f-1", reference="ref", filename=upload.filename, size_bytes=9, created_at=0)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 5, 8, 9])
async def test_bytes_are_read_from_any_place_on_over_all_blobs(tmp_path: Path, offset: int) -> None:
    pieces = [b"ab", b"c", b"defghi"]
    async with BlobStore(tmp_path / "blobs", InlineDisk()) as blobs:
        segments = [((await blobs.put(piece)).digest, len(piece)) for piece in pieces]
        order = UploadOrdered(
            provider="memory",
            credential="default",
            purpose="batch",
            segments=segments,
            size_bytes=9,
            owner_kind="batch",
            owner="batch_1",
            part=0,
            settle_us=0,
            patience_us=0,
        )
        files = Resuming(offset)
        kind = ProviderFiles(log_id="log_1", providers={"memory": files}, network=MemoryNetwork(World()), blobs=blobs)
        effect = UploadEffect(id="buy/0/1", lane=LANE, ordinal=0, attempt=1, order=order, session="before")
        port = Reports()
        assert await kind.perform(effect, port) is None
        ((upload, rest),) = files.seen
        assert rest == b"abcdefghi"[offset:]
        assert (upload.filename, upload.purpose, upload.mime_type) == ("log_1-pfile_1-0.jsonl", "batch", MIME_TYPE)
        assert upload.session == "before"
        assert port.said == [
            KeepUploadSession(attempt=1, session=f"at {offset}"),
            NoteUploaded(attempt=1, provider_file="f-1"),
        ]
        blobs.release(*(digest for digest, _ in segments))


class Processing(MemoryFiles):
    """A file store that shows a file as it is told to."""

    def __init__(self, shown: RemoteFile | None) -> None:
        super().__init__()
        self.shown = shown

    async def info(self, fetch: Fetch, id: str) -> RemoteFile | None:
        """See `RemoteFiles`."""
        return self.shown


def _file(**fields: object) -> RemoteFile:
    return RemoteFile(id="f-1", reference="r", filename="n", size_bytes=1, created_at=0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "waited_s", "said"),
    [
        (_file(), 1, [NoteFileProcessed()]),
        (_file(readiness="failed", error="no text"), 1, [FailUpload(code="processing_failed", message="no text")]),
        (_file(readiness="processing"), 1, []),
        (None, 1, []),
        (_file(readiness="processing"), PROCESSING_PATIENCE_US // SECOND_US + 1, ["processing_timeout"]),
    ],
    ids=["ready", "failed", "processing", "not shown yet", "never"],
)
async def test_what_a_look_at_a_processed_file_comes_to(
    tmp_path: Path, shown: RemoteFile | None, waited_s: int, said: Sequence[object]
) -> None:
    async with BlobStore(tmp_path / "blobs", InlineDisk()) as blobs:
        providers = {"memory": Processing(shown)}
        kind = ProviderFiles(log_id="log_1", providers=providers, network=MemoryNetwork(World()), blobs=blobs)
        effect = WatchUpload(id="watch", lane=LANE, provider="memory", provider_file="f-1", since=0)
        port = Reports(now=waited_s * SECOND_US)
        again = await kind.perform(effect, port)
        assert [getattr(one, "code", None) if said == ["processing_timeout"] else one for one in port.said] == said
        assert again == (Again(1.0) if not said else None)


async def test_a_batch_waits_for_a_file_that_is_processed(tmp_path: Path, autojump_clock: MockClock) -> None:
    world = World()
    world.processing_s = 90.0
    async with serving(tmp_path / "p.db", world) as service:
        handle = await submit(service)
        assert (await handle.result()).ok == 4
        happened = await types_of(handle)
        assert happened.index("FileAsked") < happened.index("FileReady") < happened.index("PurchaseIntended")
        (batch,) = world.batches.values()
        assert batch.created_at - world.files[batch.file][2] >= 90 * SECOND_US
        assert world.asked["file"] >= 2
        await verified(service)
