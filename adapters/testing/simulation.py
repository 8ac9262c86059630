"""A simulation: a whole service and the provider that it talks to, in one process and on trio's clock.

Nothing of the service is replaced but what it finds around itself: connections are streams in memory, blocking work is
done at once, and the time is trio's. Under `trio.testing.MockClock(autojump_threshold=0)` the clock therefore jumps
over every wait, and only there: all else happens at one instant.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trio

from perdure.actors.service import Service
from perdure.adapters import composition
from perdure.adapters.composition import Surroundings
from perdure.adapters.config import Config
from perdure.adapters.server import Limits, Reception
from perdure.adapters.simulator import Clock, Simulator
from perdure.adapters.simulator.routes import RoutePattern
from perdure.adapters.simulator.traffic import Seen
from perdure.adapters.testing.aim import aimed
from perdure.adapters.testing.memory import connect_in_memory
from perdure.events.ids import make_id
from perdure.store.disk import InlineDisk

STARTS_AT: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""When a simulation in a new directory begins."""

BATCH_S: Final = 3_600.0
"""How long a batch takes unless the test says otherwise, in simulated seconds."""

LONGEST_S: Final = 7 * 86_400.0
"""Simulated time after which a simulation gives up. With nothing to do a clock that jumps is here in a moment."""

POLLS_A_BATCH: Final = 10
"""How often the provider asks to be polled while a batch takes its time."""

HOST: Final = "provider.test"
"""The provider's name in a simulation; `.test` is no real domain (RFC 2606)."""

_LOG_FOLDER: Final = "log"
_HEIR_FOLDER: Final = "log-survived"
_LOG_NAME: Final = "perdure.db"
_TIME_FILE: Final = "ended-at"
_MEMORY_DISK: Final = Path("/dev/shm")


class Simulation:
    """A simulated provider, and services that talk to it. Made by `simulation`.

    Attributes: `account`, what was bought; `faults`, what is armed; `holds`, the requests that are kept waiting;
    `traffic`, what was seen; `make_file`, a file as a provider's tools make it: the simulator's own, see
    `docs/simulator.md`. `directory`, where everything is kept;
    `path`, the log in it.
    """

    def __init__(self, directory: Path, simulator: Simulator, clock: _SimulatedClock, nursery: trio.Nursery) -> None:
        self.directory = directory
        self.path = directory / _LOG_FOLDER / _LOG_NAME
        self.account = simulator.account
        self.faults = simulator.faults
        self.holds = simulator.holds
        self.traffic = simulator.traffic
        self.make_file = simulator.make_file
        self._surroundings = Surroundings(
            disk=InlineDisk(),
            clock=clock.now_us,
            monotonic=lambda: clock.now_us() / 1_000_000,
            connect=connect_in_memory(HOST, Reception(simulator.app, Limits()), nursery),
            ids=clock.new_id,
        )
        self._life: _Life | None = None

    @property
    def now(self) -> datetime:
        """The simulated time, which the service, its log and the provider share."""
        return datetime.fromtimestamp(self._surroundings.clock() / 1_000_000, UTC)

    def requests(self, route: str | None = None) -> list[Seen]:
        """What the provider was asked, oldest first; only what `route` matches, such as `POST /openai/v1/batches`."""
        return self.traffic.requests(None if route is None else RoutePattern(route))

    @asynccontextmanager
    async def open(self, *, config: Config | None = None) -> AsyncGenerator[Service]:
        """The service, as `perdure.open` gives it, with every provider simulated; opened again it goes on.

        `config` is taken as it stands but for the providers' addresses; without credentials of its own it gets one
        that the simulator takes. No file and no variable is read for it. Raises what `perdure.open` raises, `LogLocked`
        among it: one service at a time.
        """
        life = _Life()
        try:
            with life.scope:
                aim = aimed(config or Config(), f"http://{HOST}")
                async with composition.open(self.path, config=aim, surroundings=self._surroundings) as service:
                    self._life = life
                    yield service
        finally:
            if self._life is life:
                self._life = None
            if life.crashed:
                self._replace_log()
            life.over.set()

    async def crash(self) -> None:
        """Ends the open service at this instant, as `kill -9` would: no drain, no farewell, nothing more is written.

        What was durable stays, what was on its way to the provider arrives. The block of `open` is cancelled and left
        without an error, so nothing behind this call in it runs; elsewhere the call returns when the service is gone.
        Raises `RuntimeError` when none is open.
        """
        life = self._life
        if life is None:
            raise RuntimeError("no service is open: crash() belongs between the start and the end of open()'s block")
        if not life.crashed:
            # Tasks cannot be stopped without running their ends, and those write. So what the next start finds is a
            # copy from this instant, and the old service takes its leave in a log that nobody will read.
            survived = self.directory / _HEIR_FOLDER
            shutil.copytree(self.path.parent, survived, ignore=shutil.ignore_patterns("*-lock", "*-shm"))
            life.crashed = True
            life.scope.cancel()
        await life.over.wait()

    def _replace_log(self) -> None:
        shutil.rmtree(self.path.parent)
        (self.directory / _HEIR_FOLDER).rename(self.path.parent)


