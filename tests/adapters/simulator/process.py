"""A simulator in a process of its own, for tests that kill one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.adapters.simulator.bench import PATIENCE_S, key
from tests.secrets import assert_no_key, unique_key


class Running(NamedTuple):
    """The process, its base URL, and a client with a key."""

    process: subprocess.Popen[str]
    url: str
    http: httpx.Client

    def peak_bytes(self) -> int:
        """The most memory that the process ever had, in bytes, as the kernel tells it (Linux: `VmHWM`)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024


@contextmanager
def running(*arguments: str) -> Generator[Running]:
    """`python -m perdure.adapters.simulator` with these arguments; killed at the end of the block if still alive."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perdure.adapters.simulator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, headers=key(unique_key()), timeout=PATIENCE_S) as http:
            yield Running(process, url, http)
            if process.poll() is None:
                for told in ("/_sim/requests", "/_sim/purchases"):
                    assert_no_key(told, http.get(told).content)
    finally:
        process.kill()
        assert_no_key("what the simulator wrote", "".join(process.communicate(timeout=PATIENCE_S)))
