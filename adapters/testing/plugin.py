"""Fixtures for pytest, registered under `pytest11`: they are there wherever perdure is installed.

pytest imports this module in every run, so all else is imported when a fixture is first used. No fixture is
asynchronous: they work with pytest-trio, with anyio's plugin, and in tests that call `trio.run` themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from perdure.adapters.testing.loopback import LoopbackSimulator
    from perdure.adapters.testing.simulation import Simulation


@pytest.fixture
def perdure_simulation(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Simulation]]:
    """`perdure.testing.simulation` in this test's `tmp_path`, where pytest keeps log and account for a look at them.

    Takes the same keyword arguments. Entered a second time in one test it goes on with what is there.
    """
    from perdure.adapters.testing.simulation import simulation

    return partial(simulation, directory=tmp_path / "perdure")


@pytest.fixture
def perdure_simulator() -> Iterator[LoopbackSimulator]:
    """`perdure.testing.loopback_simulator`: a provider on a real port, for other processes and tests without trio."""
    from perdure.adapters.testing.loopback import loopback_simulator

    with loopback_simulator() as simulator:
        yield simulator
