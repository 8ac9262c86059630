"""A whole service and the simulated providers that outlive it, for sweeps.

The bytes are real, on streams in memory; the time is virtual. What was on its way to a provider when the service died
arrives there, and nothing more does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio
import trio.testing

import perdure
from perdure.adapters import composition
from perdure.adapters.composition import Surroundings
from perdure.adapters.server import Limits, Reception
from perdure.adapters.simulator import Clock, Simulator
from perdure.adapters.simulator.faults import Fault
from perdure.adapters.testing.aim import aimed
from perdure.adapters.testing.memory import connect_in_memory
from perdure.store.disk import InlineDisk
from tests.actors.living import EPOCH_US
from tests.faults.simulated import seeded_ids
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life
from tests.secrets import unique_key

HOST: Final = "provider.test"
KEY: Final = unique_key()
CREDENTIALS: Final = {"default": perdure.Secret(KEY), "other": perdure.Secret(KEY)}
PROVIDERS: Final = ("openai", "anthropic", "google", "xai")


class AtProviders(Case):
    """A case whose outside world is the simulator. `faults` strike it once each, over all lives.

    The bytes of the providers are below `home`, which no life of the process touches. `batch_s`: how long batches take.
    """

    def __init__(self, home: Path, *faults: Fault, batch_s: float = 30.0) -> None:
        self.faults: Sequence[Fault] = faults
        self._born_us = EPOCH_US
        self._now_us = EPOCH_US
        home.mkdir(parents=True)
        clock = Clock(lambda: self._now_us / 1_000_000)
        self.simulator = Simulator(data=home, clock=clock, disk=InlineDisk(), batch_s=batch_s)
        self.simulator.faults.arm(*faults)

    def now_us(self) -> int:
        """The time, which goes on from life to life."""
        self._now_us = max(self._now_us, self._born_us + round(trio.current_time() * 1_000_000))
        return self._now_us

    @asynccontextmanager
    async def serving(self, world: Life) -> AsyncGenerator[perdure.Service]:
        """The service of one life, and the providers."""
        self._born_us = self._now_us
        config = perdure.Config(
            providers={name: perdure.ProviderConfig(credentials=CREDENTIALS) for name in PROVIDERS},
            limits=perdure.Limits(grace_s=0.0, purchase_grace_s=0.0),
        )
        async with trio.open_nursery() as nursery:
            connect = connect_in_memory(HOST, Reception(self.simulator.app, Limits()), nursery)

            async def connect_alive(host: str, port: int) -> trio.abc.Stream:
                self.now_us()  # the providers' clock stands still while nobody looks at ours
                return Line(await connect(host, port), world)

            surroundings = Surroundings(
                disk=world.disk,
                clock=self.now_us,
                monotonic=lambda: self.now_us() / 1_000_000,
                connect=connect_alive,
                ids=seeded_ids(world.seed, EPOCH_US),
            )
            try:
                async with composition.open(
                    world.directory / "p.db", config=aimed(config, f"http://{HOST}"), surroundings=surroundings
                ) as service:
                    yield service
            finally:
                if world.dead:
                    await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        world.act()  # an effect that died while it was cut off ends as cut off, and nobody above it hears of its death


class Line(trio.abc.Stream):
    """A connection of a process: a dead one sends nothing."""

    def __init__(self, stream: trio.abc.Stream, world: Life) -> None:
        self._stream = stream
        self._world = world

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        self._world.act()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()
