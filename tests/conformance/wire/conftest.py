"""The simulators that contracts are held against: one that many cases share, and a fresh one for lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from perdure.adapters.testing.loopback import LoopbackSimulator
from tests.conformance.wire.contract import PATIENCE_S, served


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """A plain client, on real sockets."""
    with httpx.Client(timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[LoopbackSimulator]:
    """One simulator for all cases."""
    with served() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: LoopbackSimulator) -> Iterator[LoopbackSimulator]:
    """The shared simulator, on which nothing is armed, before the test and after it."""
    yield shared_simulator
    shared_simulator.faults.clear()


@pytest.fixture
def fresh_simulator() -> Iterator[LoopbackSimulator]:
    """A simulator in which there is nothing yet."""
    with served() as simulator:
        yield simulator


@pytest.fixture
def make_file(fresh_simulator: LoopbackSimulator, http: httpx.Client) -> Callable[..., str]:
    """Makes a file that holds `written`, as a provider's hosted tools do, and gives its id."""

    def make(provider: str, **said: str) -> str:
        address, params = fresh_simulator.url + "/_sim/files", {"provider": provider, "filename": "a.txt", **said}
        return str(http.post(address, params=params, content=b"written").json()["id"])

    return make
