"""The processes of the demonstration: a simulated provider, and workers that are killed. All on loopback."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio
from msgspec import Struct

import perdure
from perdure.events.errors import Unavailable

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long anything in the demonstration may take before it has failed, in seconds."""


class Bought(Struct, frozen=True):
    """An entry of the simulator's account."""

    provider: str
    kind: str
    id: str
    identity: str
    units: int


class Counts(Struct, frozen=True):
    """How many requests of a batch there are, and how many of them are answered."""

    total: int = 0
    completed: int = 0


class TheirBatch(Struct, frozen=True):
    """A batch as the simulator shows it."""

    id: str
    status: str
    request_counts: Counts


class _Account(Struct, frozen=True):
    purchases: list[Bought]


class _Held(Struct, frozen=True):
    held: list[dict[str, Any]]


def environment(folder: Path) -> Mapping[str, str]:
    """What the processes get: no key, no proxy and no setting of whoever runs the demonstration."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PERDURE_") and not name.endswith(("_API_KEY", "_TOKEN")) and "proxy" not in name.lower()
    }
    packages = str(Path(perdure.__file__).parent.parent)
    path = os.pathsep.join([packages, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "XDG_CONFIG_HOME": str(folder / "config"), "OPENAI_API_KEY": "simulated"}


class Process:
    """`perdure ARGUMENTS` in a process of its own; its standard error goes into a file."""

    def __init__(self, process: trio.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    @classmethod
    async def start(cls, folder: Path, name: str, arguments: Sequence[str], *, stdout: int | None = None) -> Process:
        """Starts it in `folder`."""
        errors = folder / f"{name}.log"
        with errors.open("wb") as file:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "perdure", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout if stdout is not None else file.fileno(),
                stderr=file.fileno(),
                cwd=folder,
                env=environment(folder),
            )
        return cls(process, errors)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def kill(self) -> int:
        """Sends SIGKILL, which no process can see coming, and returns how it ended: -9."""
        self._process.kill()
        return await self._process.wait()

    async def ended(self) -> int:
        """Waits for its end and returns its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends it if it is still there."""
        if self._process.poll() is None:
            with trio.CancelScope(shield=True):
                await self.kill()

    async def first_line(self) -> str:
        """The first line that it writes to standard output."""
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            chunk = await self._process.stdout.receive_some(1)
            if not chunk:
                raise Unavailable(f"a process said nothing and ended: {self.errors()}")
            line += chunk
        return line.decode().strip()

    def errors(self) -> str:
        """The end of what it said on standard error."""
        return self._errors.read_text(errors="replace").strip()[-2_000:]


class Provider:
    """The simulator: a process, and what can be asked of it."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self._address = url.removeprefix("http://")

    @classmethod
    async def start(cls, folder: Path, batch_s: float) -> Provider:
        """Starts one whose batches take `batch_s` seconds."""
        arguments = ["simulate", "--port", "0", "--batch-seconds", f"{batch_s}", "--data", str(folder / "provider")]
        process = await Process.start(folder, "provider", arguments, stdout=subprocess.PIPE)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(process.stop)
            url = await process.first_line()
            undo.pop_all()
        return cls(process, url)

    @property
    def base_url(self) -> str:
        """Where OpenAI's routes are."""
        return f"{self.url}/openai/v1"

    async def hold_next_batch(self) -> None:
        """The next batch is made and bought, and the answer kept back."""
        fault = {"fault": "hold", "route": "POST /openai/v1/batches"}
        await self._ask("POST", "/_sim/faults", dict[str, Any], fault)

    async def wait_held(self) -> None:
        """Waits until an answer is kept back."""
        held = await self._ask("GET", f"/_sim/held?wait=1&timeout_s={PATIENCE_S:.0f}", _Held)
        if not held.held:
            raise Unavailable("no request was held: the worker did not get as far as the batch")

    async def release(self) -> None:
        """Lets go of what is held, so that nothing waits for a dead process."""
        await self._ask("POST", "/_sim/release", dict[str, Any], {})

    async def account(self) -> Sequence[Bought]:
        """What was bought."""
        return (await self._ask("GET", "/_sim/purchases", _Account)).purchases

    async def batch(self, id_: str) -> TheirBatch:
        """A batch as it stands there."""
        return await self._ask("GET", f"/openai/v1/batches/{id_}", TheirBatch)

    async def _ask(self, method: str, path: str, type_: type[T], body: object = None) -> T:
        def ask() -> bytes:
            connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_S)
            try:
                text = None if body is None else msgspec.json.encode(body)
                connection.request(method, path, text, {"authorization": "Bearer simulated"})
                answer = connection.getresponse()
                said = answer.read()
            finally:
                connection.close()
            if answer.status >= 300:
                raise Unavailable(f"the simulator answered {answer.status}: {said[:200]!r}")
            return said

        return msgspec.json.decode(await trio.to_thread.run_sync(ask, abandon_on_cancel=True), type=type_)
