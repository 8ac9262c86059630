"""When to try again: retry policies in layers, back-off, and `Retry-After`. Pure.

A call's policy is the built-in one, overlaid by the engine's, the queue's and the request's override, in that order;
an override names only what it changes, groups included.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from random import Random
from types import MappingProxyType
from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from perdure.actors.fetch import RefusalKind

FailureKind = RefusalKind | Literal["timeout", "network"]
"""Why an attempt failed: the provider's refusal in our words, or no answer in time, or no whole answer."""

RETRIED_KINDS: Final[Mapping[FailureKind, int]] = MappingProxyType(
    {"rate_limit": 5, "server_error": 2, "timeout": 2, "network": 2}
)
"""How often each kind is tried again. Two retries are what the providers' SDKs do; a rate limit is answered at no cost
and clears by waiting, so it gets more. A kind that is not named here is never retried, unless an override names it."""


class Backoff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exponential waits: `first_s`, times `factor` each time, at most `most_s`, each spread by ± `jitter`.

    0.5 s to 8 s is what the providers' SDKs do (contracts/providers.md 1); ±25 % keeps callers apart."""

    first_s: float = 0.5
    most_s: float = 8.0
    factor: float = 2.0
    jitter: float = 0.25

    def delay_s(self, retry: int, random: Random) -> float:
        """The wait before retry number `retry` (from 1), in seconds."""
        exponent = min(retry - 1, 64)
        delay = min(self.most_s, self.first_s * self.factor**exponent)
        return delay * (1 + self.jitter * (2 * random.random() - 1))


class RetryPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides about retries.

    `by_kind`: retries for each kind of failure. `fixed_s`: a fixed wait for a kind instead of the back-off.
    `max_retry_after_s`: a longer `Retry-After` is a refusal and ends the call; 120 s is what OpenAI's SDK obeys.
    `attempt_s`: the bound on one attempt, its answer's body included; 600 s is the SDKs' default timeout.
    """

    by_kind: Mapping[FailureKind, int] = RETRIED_KINDS
    fixed_s: Mapping[FailureKind, float] = {}
    backoff: Backoff = Backoff()
    max_retry_after_s: float = 120.0
    attempt_s: float = 600.0

    def allows(self, kind: FailureKind, retries_so_far: int) -> bool:
        """Whether a failure of `kind` may be tried again after `retries_so_far` retries."""
        return retries_so_far < self.by_kind.get(kind, 0)

    def wait_s(self, kind: FailureKind, retry: int, retry_after_s: float | None, random: Random) -> float:
        """Seconds before retry number `retry` (from 1): `Retry-After`, else the kind's fixed wait, else back-off."""
        if retry_after_s is not None:
            return retry_after_s
        fixed = self.fixed_s.get(kind)
        return self.backoff.delay_s(retry, random) if fixed is None else fixed

    def overlaid(self, override: RetryOverride | None) -> RetryPolicy:
        """This policy with what `override` names. `max_retries` replaces the number of every kind that is retried at
        all; `by_kind` then names single kinds."""
        if override is None:
            return self
        by_kind: dict[FailureKind, int] = dict(self.by_kind)
        if override.max_retries is not UNSET:
            most = override.max_retries
            by_kind = {kind: most for kind, number in by_kind.items() if number > 0 or kind in RETRIED_KINDS}
        backoff = structs.asdict(self.backoff)
        backoff.update({name: value for name, value in structs.asdict(override.backoff).items() if value is not UNSET})
        by_kind.update(override.by_kind)
        return RetryPolicy(
            by_kind=by_kind,
            fixed_s={**self.fixed_s, **override.fixed_s},
            backoff=Backoff(**backoff),
            max_retry_after_s=self.max_retry_after_s
            if override.max_retry_after_s is UNSET
            else override.max_retry_after_s,
            attempt_s=self.attempt_s if override.attempt_s is UNSET else override.attempt_s,
        )


class BackoffOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a `Backoff`."""

    first_s: float | UnsetType = UNSET
    most_s: float | UnsetType = UNSET
    factor: float | UnsetType = UNSET
    jitter: float | UnsetType = UNSET


class RetryOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a `RetryPolicy` in one layer; what is unset stays."""

    max_retries: int | UnsetType = UNSET
    by_kind: Mapping[FailureKind, int] = {}
    fixed_s: Mapping[FailureKind, float] = {}
    backoff: BackoffOverride = BackoffOverride()
    max_retry_after_s: float | UnsetType = UNSET
    attempt_s: float | UnsetType = UNSET


def parse_retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by `retry-after-ms`, else `retry-after` in seconds or as an HTTP date (RFC 9110, 10.2.3).

    `headers` are lower-case, `now` is aware. None for absent, negative, past or unreadable values."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    wait = (at - now).total_seconds()
    return wait if wait > 0 else None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None
