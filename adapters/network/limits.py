"""How fast a queue may send: token buckets and a pause. Pure: the time is an argument, in seconds of any one clock.

The invariant: a request takes from all buckets or from none.
"""

from __future__ import annotations

from math import inf
from typing import Final

from perdure.adapters.network.rate_headers import Quota, RateReport

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0

_ROUNDING: Final = 1e-6
"""Levels are sums of floats: a bucket that is this little short of enough has enough."""


class Bucket:
    """Holds up to `capacity` and refills evenly, all of it in `period_s` seconds. Starts full."""

    __slots__ = ("_at", "_level", "capacity", "rate_per_s")

    def __init__(self, capacity: float, period_s: float, now: float) -> None:
        self.capacity = capacity
        self.rate_per_s = capacity / period_s
        self._level = capacity
        self._at = now

    def level(self, now: float) -> float:
        """What can be taken at `now`."""
        if now > self._at:
            self._level = min(self.capacity, self._level + (now - self._at) * self.rate_per_s)
            self._at = now
        return self._level

    def take(self, amount: float, now: float) -> bool:
        """Takes `amount`, or nothing and says False."""
        if self.level(now) + _ROUNDING < amount:
            return False
        self._level = max(0.0, self._level - amount)
        return True

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken; `inf` where it never fits."""
        missing = amount - self.level(now)
        if missing <= _ROUNDING:
            return 0.0
        if amount > self.capacity + _ROUNDING or self.rate_per_s <= 0:
            return inf
        return missing / self.rate_per_s

    def set_remaining(self, remaining: float, now: float) -> None:
        """Overrides the level, at most with the capacity."""
        self.level(now)
        self._level = max(0.0, min(self.capacity, remaining))

    def set_capacity(self, capacity: float, now: float) -> None:
        """Changes how much fits, keeps the period; a level above the new capacity is lowered to it."""
        self.level(now)
        if self.capacity > 0:
            self.rate_per_s *= capacity / self.capacity
        self.capacity = capacity
        self._level = min(self._level, capacity)


class Limiter:
    """One queue's rate limits: configured (None: no limit), narrowed by what the provider's answers report.

    `tokens` of a request count against the token limit only.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        requests_per_day: float | None,
        now: float,
    ) -> None:
        self._minute = _bucket(requests_per_minute, MINUTE_S, now)
        self._tokens = _bucket(tokens_per_minute, MINUTE_S, now)
        self._day = _bucket(requests_per_day, DAY_S, now)
        self._learnt_requests: Bucket | None = None
        self._learnt_tokens: Bucket | None = None
        self._paused_until = -inf
        self._collect()

    def _collect(self) -> None:
        requests = (self._minute, self._day, self._learnt_requests)
        tokens = (self._tokens, self._learnt_tokens)
        self._request_buckets = tuple(bucket for bucket in requests if bucket is not None)
        self._token_buckets = tuple(bucket for bucket in tokens if bucket is not None)

    def token_capacity(self) -> float:
        """The largest request in tokens that can ever pass; `inf` where there is no token limit."""
        return min((bucket.capacity for bucket in self._token_buckets), default=inf)

    def wait_s(self, tokens: float, now: float) -> float:
        """Seconds until a request of `tokens` may start; 0 now, `inf` never (it is larger than the token limit)."""
        wait = max(0.0, self._paused_until - now)
        for bucket in self._request_buckets:
            wait = max(wait, bucket.wait_s(1, now))
        if tokens > 0:
            for bucket in self._token_buckets:
                wait = max(wait, bucket.wait_s(tokens, now))
        return wait

    def take(self, tokens: float, now: float) -> bool:
        """Starts a request of `tokens`: takes from every bucket, or from none and says False."""
        if self.wait_s(tokens, now) > 0:
            return False
        for bucket in self._request_buckets:
            bucket.take(1, now)
        if tokens > 0:
            for bucket in self._token_buckets:
                bucket.take(tokens, now)
        return True

    def pause_until(self, at: float) -> None:
        """Nothing starts before `at`, whatever the buckets hold; an earlier pause is never shortened."""
        self._paused_until = max(self._paused_until, at)

    def paused_s(self, now: float) -> float:
        """What is left of a pause, in seconds."""
        return max(0.0, self._paused_until - now)

    def at_rest(self, now: float) -> bool:
        """Whether forgetting this limiter would lose nothing: not paused, and every bucket is full."""
        buckets = self._request_buckets + self._token_buckets
        return self.paused_s(now) == 0 and all(bucket.level(now) >= bucket.capacity for bucket in buckets)

    def learn(self, report: RateReport, now: float) -> None:
        """Takes over what an answer reported.

        The provider's own limit becomes a bucket beside the configured ones. All are lowered to what it says remains
        and never raised: it has not counted what is on its way, and its limit may be over another period than ours.
        """
        if report.requests is not None:
            _lower(self._minute, report.requests, now)
            self._learnt_requests = _learnt(self._learnt_requests, report.requests, now)
        if report.tokens is not None:
            _lower(self._tokens, report.tokens, now)
            self._learnt_tokens = _learnt(self._learnt_tokens, report.tokens, now)
        self._collect()


def _bucket(capacity: float | None, period_s: float, now: float) -> Bucket | None:
    return None if capacity is None else Bucket(capacity, period_s, now)


def _lower(bucket: Bucket | None, quota: Quota, now: float) -> None:
    if bucket is not None and quota.remaining is not None and quota.remaining < bucket.level(now):
        bucket.set_remaining(quota.remaining, now)


def _learnt(bucket: Bucket | None, quota: Quota, now: float) -> Bucket | None:
    """The provider's own bucket. `reset_s` is when it would be full again, so it also tells the rate."""
    limit = quota.limit if quota.limit is not None else (bucket.capacity if bucket is not None else None)
    if limit is None or limit <= 0:
        return bucket
    if bucket is None:
        bucket = Bucket(limit, MINUTE_S, now)
    elif bucket.capacity != limit:
        bucket.set_capacity(limit, now)
    if quota.remaining is not None:
        # Never raised by an answer: requests of ours that the provider had not counted yet are taken from it already.
        bucket.set_remaining(min(quota.remaining, bucket.level(now)), now)
        missing = limit - quota.remaining
        if quota.reset_s is not None and quota.reset_s > 0 and missing > 0:
            bucket.rate_per_s = missing / quota.reset_s
    return bucket
