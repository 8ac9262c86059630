"""A simulator on a port, and a way to one of the providers in it that speak OpenAI's wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import trio
from msgspec import Struct

from perdure.actors.fetch import Fetch
from perdure.actors.lane import Lane
from perdure.actors.remote_files import RemoteFiles, Upload
from perdure.adapters import openai, xai
from perdure.adapters.network import Endpoint, Engine
from perdure.adapters.network.retry import BackoffOverride, RetryOverride
from perdure.adapters.simulator import OPENAI_PREFIX, XAI_PREFIX, Clock, Simulator
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key

AT_S = 1_795_190_000.0
AT = int(AT_S) * 1_000_000
AT_ONCE = RetryOverride(backoff=BackoffOverride(first_s=0.0, most_s=0.0))


class Provider(Struct, frozen=True):
    """A provider: its name, where it is in a simulator, its files, and how it takes a key."""

    name: str
    prefix: str
    files: RemoteFiles
    authorize: Callable[[str], dict[str, str]]


OPENAI = Provider("openai", OPENAI_PREFIX, openai.OpenAIRemoteFiles(), openai.authorize)
XAI = Provider("xai", XAI_PREFIX, xai.XaiRemoteFiles(), xai.authorize)


class Rig(Struct):
    """A simulator whose clock only tests move, and a way to it. Failed calls are tried again without a wait."""

    simulator: Simulator
    fetch: Fetch

    def asked(self, route: str) -> int:
        """How often a route was asked; `*` stands for what varies."""
        method, path = route.split(" ")
        seen = self.simulator.traffic.requests()
        return sum(each.method == method and _fits(path, each.path) for each in seen)

    async def content(self, file_id: str) -> bytes:
        """A stored file's bytes, as they lie on the simulator's disk."""
        return await trio.to_thread.run_sync((self.simulator.directory / "files" / file_id).read_bytes)


def _fits(pattern: str, path: str) -> bool:
    wanted, given = pattern.split("/"), path.split("/")
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


@asynccontextmanager
async def rig(provider: Provider, *, key: str | None = None) -> AsyncGenerator[Rig]:
    """A rig; the test ends after a minute in any case."""
    clock = Clock(lambda: AT_S)
    with trio.fail_after(60), Simulator(clock=clock) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            headers = provider.authorize(key or unique_key())
            endpoint = Endpoint(base_url=bound.url + provider.prefix, headers=headers)
            engine = Engine(lambda lane: endpoint, random=Random(7))
            await nursery.start(engine.run)
            yield Rig(simulator, engine.bind(Lane("", provider.name, "default", "files"), retry=AT_ONCE))
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)


class Stored(Struct):
    """What is to be stored, what of it was read from where on, and what was kept of its session."""

    data: bytes
    offsets: list[int] = []
    kept: list[str] = []
    fails_at: int | None = None

    def upload(self, *, filename: str = "log-file-0.txt", mime_type: str = "text/plain", session: str = "") -> Upload:
        """The upload. Its source raises `OSError` where it reaches `fails_at`."""

        async def keep(text: str) -> None:
            await trio.lowlevel.checkpoint()
            self.kept.append(text)

        return Upload(
            filename=filename,
            mime_type=mime_type,
            purpose="user_data",
            size_bytes=len(self.data),
            open=self._open,
            keep=keep,
            session=session,
        )

    async def _open(self, offset: int) -> AsyncIterator[bytes]:
        self.offsets.append(offset)
        for start in range(offset, len(self.data), 700):
            await trio.lowlevel.checkpoint()
            if self.fails_at is not None and start >= self.fails_at:
                raise OSError("the disk is gone")
            yield self.data[start : start + 700]
