"""A simulated run: virtual clock, seeded scheduler, seeded ids. The same seed gives the same run."""

from __future__ import annotations

import importlib
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
import trio.testing

from perdure.events.ids import IdSource, make_id
from perdure.store.crash_points import Probe, armed

T = TypeVar("T")

LONGEST_S = 90 * 86_400.0
"""Virtual time after which a run counts as hung: with every task blocked the clock jumps here at once."""


def simulate(main: Callable[[], Awaitable[T]], *, seed: int = 0, probe: Probe | None = None) -> T:
    """Runs `main` to its end, or raises what ends it; `trio.TooSlowError` when nothing happens any more."""

    async def bounded() -> T:
        with trio.fail_after(LONGEST_S):
            return await main()

    with seeded_scheduler(seed), armed(probe or (lambda name, kind: None)):
        return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0))


def seeded_ids(seed: int, at_us: int) -> IdSource:
    """Ids from a seed, all made at `at_us`."""
    source = random.Random(seed)
    return lambda prefix: make_id(prefix, at_us, source.getrandbits(74))


@contextmanager
def seeded_scheduler(seed: int) -> Generator[None]:
    """Has trio choose among runnable tasks by `seed`. The two names are trio's own, kept for tests like this."""
    core: Any = importlib.import_module("trio._core._run")
    generator, allowed = core._r, core._ALLOW_DETERMINISTIC_SCHEDULING
    core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = random.Random(seed), True
    try:
        yield
    finally:
        core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = generator, allowed
