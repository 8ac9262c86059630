"""A whole service over a provider in memory: real log, real blobs, real actors, a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from perdure.actors.backing import Acting
from perdure.actors.batch.batches import BatchDefaults
from perdure.actors.batch.effects import Batches
from perdure.actors.batch.opening import Polling
from perdure.actors.batch.strategy import BatchStrategy
from perdure.actors.kind import Kind
from perdure.actors.provider_file.effects import ProviderFiles
from perdure.actors.request.effects import Requests
from perdure.actors.runtime.aggregate import KindFold
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.actors.service import Common, Service, ServiceDefaults
from perdure.events.ids import IdSource, make_id
from perdure.store.blobs import BlobStore
from perdure.store.disk import Disk, InlineDisk
from perdure.store.sqlite import SqliteLog, open_log
from tests.actors.batch.memory import NAME, MemoryBatches, MemoryFiles, MemoryLive, MemoryNetwork, World
from tests.actors.living import virtual_us

POLLING = Polling(first_s=10.0, every_s=10.0)


def counting_ids(numbers: Iterator[int]) -> Callable[[str], str]:
    """Ids that are the same in every run: from trio's clock and a counter."""
    return lambda prefix: make_id(prefix, virtual_us(), next(numbers))


@asynccontextmanager
async def serving(
    path: Path,
    world: World,
    *,
    searchable: bool = True,
    polling: Polling = POLLING,
    limits: RuntimeLimits | None = None,
    disk: Disk | None = None,
    grace_s: float = 0.0,
    strategy: BatchStrategy | None = None,
    through: Callable[[SqliteLog], Any] = lambda log: log,
    ids: IdSource | None = None,
) -> AsyncGenerator[Service]:
    """A service on the log at `path` until the block is left. `through` may put something before the log."""
    disk = disk or InlineDisk()
    batches, files, live = MemoryBatches(world, searchable=searchable), MemoryFiles(), MemoryLive()
    network = MemoryNetwork(world)
    folds = [KindFold(Batches.unwired()), KindFold(ProviderFiles.unwired()), KindFold(Requests.unwired())]
    async with (
        open_log(path, disk=disk, codecs=[fold.codec for fold in folds], clock=virtual_us) as real,
        BlobStore(path.with_name(f"{path.name}-blobs"), disk) as blobs,
        trio.open_nursery() as nursery,
    ):
        log = through(real)
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
            Requests(log_id=log.log_id, providers={NAME: live}, network=network, blobs=blobs),
        ]
        runtime = Runtime(log, kinds, room=lambda lane: 16, clock=virtual_us, limits=limits)
        await nursery.start(runtime.run)
        acting = Acting(log, blobs, folds, {NAME: batches}, {NAME: live}, runtime)
        defaults = ServiceDefaults(batches=BatchDefaults(polling=polling), strategy=strategy or BatchStrategy())
        common = Common(acting, ids=ids or counting_ids(world.numbers), defaults=defaults)
        await nursery.start(common.run)
        yield Service(common)
        await runtime.drain(grace_s=grace_s, purchase_grace_s=grace_s)
        nursery.cancel_scope.cancel()


async def verified(service: Service) -> None:
    """Raises what the log's own verification finds wrong."""
    (await service.log.verify()).raise_if_bad()
