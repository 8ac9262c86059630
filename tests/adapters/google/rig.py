"""What the tests of Google's file store share: a simulator, a way to it over the network engine, and uploads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import trio
from msgspec import Struct, field

from perdure.actors.fetch import Fetch
from perdure.actors.lane import Lane
from perdure.actors.remote_files import RemoteFiles, Upload
from perdure.adapters.google import GoogleFiles, authorize
from perdure.adapters.network import Endpoint, Engine
from perdure.adapters.simulator import GOOGLE_PREFIX, Clock, Simulator
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key

FILES: Final[RemoteFiles] = GoogleFiles()
CHUNK: Final = 8 << 20
GRANULE: Final = 256 << 10
PROCESSING_S: Final = 30.0
START_S: Final = 1_795_190_000.0
UPLOADS: Final = f"POST {GOOGLE_PREFIX}/upload/v1/files"
PIECE: Final = 65_000
LANE: Final = Lane("", "google", "default", "files")


class Rig(Struct):
    """A simulator whose clock only tests move, and a way to it. `base_url` is where Google's part is."""

    simulator: Simulator
    fetch: Fetch
    base_url: str

    def sent(self) -> list[tuple[str, int]]:
        """The commands of uploads, and how much came with each."""
        seen = self.simulator.traffic.requests()
        return [
            (one.headers["x-goog-upload-command"], one.body_bytes)
            for one in seen
            if "x-goog-upload-command" in one.headers
        ]

    def file_bytes_sent(self) -> int:
        """How much of files came in all, what was lost again too."""
        return sum(size for command, size in self.sent() if command.startswith("upload"))


class Given(Struct):
    """An upload of `data`, and the sessions that were to be kept. `breaks_at`: the source ends in an error there."""

    data: bytes
    filename: str = "log-file_1-0.pdf"
    mime_type: str = "application/pdf"
    session: str = ""
    breaks_at: int = -1
    kept: list[str] = field(default_factory=list[str])

    def upload(self) -> Upload:
        """As the port takes it."""

        async def read(offset: int) -> AsyncIterator[bytes]:
            for start in range(offset, len(self.data), PIECE):
                await trio.lowlevel.checkpoint()
                if 0 <= self.breaks_at < start + PIECE:
                    raise Killed
                yield self.data[start : start + PIECE]

        async def keep(session: str) -> None:
            await trio.lowlevel.checkpoint()
            self.kept.append(session)

        return Upload(
            filename=self.filename,
            mime_type=self.mime_type,
            purpose="",
            size_bytes=len(self.data),
            open=read,
            keep=keep,
            session=self.session,
        )


class Killed(Exception):
    """The process ends here."""


@asynccontextmanager
async def rig(*, key: str | None = None) -> AsyncGenerator[Rig]:
    """A rig; the test ends after a minute in any case."""
    with (
        trio.fail_after(60),
        Simulator(processing_s=PROCESSING_S, clock=Clock(lambda: START_S)) as simulator,
    ):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            endpoint = Endpoint(base_url=bound.url + GOOGLE_PREFIX, headers=authorize(key or unique_key()))
            engine = Engine(lambda lane: endpoint, random=Random(7))
            await nursery.start(engine.run)
            yield Rig(simulator, engine.bind(LANE), endpoint.base_url)
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)
