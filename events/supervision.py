"""The runtime's own events: they stand in an actor's stream and are folded beside the kind's state, never in it."""

from __future__ import annotations

from perdure.events.event import Event


class EffectFailed(Event, frozen=True, tag="EffectFailed"):
    """An effect raised, or ended while it was still asked for, for the `count`-th time in a row.

    It is tried again at `retry_at` (µs since 1970, UTC). `error` is one line; it never holds a request or an answer.
    """

    effect: str
    count: int
    error: str
    retry_at: int


class EffectRecovered(Event, frozen=True, tag="EffectRecovered"):
    """An effect that had failed ran to its end and asked to be run again later: its failures are forgotten."""

    effect: str


class Parked(Event, frozen=True, tag="Parked"):
    """The runtime gave up on the actor after `effect` failed too often. What it owes stays owed until it is revived."""

    effect: str
    error: str
    traceback: str = ""


class Revived(Event, frozen=True, tag="Revived"):
    """A parked actor goes on with a clean record of failures."""


SupervisionEvent = EffectFailed | EffectRecovered | Parked | Revived
SUPERVISION_EVENTS: tuple[type[EffectFailed], type[EffectRecovered], type[Parked], type[Revived]] = (
    EffectFailed,
    EffectRecovered,
    Parked,
    Revived,
)
