"""Windows without a service around them: real log, blobs and actors, a provider in memory, commands by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import Struct

from perdure.actors.backing import Acting
from perdure.actors.batch.effects import Batches
from perdure.actors.batch.state import KIND, BatchState
from perdure.actors.batch.views import BatchHandle
from perdure.actors.kind import Kind
from perdure.actors.provider_file.effects import ProviderFiles
from perdure.actors.purchase import SECOND_US
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.events.batch import CollectLines, LineNote, OpenBatch
from perdure.events.command import Command
from perdure.events.ids import make_id
from perdure.store.blobs import BlobStore
from perdure.store.disk import Disk, InlineDisk
from perdure.store.sqlite import SqliteLog, open_log
from tests.actors.batch.memory import ENDPOINT, NAME, MemoryBatches, MemoryFiles, MemoryLive, MemoryNetwork, World
from tests.actors.living import EPOCH_US, virtual_us

WINDOW: Final = make_id("batch", EPOCH_US, 7)
"""The id of the one window of these tests: the same in every life of a process."""

OPEN_S: Final = 10
"""How long it collects."""


class Windowed(Struct):
    """One window and what is around it."""

    runtime: Runtime
    log: SqliteLog
    blobs: BlobStore
    provider: MemoryBatches
    handle_over: Acting

    async def tell(self, command: Command) -> None:
        """Has the window judge a command."""
        await self.runtime.tell(KIND, WINDOW, command)

    async def open(self, **changes: Any) -> None:
        """Opens it."""
        limits = self.provider.limits(ENDPOINT)
        fields: dict[str, Any] = {
            "provider": NAME,
            "endpoint": ENDPOINT,
            "model": "m",
            "credential": "default",
            "max_lines": limits.max_lines,
            "max_bytes": limits.max_bytes,
            "window_us": 86_400 * SECOND_US,
            "settle_us": int(self.provider.settle_s * SECOND_US),
            "every_us": 10 * SECOND_US,
            "first_poll_us": 10 * SECOND_US,
            "searchable": True,
            "close_after_us": OPEN_S * SECOND_US,
        }
        await self.tell(OpenBatch(**{**fields, **changes}))

    async def collect(self, first: int, count: int, notes: Sequence[LineNote] = ()) -> None:
        """Adds a run of lines, `question <number>` each."""
        lines = [
            self.provider.encode_line(f"{WINDOW}-{number}", ENDPOINT, b'{"model":"m","input":"question %d"}' % number)
            for number in range(first, first + count)
        ]
        blob = await self.blobs.put(b"".join(lines))
        await self.tell(CollectLines(first, blob.digest, (), [len(line) for line in lines], notes))
        self.blobs.release(blob.digest)

    async def state(self) -> BatchState:
        """What is known of it."""
        state: BatchState = (await self.runtime.state(KIND, WINDOW, "")).state
        return state

    async def handle(self) -> BatchHandle:
        """The window as applications see it."""
        row = await self.log.row(WINDOW)
        assert row is not None
        return BatchHandle(self.handle_over, row)

    async def statuses(self) -> Mapping[int, str]:
        """The status of each line's row."""
        return {item.number: item.status for item in await self.log.items(WINDOW, first=0, last=1 << 40)}


@asynccontextmanager
async def windowed(path: Path, world: World, *, disk: Disk | None = None) -> AsyncGenerator[Windowed]:
    """Actors over the log at `path` until the block is left."""
    disk = disk or InlineDisk()
    batches, files, live, network = MemoryBatches(world), MemoryFiles(), MemoryLive(), MemoryNetwork(world)
    folds = [KindFold(Batches.unwired()), KindFold(ProviderFiles.unwired())]
    async with (
        open_log(path, disk=disk, codecs=[fold.codec for fold in folds], clock=virtual_us) as log,
        BlobStore(path.with_name(f"{path.name}-blobs"), disk) as blobs,
        trio.open_nursery() as nursery,
    ):
        kinds: list[Kind[Any, Any]] = [
            Batches(
                log_id=log.log_id,
                providers={NAME: batches},
                files={NAME: files},
                live={NAME: live},
                network=network,
                blobs=blobs,
            ),
            ProviderFiles(log_id=log.log_id, providers={NAME: files}, network=network, blobs=blobs),
        ]
        runtime = Runtime(log, kinds, room=lambda lane: 16, clock=virtual_us)
        await nursery.start(runtime.run)
        acting = Acting(log, blobs, folds, {NAME: batches}, {NAME: live}, runtime)
        yield Windowed(runtime, log, blobs, batches, acting)
        await runtime.drain(grace_s=0.0, purchase_grace_s=0.0)
        nursery.cancel_scope.cancel()
