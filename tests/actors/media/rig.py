"""Pictures over a provider in memory: real log, real blobs, real actors, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

from perdure.actors.backing import Acting
from perdure.actors.media.effects import Media
from perdure.actors.media.state import IMAGE
from perdure.actors.media.views import ImageHandle
from perdure.actors.purchase import SECOND_US
from perdure.actors.request.effects import keep
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.events.ids import make_id
from perdure.events.media import ImageRequest, OrderMedia
from perdure.events.purchase import OnUncertain
from perdure.store.blobs import BlobStore
from perdure.store.disk import Disk, InlineDisk
from perdure.store.records import ActorRow
from perdure.store.sqlite import SqliteLog
from tests.actors.living import EPOCH_US, assert_verifies, living, types_of
from tests.actors.media.memory import MediaNetwork, MemoryMedia
from tests.actors.request.memory import NAME, World

ACTOR: Final = make_id("img", EPOCH_US, 1)


class Desk(Acting):
    """Where pictures are ordered and looked at; what the service's handles act through."""

    def __init__(self, runtime: Runtime, log: SqliteLog, blobs: BlobStore, kind: Media) -> None:
        super().__init__(log, blobs, [KindFold(kind)], {}, {}, runtime, media={NAME: MemoryMedia()})
        self.kind = kind

    async def order(self, *, on_uncertain: OnUncertain = "fail", deadline_s: float = 0.0) -> ImageHandle:
        """Orders pictures; again, as a user's program does at each start, changes nothing."""
        command = OrderMedia(
            provider=NAME,
            capability="image_generation",
            model="m",
            credential="default",
            request=await keep(self.blobs, msgspec.json.encode(ImageRequest("a fjord"))),
            digest="d",
            on_uncertain=on_uncertain,
            deadline_us=int(deadline_s * SECOND_US),
        )
        await self.runtime.tell(IMAGE, ACTOR, command)
        return await self.handle()

    async def handle(self) -> ImageHandle:
        """The handle of the order, which is in the log."""
        row = await self.log.row(ACTOR)
        assert row is not None
        return ImageHandle(self, row)

    async def settled(self) -> ActorRow:
        """The row of the order once nothing is owed any more and only somebody may move it on."""
        while True:
            hint = self.runtime.hints.subscribe(ACTOR)
            row = await self.log.row(ACTOR)
            assert row is not None
            if row.standing.terminal:
                return row
            await hint.wait()

    async def types(self) -> list[str]:
        """What happened, as tags."""
        return await types_of(self.log, ACTOR)

    async def verify(self) -> None:
        """Raises what the log's own verification finds wrong."""
        await assert_verifies(self.log, [self.kind])


@asynccontextmanager
async def drawing(path: Path, world: World, *, disk: Disk | None = None) -> AsyncGenerator[Desk]:
    """A desk over the log at `path` until the block is left, without draining."""
    disk = disk or InlineDisk()
    async with BlobStore(path.with_name(f"{path.name}-blobs"), disk) as blobs:
        kind = Media(IMAGE, log_id="log", providers={NAME: MemoryMedia()}, network=MediaNetwork(world), blobs=blobs)
        async with living(path, [kind], disk=disk) as (runtime, log), trio.open_nursery() as nursery:
            desk = Desk(runtime, log, blobs, kind)
            await nursery.start(desk.looking.run)
            yield desk
            nursery.cancel_scope.cancel()
