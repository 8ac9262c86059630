"""A service as users open it, and a simulator in the same process: real sockets, real time, nothing that waits long."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec import Struct

import perdure
from perdure.actors.batch.ports import BatchProvider
from perdure.actors.remote_files import RemoteFiles
from perdure.adapters import composition, openai
from perdure.adapters.simulator import OPENAI_PREFIX, Simulator
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key

VARIABLE = "PERDURE_RIG_KEY"
PATIENCE_S = 60.0
POLLING = perdure.Polling(first_s=0.05, every_s=0.05)


class Rig(Struct):
    """A simulator, where it is, and a log to work on."""

    simulator: Simulator
    url: str
    path: Path
    key: str

    def config(self) -> perdure.Config:
        """A configuration that leads to the simulator."""
        account = perdure.ProviderConfig(base_url=self.url, credentials={"default": perdure.Env(VARIABLE)})
        limits = perdure.Limits(grace_s=0.0, purchase_grace_s=0.0)
        return perdure.Config(providers={"openai": account}, polling=POLLING, limits=limits)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[perdure.Service]:
        """The service; its log verifies when it is left."""
        async with perdure.open(self.path, config=self.config()) as service:
            yield service
            (await service.log.verify()).raise_if_bad()

    def bought(self) -> dict[str, int]:
        """How much of each kind was bought."""
        return dict(Counter(str(purchase.kind) for purchase in self.simulator.account.purchases()))

    def assert_bought_once(self, batches: int = 1) -> None:
        """Each batch was bought once, by identity and by payload, and so was its file."""
        assert self.simulator.account.bought_twice() == []
        assert self.bought() == {"file": batches, "batch": batches}


@asynccontextmanager
async def rigged(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, batch_s: float = 0.0, settle_s: float = 0.1
) -> AsyncGenerator[Rig]:
    """A rig whose provider's lists are complete after `settle_s`; the test ends after a minute in any case."""
    secret = unique_key()
    monkeypatch.setenv(VARIABLE, secret)
    batches: Mapping[str, BatchProvider] = {openai.NAME: openai.OpenAIBatches(settle_s=settle_s)}
    files: Mapping[str, RemoteFiles] = {openai.NAME: openai.OpenAIRemoteFiles(settle_s=settle_s)}
    monkeypatch.setattr(composition, "providers", lambda: batches)
    monkeypatch.setattr(composition, "remote_files", lambda: files)
    with trio.fail_after(PATIENCE_S), Simulator(seed=1, batch_s=batch_s) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            yield Rig(simulator, bound.url + OPENAI_PREFIX, path / "log.db", secret)
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)
        assert secret not in str(dict(os.environ, **{VARIABLE: ""}))


def requests(count: int = 4, *, model: str = "m") -> Iterator[perdure.Prompt]:
    """A few requests."""
    for number in range(count):
        yield perdure.Prompt(f"question {number}", model=model, custom_id=f"r-{number}")


async def said(handle: perdure.BatchView) -> dict[str, str]:
    """What each line says: `ok`, or the code of its error."""
    async with handle.results(order="input") as lines:
        return {line.custom_id: line.error.code if line.error else "ok" async for line in lines}


async def until(handle: perdure.BatchView, status: str) -> perdure.Progress:
    """The progress with which the operation first shows `status`."""
    async with aclosing(handle.progress_updates()) as updates:
        async for progress in updates:
            if progress.status == status:
                return progress
    raise AssertionError(f"it ended as {handle.status} and never was {status}")
