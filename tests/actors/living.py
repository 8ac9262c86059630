"""A runtime over a real log for tests: inline disk, so that a virtual clock may jump."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from perdure.actors.kind import Kind
from perdure.actors.runtime.runtime import Runtime, RuntimeLimits
from perdure.events.ids import now_us
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import SqliteLog, open_log

EPOCH_US = 1_795_000_000_000_000


def virtual_us() -> int:
    """The wall clock that goes with trio's clock, in µs."""
    return EPOCH_US + int(trio.current_time() * 1_000_000)


@asynccontextmanager
async def living(
    path: Path, kinds: Sequence[Kind[Any, Any]], *, room: int = 64, limits: RuntimeLimits | None = None
) -> AsyncIterator[tuple[Runtime, SqliteLog]]:
    """Opens the log at `path` and runs `kinds` on it until the block is left, without draining."""
    async with (
        open_log(path, disk=InlineDisk(), codecs=[kind.codec for kind in kinds], clock=virtual_us) as log,
        trio.open_nursery() as nursery,
    ):
        runtime = Runtime(log, kinds, room=lambda lane: room, clock=virtual_us, limits=limits)
        await nursery.start(runtime.run)
        yield runtime, log
        nursery.cancel_scope.cancel()


__all__ = ["living", "now_us", "virtual_us"]
