"""A server as a process of its own: where it listens, the CPU it has used, and the memory it holds and held.

Memory is read from the kernel's account of the process's own address space, which begins anew with the program. What
`getrusage` tells of a child would begin with the size of the process that forked it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import _asgi_site

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process:
    """A server that runs. Attributes: `name`, `port`, `pid`."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.name = name
        self.pid = process.pid
        self.port = int(process.stdout.readline())
        self._process = process

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def resident_mib(self) -> float:
        """What it holds now."""
        return self._status_mib("VmRSS")

    def peak_mib(self) -> float:
        """The most it has held since its start."""
        return self._status_mib("VmHWM")

    def sockets(self) -> int:
        """How many it has open, the listening one among them."""
        count = 0
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since it was listed
                count += os.readlink(link).startswith("socket:")
        return count

    def terminate(self, patience_s: float) -> bool:
        """Ask it to stop in good order; whether it has ended within `patience_s`."""
        self._process.terminate()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _status_mib(self, field: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise LookupError(f"the kernel does not tell {field} of process {self.pid}")


@contextmanager
def running(name: str, *, core: int | None = None, quiet: bool = False) -> Generator[Process]:
    """A fresh process that serves, on one core if that is given, killed at the end. `quiet`: its log is dropped."""
    command = [sys.executable, "-m", _asgi_site.__name__, name]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield Process(name, process)
    finally:
        process.kill()
        process.communicate()
