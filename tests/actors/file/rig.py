"""Files over providers in memory: real log, real blobs, real actors, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import trio

from perdure.actors.backing import Acting
from perdure.actors.file.effects import Files
from perdure.actors.file.files import Sources
from perdure.actors.file.state import FileState
from perdure.actors.orphan.effects import Orphans
from perdure.actors.remote_files import RemoteFiles
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import RuntimeLimits
from perdure.actors.service import Common, Service, ServiceDefaults
from perdure.events.ids import IdSource, new_id
from perdure.events.messages import FileReference
from perdure.store.blobs import BlobStore
from perdure.store.disk import Disk, InlineDisk
from tests.actors.file.memory import PLAIN, RESUMABLE, MemoryFiles, MemoryNetwork, World
from tests.actors.living import assert_verifies, living, types_of


class Cabinet(Service):
    """A service with nothing but files in it, and ways to look behind it."""

    def __init__(self, common: Common, kind: Files) -> None:
        super().__init__(common)
        self.kind = kind
        self.acting = common.acting
        self.blobs = common.acting.blobs

    async def content(self, file: FileReference, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a file."""
        async with aclosing(self.files.read(file, start=start, end=end)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def state_of(self, file: FileReference) -> FileState:
        """The state of a file, whatever its life."""
        state: FileState = (await self.runtime.state("file", file.id)).state
        return state

    async def types(self, file: FileReference) -> list[str]:
        """What happened, as tags."""
        return await types_of(self._acting.log, file.id)

    async def settled(self, file: FileReference) -> FileState:
        """The state of a file once nothing is asked for but timers."""
        while True:
            hint = self.runtime.hints.subscribe(file.id)
            state = await self.state_of(file)
            asked = [effect for effect in self.kind.effects(state) if not effect.id.startswith(("expire", "lapse"))]
            if not asked:
                return state
            await hint.wait()

    async def sweep(self) -> int:
        """Removes all blobs that nothing names; how many that were."""
        return (await self.blobs.sweep(self._acting.log.referenced, older_than_s=-3_600.0)).blobs

    async def verify(self) -> None:
        """Raises what the log's own verification finds wrong."""
        await assert_verifies(self._acting.log, [self.kind, Orphans.unwired()])


def stores(*, searchable: bool = True) -> Mapping[str, RemoteFiles]:
    """A plain and a resumable store."""
    return {
        PLAIN: MemoryFiles(searchable=searchable),
        RESUMABLE: MemoryFiles(resumable=True, searchable=searchable),
    }


@asynccontextmanager
async def filing(
    path: Path,
    world: World,
    *,
    disk: Disk | None = None,
    ids: IdSource = new_id,
    searchable: bool = True,
    limits: RuntimeLimits | None = None,
) -> AsyncGenerator[Cabinet]:
    """A cabinet over the log at `path` until the block is left, without draining."""
    disk = disk or InlineDisk()
    remote_files = stores(searchable=searchable)
    async with BlobStore(path.with_name(f"{path.name}-blobs"), disk) as blobs:
        network = MemoryNetwork(world)
        kind = Files(log_id="log", providers=remote_files, network=network, blobs=blobs)
        orphans = Orphans(providers=remote_files, network=network)
        async with (
            living(path, [kind, orphans], disk=disk, limits=limits) as (runtime, log),
            trio.open_nursery() as nursery,
        ):
            acting = Acting(log, blobs, [KindFold(kind), KindFold(orphans)], {}, {}, runtime, remote_files, network)
            common = Common(acting, ids=ids, defaults=ServiceDefaults(), sources=Sources(disk))
            await nursery.start(common.run)
            yield Cabinet(common, kind)
            nursery.cancel_scope.cancel()
