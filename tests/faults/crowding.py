"""Processes that tell in lines what they are at, so that a test can kill one at a moment or at any time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from tests.secrets import assert_no_key

WORKERS: Final = Path(__file__).with_name("workers")
ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 60.0
"""How long a worker may be silent before it counts as hung."""


class Worker:
    """A process and what it has told. Made by `working`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._said = b""
        self._complained = b""
        self._changed = trio.Event()
        self._open = True

    async def says(self, word: str) -> bool:
        """Waits until it has said `word` in a line of its own; False when it ended without. `trio.TooSlowError`."""
        return await self._reached(lambda: word in self._lines())

    async def ends(self) -> Any:
        """Waits for its end and gives the JSON value in its last line; None when it was killed before."""
        await self._reached(lambda: False)
        with trio.fail_after(PATIENCE_S):
            await self.process.wait()
        if self.process.returncode == -9:
            return None
        assert self.process.returncode == 0, self._complained.decode()
        return json.loads(self._lines()[-1])

    def _lines(self) -> list[str]:
        return [line.decode() for line in self._said.splitlines()]

    async def _reached(self, done: Any) -> bool:
        while not done():
            if not self._open:
                return False
            with trio.fail_after(PATIENCE_S):
                await self._changed.wait()
        return True

    async def listen(self) -> None:
        """Takes in what it says and complains of, to its end; no key may be in either."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._complaints)
            assert self.process.stdout is not None
            async for chunk in self.process.stdout:
                self._said += chunk
                self._tell()
        self._open = False
        self._tell()
        assert_no_key("what a worker wrote", self._said + self._complained)

    async def _complaints(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self._complained += chunk

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def working(name: str, *arguments: object, environment: Mapping[str, str]) -> AsyncGenerator[Worker]:
    """`workers/<name>.py` until the block is left, then killed if it still runs."""
    process = await trio.lowlevel.open_process(
        [sys.executable, str(WORKERS / f"{name}.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd=ROOT,
    )
    worker = Worker(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.listen)
            try:
                yield worker
            finally:
                process.kill()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