class _Life:
    """One service from its opening to its end."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.crashed = False
        self.over = trio.Event()


class _SimulatedClock:
    """The time of a simulation: `start_us`, and what has passed on trio's clock since. In µs since 1970, UTC."""

    def __init__(self, start_us: int) -> None:
        self._start_us = start_us
        self._began = trio.current_time()

    def now_us(self) -> int:
        return self._start_us + round((trio.current_time() - self._began) * 1_000_000)

    def now_s(self) -> float:
        return self.now_us() / 1_000_000

    def new_id(self, prefix: str) -> str:
        return make_id(prefix, self.now_us(), secrets.randbits(74))


@asynccontextmanager
async def simulation(
    *,
    batch_s: float = BATCH_S,
    seed: int = 0,
    directory: str | os.PathLike[str] | None = None,
    longest_s: float = LONGEST_S,
) -> AsyncGenerator[Simulation]:
    """A simulated provider in memory, and services on trio's clock that talk to it: `async with … .open() as service`.

    Run the test on a clock that jumps, `trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))` or
    pytest-trio's `autojump_clock`, and a batch of a day takes milliseconds. Do not wait for threads or sockets of your
    own meanwhile: the clock would jump.

    Args:
        batch_s: how long a batch takes at the provider, in simulated seconds.
        seed: decides the provider's ids and texts.
        directory: where log and provider are kept; another simulation there goes on, later than the last one ended.
            None: a temporary directory, in memory where there is such a place, removed at the end.
        longest_s: how many simulated seconds the block may take: what waits for something that never comes ends here.

    Raises `trio.TooSlowError` after `longest_s`, `Conflict` when another simulation works in `directory`.
    """
    failure: Exception | None = None
    with _place(directory) as place, trio.move_on_after(longest_s) as limit:
        time_file = place / _TIME_FILE
        clock = _SimulatedClock(_start_us(time_file))
        simulator = Simulator(
            data=place / "provider",
            seed=seed,
            batch_s=batch_s,
            poll_after_ms=max(1, round(batch_s * 1_000 / POLLS_A_BATCH)),
            clock=Clock(clock.now_s),
            disk=InlineDisk(),
        )
        with simulator:
            try:
                async with trio.open_nursery() as nursery:
                    try:
                        yield Simulation(place, simulator, clock, nursery)
                    except Exception as error:
                        failure = error  # raised again below: the nursery would wrap a failed assertion into a group
                    nursery.cancel_scope.cancel()
            finally:
                time_file.write_text(str(clock.now_us()), encoding="ascii")
    if failure is not None:
        raise failure
    if limit.cancelled_caught:
        passed = timedelta(seconds=longest_s)
        raise trio.TooSlowError(f"the simulation was not left within {passed}: what it waits for does not come")


@contextmanager
def _place(directory: str | os.PathLike[str] | None) -> Generator[Path]:
    if directory is not None:
        place = Path(directory)
        (place / _LOG_FOLDER).mkdir(parents=True, exist_ok=True)
        yield place
        return
    memory = _MEMORY_DISK if os.access(_MEMORY_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="perdure-testing-", dir=memory) as made:
        (Path(made) / _LOG_FOLDER).mkdir()
        yield Path(made)


def _start_us(time_file: Path) -> int:
    """When a simulation begins: a day is no time travel, so where one has been it is no earlier than its end."""
    try:
        return int(time_file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return int(STARTS_AT.timestamp() * 1_000_000)
