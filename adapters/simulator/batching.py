"""What becomes of a simulated batch, and when: the same at every provider, whatever it calls its stages.

    validating ─► in_progress ─► finalizing ─► completed
         └─► failed    └──────────────┴─► cancelling ─► cancelled   (any of them, a window after creation) ─► expired

Pure functions of what is recorded about a batch and of the time: no timer drives one, so that a restart or a jump of
the clock changes nothing. What can be made to go wrong is its `Plan`; `faults.py` says each in words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal, Protocol

from msgspec import Struct

from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.storage import Tables

DAY_S: Final = 86_400.0

VALIDATING_SHARE: Final = 0.1
WORKING_SHARE: Final = 0.8
"""Which share of a batch's time is spent validating, and which in progress; the rest is spent finalizing. Ours."""

CANCELLING_SHARE: Final = 0.1
"""How long a cancellation takes, as a share of a batch's time. Ours."""

NOT_YET: Final = float("-inf")
"""A time before all that can happen to a batch: at it, every batch is being validated."""

Phase = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
"""Where a batch stands, in OpenAI's words; the other providers have fewer."""

TERMINAL: Final[frozenset[Phase]] = frozenset({"completed", "failed", "expired", "cancelled"})


class Complaint(Struct, frozen=True):
    """What a batch that is made to fail has against its input; `line` counts from 1, None: it is about all of it."""

    code: str
    message: str
    line: int | None = None


class Plan(Struct, frozen=True, omit_defaults=True):
    """How a batch goes wrong; nothing set means that it does not. See `faults.py` for each in words.

    `done` is the share of its lines that a batch gets through at most, 0 to 1. `unseen_s` is for how long after it was
    made it cannot be read by its id, in seconds.
    """

    stuck: Literal["", "validating", "in_progress", "finalizing"] = ""
    done: float = 1.0
    fail: Complaint | None = None
    failing: int = 0
    failing_status: int = 500
    shuffled: bool = False
    missing: int = 0
    duplicate: int = 0
    extra: int = 0
    garbled: int = 0
    only_error_file: bool = False
    no_files: bool = False
    empty_ids: bool = False
    keyless: bool = False
    unseen_s: float = 0.0


class Arrangement(Struct, frozen=True):
    """What shall go wrong with the next batch: its plan, how it ends early, and when it appears in lists.

    `expires` and `cancels` end it half-way; `unlisted_s` keeps it out of lists for so long.
    """

    plan: Plan = Plan()
    expires: bool = False
    cancels: bool = False
    unlisted_s: float = 0.0


Arrange = Callable[[Plan], Arrangement]
"""Adds to a plan what is armed for the next batch, and counts it as used."""


class CannotAfflict(Exception):
    """A batch that exists cannot be made to go wrong in this way; the message says why."""


class SimulatedBatches(Protocol):
    """A provider's batches, as far as the simulator as a whole deals with them."""

    async def afflict(self, id_: str, arrange: Arrange) -> bool:
        """Makes something go wrong with a batch that exists, at once; False: there is none with this id.

        Raises `CannotAfflict`.
        """
        ...

    def kept(self, tables: Tables) -> set[str]:
        """The names of the bytes that batches hold, besides files that have ids of their own."""
        ...


class Course(Struct, frozen=True, kw_only=True):
    """What decides how a batch goes. Times are seconds by the simulator's clock.

    `pace_s` is how long it takes without trouble, `window_s` after which time it expires.
    """

    created_at: float
    pace_s: float
    window_s: float = DAY_S
    plan: Plan = Plan()
    cancel_at: float | None = None
    expire_at: float | None = None


class Stage(Struct, frozen=True):
    """Where a batch stands. `since` is when it got there; `done` is how many of its lines have ended by then."""

    status: Phase
    since: float
    done: int


class Times(Struct, frozen=True):
    """When a batch's validation and its work are over, and when and how it ends; infinity for never."""

    checked: float
    worked: float
    end: tuple[float, Phase]


_NEVER: Final = float("inf")


def times(course: Course) -> Times:
    """The times of a batch whose input is good."""
    created, pace, stuck = course.created_at, course.pace_s, course.plan.stuck
    checked = _NEVER if stuck == "validating" else created + VALIDATING_SHARE * pace
    worked = _NEVER if stuck == "in_progress" else checked + WORKING_SHARE * pace
    completed = _NEVER if stuck == "finalizing" or worked == _NEVER else created + pace
    ends: list[tuple[float, Phase]] = [(completed, "completed"), (created + course.window_s, "expired")]
    if course.expire_at is not None:
        ends.append((course.expire_at, "expired"))
    if course.cancel_at is not None:
        # A cancellation that came in time wins over the completion that would have come while it goes on.
        ends[0] = (_NEVER, "completed")
        ends.append((course.cancel_at + CANCELLING_SHARE * pace, "cancelled"))
    return Times(checked, worked, min(ends))


def stage_of(course: Course, now: float, *, total: int, is_bad: bool) -> Stage:
    """Where the batch stands at `now`. `total`: how many lines it has; `is_bad`: its input was found to be bad."""
    at = times(course)
    ends, end = at.end
    if (is_bad or course.plan.fail is not None) and at.checked <= min(now, ends):
        return Stage("failed", at.checked, 0)
    if now >= ends:
        return Stage(end, ends, _done(course, at, ends, total))
    if course.cancel_at is not None and now >= course.cancel_at:
        return Stage("cancelling", course.cancel_at, _done(course, at, now, total))
    status, since = _working(at, now)
    return Stage(status, since, _done(course, at, now, total))


def input_due(course: Course, now: float) -> bool:
    """Whether the input must have been read by `now`: validation is over, or the batch has ended."""
    at = times(course)
    return now >= min(at.checked, at.end[0])


def _working(at: Times, now: float) -> tuple[Phase, float]:
    if now >= at.worked:
        return "finalizing", at.worked
    if now >= at.checked:
        return "in_progress", at.checked
    return "validating", NOT_YET


def _done(course: Course, at: Times, moment: float, total: int) -> int:
    ends, end = at.end
    if end == "completed" and moment >= ends:
        return total
    if course.cancel_at is not None:
        moment = min(moment, course.cancel_at)
    if moment < at.checked:
        return 0
    working_s = WORKING_SHARE * course.pace_s
    share = (moment - at.checked) / working_s if working_s > 0 else 1.0
    return int(total * min(share, course.plan.done))


class Spoilt(Struct, frozen=True):
    """Which lines of a batch, by their numbers from 0, its plan spoils, and how."""

    failing: frozenset[int]
    left_out: frozenset[int]
    doubled: frozenset[int]
    garbled: frozenset[int]


def chance_of(seed: int, batch_id: str) -> random.Random:
    """What decides all that is left to chance in one batch."""
    return random.Random(digest(seed, "lines", batch_id))


def spoil(plan: Plan, chance: random.Random, *, done: int, total: int) -> Spoilt:
    """Chooses the lines that a plan spoils, of `total`, the first `done` of which ran."""
    return Spoilt(
        _some(chance, done, done if plan.only_error_file else plan.failing),
        _some(chance, total, plan.missing),
        _some(chance, total, plan.duplicate),
        _some(chance, total, plan.garbled),
    )


def _some(chance: random.Random, of: int, count: int) -> frozenset[int]:
    """`count` different numbers below `of`, or all of them if there are not so many."""
    return frozenset(chance.sample(range(of), min(count, of))) if count else frozenset()
