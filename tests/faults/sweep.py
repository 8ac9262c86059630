"""The in-process crash sweep: a workload dies at every occurrence of every crash point, and each time goes on.

A `Case` is a workload with the world that outlives the process: fake providers, their accounts. For each crash point
that its first, undisturbed life passes, and for each occurrence of it, a new case is run up to there. At that instant
the files of its log are copied, the world is marked dead (whatever still runs finds nothing to act on) and the loop is
abandoned. A second life runs on the copy, to the end; then the case is checked. What is swept for one crash point ends
when a life passes without dying, so nothing is missed when occurrences differ from run to run.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from perdure.store.disk import InlineDisk
from tests.faults.simulated import simulate

DIES_OFTEN: Final = 10_000
"""Occurrences of one crash point after which a sweep gives up: its workload does not end."""


class Died(BaseException):
    """The process ended here. Nothing of the product catches it."""


class Death(NamedTuple):
    """Where a life ends: at the `occurrence`-th time (from 1) that `name` is passed for `kind`."""

    name: str
    kind: str
    occurrence: int


class World:
    """One life of a process: its directory, its disk, and whether it is still alive."""

    def __init__(self, directory: Path, death: Death | None = None, heir: Path | None = None, seed: int = 0) -> None:
        self.directory = directory
        self.disk = InlineDisk()
        self.seed = seed
        self.dead = False
        self.hits: Counter[tuple[str, str]] = Counter()
        self._death = death
        self._heir = heir

    def act(self) -> None:
        """To be called by every fake port before it acts. Raises `Died` when the process has died."""
        if self.dead:
            raise Died

    def probe(self, name: str, kind: str) -> None:
        """Counts a crash point, and dies there if it is this life's."""
        self.act()
        self.hits[name, kind] += 1
        if self._death is not None and (name, kind, self.hits[name, kind]) == self._death:
            self.dead = True
            assert self._heir is not None
            shutil.copytree(self.directory, self._heir, ignore=shutil.ignore_patterns("*-lock", "*-shm"))
            raise Died


class Case(ABC):
    """A workload and its outside world. One object lives through all lives of one run."""

    @abstractmethod
    async def live(self, world: World) -> None:
        """Opens the log in `world.directory` (inline disk, virtual clock), asks for the work, returns when it is done.

        It is called again after a death, on what survived: asking must be idempotent, as a user's is. Every fake port
        calls `world.act()` before it acts.
        """

    @abstractmethod
    async def check(self, world: World) -> None:
        """Asserts all that must hold once the work is done."""


class Swept(NamedTuple):
    """What a sweep did: how often it died, and the crash points, by name and kind, where it did."""

    deaths: int
    hit: frozenset[tuple[str, str]]

    @property
    def names(self) -> frozenset[str]:
        """The crash points by name."""
        return frozenset(name for name, _ in self.hit)


def live_through(make: Callable[[], Case], root: Path, deaths: Sequence[Death], *, seed: int = 0) -> list[World]:
    """Runs one case through `deaths`, one for each life, then to its end, and checks it. Gives its worlds.

    A life that ends before its death is reached is the last one.
    """
    case = make()
    worlds: list[World] = []
    directory = _fresh(root)
    for death in (*deaths, None):
        heir = _fresh(root, create=False)
        world = World(directory, death, heir, seed + len(worlds))
        worlds.append(world)
        try:
            simulate(partial(case.live, world), seed=world.seed, probe=world.probe)
        except BaseException:
            if not world.dead:
                raise
            directory = heir
            continue
        assert not world.dead, f"{death}: the life went on after its death: something caught it"
        break
    end = World(worlds[-1].directory, seed=seed)
    simulate(partial(case.check, end), seed=seed)
    for path in root.iterdir():
        shutil.rmtree(path)
    return worlds


def sweep(
    make: Callable[[], Case],
    root: Path,
    *,
    expected: Iterable[str],
    every: int = 1,
    then: Sequence[Death] = (),
    seed: int = 0,
) -> Swept:
    """Dies at every occurrence (at every `every`-th, for a sample) of every crash point that the case passes.

    `then` are deaths of the second and later lives. Raises `AssertionError` when a name in `expected` was never hit,
    when a check fails, or when a life hangs (`trio.TooSlowError`); the failure's note names the death.
    """
    (undisturbed,) = live_through(make, root, (), seed=seed)
    hit: set[tuple[str, str]] = set()
    deaths = 0
    for name, kind in sorted(undisturbed.hits):
        for occurrence in range(1, DIES_OFTEN, every):
            death = Death(name, kind, occurrence)
            try:
                worlds = live_through(make, root, (death, *then), seed=seed)
            except BaseException as error:
                error.add_note(f"after {death}, seed {seed}")
                raise
            if not worlds[0].dead:
                break
            deaths += 1
            hit.add((name, kind))
        else:
            raise AssertionError(f"{name} for {kind!r} is passed more than {DIES_OFTEN} times")
    swept = Swept(deaths, frozenset(hit))
    missed = sorted(set(expected) - swept.names)
    assert not missed, f"never hit: {missed}; hit were {sorted(swept.hit)}"
    return swept


def _fresh(root: Path, *, create: bool = True) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    number = len(list(root.iterdir()))
    path = root / f"life-{number}"
    if create:
        path.mkdir()
    return path
