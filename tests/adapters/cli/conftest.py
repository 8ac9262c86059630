"""One simulator for all tests of the command line, and a folder for each."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.adapters.cli.shell import Shell
from tests.adapters.simulator.process import running


@pytest.fixture(scope="session")
def simulator_url() -> Generator[str]:
    """A simulator whose batches take 0.3 seconds."""
    with running("--batch-seconds", "0.3") as simulator:
        yield simulator.url


@pytest.fixture
def shell(tmp_path: Path, simulator_url: str) -> Generator[Shell]:
    """A shell in an empty folder; no fault is left armed."""
    shell = Shell(tmp_path, simulator_url)
    yield shell
    shell.control("DELETE", "/_sim/faults")
    shell.control("POST", "/_sim/release")
