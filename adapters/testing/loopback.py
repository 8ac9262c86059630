"""A simulator on a port of this machine, for tests that are not asynchronous and for other processes.

It runs in a thread of its own and in real time. What a test asks of it is done there, so its state has one owner.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from perdure.adapters.config import Config
from perdure.adapters.simulator import Simulator
from perdure.adapters.simulator.faults import Armed, Fault
from perdure.adapters.simulator.holds import Held
from perdure.adapters.simulator.routes import RoutePattern
from perdure.adapters.simulator.traffic import Seen
from perdure.adapters.testing.aim import aimed, environment

PATIENCE_S: Final = 10.0
"""How long `wait_held` waits unless told otherwise, in seconds."""


class LoopbackSimulator:
    """A simulated provider that can be reached under `url`. Made by `loopback_simulator`.

    Attributes: `url`, the address, without a slash at the end; `account`, what was bought; `faults`, what is armed;
    `holds`, what is kept waiting. All may be used in any thread.
    """

    def __init__(self, portal: BlockingPortal, simulator: Simulator, url: str) -> None:
        self.url = url
        self.account = simulator.account
        self.faults = _Faults(portal, simulator)
        self.holds = _Holds(portal, simulator)
        self._portal = portal
        self._simulator = simulator

    @property
    def config(self) -> Config:
        """A configuration that leads here, for a `perdure.open` in this process."""
        return self.aim(Config())

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead another process here: addresses of providers, and keys that are taken."""
        return environment(self.url)

    def aim(self, config: Config) -> Config:
        """`config` with every provider here; credentials that it names stay as they are."""
        return aimed(config, self.url)

    def requests(self, route: str | None = None) -> list[Seen]:
        """What was asked for, oldest first; only what `route` matches, such as `POST /openai/v1/batches`."""
        pattern = None if route is None else RoutePattern(route)
        return self._portal.call(self._simulator.traffic.requests, pattern)

    def advance(self, by_s: float) -> None:
        """Moves the simulator's clock forward by `by_s` seconds: batches get on. The service's clock does not move."""
        self._portal.call(self._simulator.clock.advance, by_s)


class _Faults:
    """What is told to go wrong."""

    def __init__(self, portal: BlockingPortal, simulator: Simulator) -> None:
        self._call = portal.call
        self._faults = simulator.faults

    def arm(self, *faults: Fault) -> list[Armed]:
        """Arms faults, behind those that are armed already. Raises `ValueError` for a route that does not exist."""
        return self._call(self._faults.arm, *faults)

    def armed(self) -> list[Armed]:
        """All that is armed, oldest first."""
        return self._call(self._faults.armed)

    def clear(self) -> None:
        """Disarms everything. What has already struck a batch stays with that batch."""
        self._call(self._faults.clear)


class _Holds:
    """Requests that are kept waiting."""

    def __init__(self, portal: BlockingPortal, simulator: Simulator) -> None:
        self._call = portal.call
        self._holds = simulator.holds

    def wait_held(self, count: int = 1, *, timeout_s: float = PATIENCE_S) -> list[Held]:
        """Blocks until at least `count` requests are held. Raises `trio.TooSlowError` after `timeout_s` seconds."""

        async def wait() -> list[Held]:
            with trio.fail_after(timeout_s):
                return await self._holds.wait_held(count)

        return self._call(wait)

    def release(self, id_: str | None = None) -> list[Held]:
        """Lets one held request go on, or all, and returns which."""
        return self._call(self._holds.release, id_)


@contextmanager
def loopback_simulator(
    *, batch_s: float = 0.0, seed: int = 0, directory: Path | None = None
) -> Generator[LoopbackSimulator]:
    """A simulator on a free loopback port until the block is left, for tests without trio and for other processes.

    `batch_s` is how long a batch takes, in real seconds; 0: it is done when first asked for. `seed` decides ids and
    texts. `directory` keeps files and account; None: they end with the block.
    """
    with (
        start_blocking_portal("trio") as portal,
        Simulator(data=directory, seed=seed, batch_s=batch_s) as simulator,
        portal.wrap_async_context_manager(_served(simulator)) as url,
    ):
        yield LoopbackSimulator(portal, simulator, url)


@asynccontextmanager
async def _served(simulator: Simulator) -> AsyncGenerator[str]:
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(simulator.serve)
        yield bound.url
        nursery.cancel_scope.cancel()
