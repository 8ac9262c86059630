"""What the engine tells whoever watches it: typed facts, handed to one callable, with no way back.

An observer cannot change, delay, fail or repeat a request: it is called synchronously with a frozen value, and what it
raises goes to the log of the process. No event holds a secret, a header or a body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import Struct

from perdure.adapters.network.retry import FailureKind

_logger = logging.getLogger(__name__)


class Observation(Struct, frozen=True, kw_only=True, tag=True):
    """The call that an event is about: its queue, provider, model ("" for none) and trace."""

    queue: str
    provider: str
    model: str
    trace: str


class Enqueued(Observation, frozen=True, kw_only=True):
    """A call asks for its turn. `waiting`: calls that wait in the queue before it."""

    waiting: int


class Started(Observation, frozen=True, kw_only=True):
    """An attempt (from 1) has its slot, `waited_s` seconds after it asked."""

    attempt: int
    waited_s: float


class Completed(Observation, frozen=True, kw_only=True):
    """An attempt was answered as the caller wanted. `latency_s`: from the slot to the end of the answer, or to its
    headers where the body is streamed; `answer_bytes` is then 0. `request_bytes`: of the body, None if not known."""

    attempt: int
    status: int
    latency_s: float
    request_bytes: int | None
    answer_bytes: int


class AttemptFailed(Observation, frozen=True, kw_only=True):
    """An attempt ended otherwise. `kind` in our words, `status` if there was one, `will_retry` if another follows."""

    attempt: int
    kind: FailureKind
    status: int | None
    will_retry: bool


class Retried(Observation, frozen=True, kw_only=True):
    """A further attempt (`attempt`, from 2) follows in `wait_s` seconds because of `reason`."""

    attempt: int
    wait_s: float
    reason: FailureKind
    idempotency_key: str | None


class RateLimitHit(Observation, frozen=True, kw_only=True):
    """The provider said 429; the queue starts nothing for `paused_s` seconds."""

    paused_s: float


class RateLimitLearnt(Observation, frozen=True, kw_only=True):
    """An answer's headers said what remains, of requests and of tokens; None: not said."""

    requests_remaining: float | None
    tokens_remaining: float | None


class QueueTimedOut(Observation, frozen=True, kw_only=True):
    """A call's deadline passed while it waited for its turn or for a retry; it has left the queue."""

    waited_s: float


Event = Enqueued | Started | Completed | AttemptFailed | Retried | RateLimitHit | RateLimitLearnt | QueueTimedOut

Observer = Callable[[Event], None]


class QueueSnapshot(Struct, frozen=True, kw_only=True):
    """A queue at this moment. `waiting` calls, `in_flight` requests, `available` slots, `wait_s` until the limits allow
    a small request (`paused_s` of it a pause), `processed` attempts that ended, `peak_waiting` so far."""

    queue: str
    waiting: int
    in_flight: int
    available: int
    wait_s: float
    paused_s: float
    processed: int
    peak_waiting: int


def guarded(observer: Observer) -> Observer:
    """`observer`, with what it raises sent to the log instead of to the request."""

    def observe(event: Event) -> None:
        try:
            observer(event)
        except Exception:
            _logger.exception("observer %r failed on %s; the request goes on", observer, type(event).__name__)

    return observe
