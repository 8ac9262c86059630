"""Live requests over a provider in memory: real log, real blobs, real actors, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from perdure.actors.backing import Acting
from perdure.actors.purchase import SECOND_US
from perdure.actors.request.effects import Requests, keep
from perdure.actors.request.state import KIND
from perdure.actors.request.views import RequestHandle
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime
from perdure.events.ids import make_id
from perdure.events.purchase import OnUncertain
from perdure.events.request import OpenRequest
from perdure.store.blobs import BlobStore
from perdure.store.disk import Disk, InlineDisk
from perdure.store.records import ActorRow
from perdure.store.sqlite import SqliteLog
from tests.actors.living import EPOCH_US, assert_verifies, living, types_of
from tests.actors.request.memory import ENDPOINT, NAME, MemoryLive, MemoryNetwork, World

ACTOR: Final = make_id("req", EPOCH_US, 1)
BODY: Final = b'{"model":"m","input":"a question"}'


class Desk(Acting):
    """Where requests are made and looked at; what the service's handles act through."""

    def __init__(self, runtime: Runtime, log: SqliteLog, blobs: BlobStore, kind: Requests) -> None:
        super().__init__(log, blobs, [KindFold(kind)], {}, {NAME: MemoryLive()}, runtime)
        self.kind = kind

    async def submit(
        self,
        body: bytes = BODY,
        *,
        actor: str = ACTOR,
        on_uncertain: OnUncertain = "resubmit",
        deadline_s: float | None = None,
    ) -> RequestHandle:
        """Opens a request; again, as a user's program does at each start, changes nothing."""
        content = await keep(self.blobs, body)
        command = OpenRequest(
            provider=NAME,
            endpoint=ENDPOINT,
            model="m",
            credential="default",
            body=content,
            digest=str(hash(body)),
            on_uncertain=on_uncertain,
            deadline_us=int((deadline_s or 0) * SECOND_US),
        )
        try:
            await self.runtime.tell(KIND, actor, command)
        finally:
            if content.blob:
                self.blobs.release(content.blob)
        return await self.handle(actor)

    async def handle(self, actor: str = ACTOR) -> RequestHandle:
        """The handle of a request that is in the log."""
        row = await self.log.row(actor)
        assert row is not None
        return RequestHandle(self, row)

    async def settled(self, actor: str = ACTOR) -> ActorRow:
        """The row of a request once nothing is owed any more and only somebody may move it on."""
        while True:
            hint = self.runtime.hints.subscribe(actor)
            row = await self.log.row(actor)
            assert row is not None
            if row.standing.terminal:
                return row
            await hint.wait()

    async def types(self, actor: str = ACTOR) -> list[str]:
        """What happened, as tags."""
        return await types_of(self.log, actor)

    async def verify(self) -> None:
        """Raises what the log's own verification finds wrong."""
        await assert_verifies(self.log, [self.kind])


@asynccontextmanager
async def asking(path: Path, world: World, *, disk: Disk | None = None) -> AsyncGenerator[Desk]:
    """A desk over the log at `path` until the block is left, without draining."""
    disk = disk or InlineDisk()
    async with BlobStore(path.with_name(f"{path.name}-blobs"), disk) as blobs:
        kind = Requests(log_id="log", providers={NAME: MemoryLive()}, network=MemoryNetwork(world), blobs=blobs)
        async with living(path, [kind], disk=disk) as (runtime, log), trio.open_nursery() as nursery:
            desk = Desk(runtime, log, blobs, kind)
            await nursery.start(desk.looking.run)
            yield desk
            nursery.cancel_scope.cancel()
