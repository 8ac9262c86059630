"""A batch at a simulated provider as a case for sweeps: from requests to answers, over the provider's own wire."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import trio

import perdure
from perdure.actors.batch.views import BatchHandle
from perdure.adapters.simulator.faults import Fault
from tests.faults.at_providers import AtProviders
from tests.faults.sweep import World as Life

LINES: Final = 3


class ProviderBatch(AtProviders):
    """`LINES` lines at one provider; the answers are asked for under a key, as a user's program does at each start."""

    def __init__(self, provider: str, home: Path, *faults: Fault) -> None:
        super().__init__(home, *faults)
        self.provider = provider
        self.delivered: set[int] = set()
        self._home = home

    async def live(self, world: Life) -> None:
        """Submits, and reads every answer."""
        async with self.serving(world) as service:
            handle = await self.submitted(service)
            async with handle.results() as lines:
                async for line in lines:
                    world.act()
                    assert line.ok, line
                    self.delivered.add(line.index)

    async def submitted(self, service: perdure.Service) -> BatchHandle:
        """The batch, known by its key."""
        requests = [perdure.Prompt(f"question {number}", model="m") for number in range(LINES)]
        return await service.batches.submit(requests, provider=self.provider, key="job")

    async def check(self, world: Life) -> None:
        """All answers, each once; one purchase by identity and by payload; the log verifies."""
        account = self.simulator.account
        assert account.bought_twice() == [], account.bought_twice()
        bought = account.purchases()
        async with self.serving(world) as service:
            handle = await service.find("job")
            assert isinstance(handle, BatchHandle)
            await self.judge(handle)
            (await service.log.verify()).raise_if_bad()
        assert account.purchases() == bought, "nothing was left to do"
        assert self.simulator.faults.armed() == [], "every fault has struck"
        self.simulator.close()
        shutil.rmtree(self._home)

    async def judge(self, handle: BatchHandle) -> None:
        """Asserts what the case is about: everything was answered and handed out."""
        assert handle.status == "succeeded"
        async with handle.results(order="input") as lines:
            texts = [line.answer.text.partition("] ")[2] async for line in lines if line.answer is not None]
        assert texts == [f"question {number}" for number in range(LINES)]
        state = await handle.state()
        assert (state.ok, state.failed, state.duplicate, state.extra, state.anomalies) == (LINES, 0, 0, 0, 0)
        assert self.delivered == set(range(LINES))
        assert len(self.simulator.account.purchases(kind="batch")) == 1


class CancelledProviderBatch(ProviderBatch):
    """The same, cancelled while the provider works: every line has an end, and nothing runs on there."""

    async def live(self, world: Life) -> None:
        """Submits, cancels, waits for the end."""
        async with self.serving(world) as service:
            handle = await self.submitted(service)
            await trio.sleep(15.0)
            await handle.cancel()
            await handle.ended()

    async def judge(self, handle: BatchHandle) -> None:
        """Every line has an end."""
        async with handle.results() as lines:
            assert len([line async for line in lines]) == LINES
