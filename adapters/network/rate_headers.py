"""What answers' headers say about rate limits: one parser for each provider's dialect. Pure.

A provider without an entry in `RATE_HEADERS` is read as speaking OpenAI's dialect, which most copies; an answer without
such headers reports nothing. Junk in a header counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec import Struct


class Quota(Struct, frozen=True):
    """One limit: how much it allows, how much of it remains, and in how many seconds it is whole again. None: not
    said."""

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class RateReport(Struct, frozen=True):
    """What one answer said about requests and about tokens; None: nothing."""

    requests: Quota | None = None
    tokens: Quota | None = None


Parser = Callable[[Mapping[str, str], datetime], RateReport | None]
"""Reads lower-case headers at a wall-clock time (aware). None: the answer says nothing about limits."""

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration_s(text: str) -> float | None:
    """Seconds in `12ms`, `1s`, `6m0s`, `1h2m3.5s` or a bare number of seconds; None for anything else."""
    text = text.strip()
    if text.replace(".", "", 1).isdigit():
        return float(text)
    if not text or _DURATION.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def openai_dialect(headers: Mapping[str, str], now: datetime) -> RateReport | None:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; reset is a duration (contracts/providers.md 1)."""
    del now
    if "x-ratelimit-remaining-requests" not in headers and "x-ratelimit-remaining-tokens" not in headers:
        return None
    return _report(
        *(
            Quota(
                _number(headers.get(f"x-ratelimit-limit-{what}")),
                _number(headers.get(f"x-ratelimit-remaining-{what}")),
                parse_duration_s(headers.get(f"x-ratelimit-reset-{what}", "")),
            )
            for what in ("requests", "tokens")
        )
    )


def anthropic_dialect(headers: Mapping[str, str], now: datetime) -> RateReport | None:
    """`anthropic-ratelimit-{requests,tokens,input-tokens}-{limit,remaining,reset}`; reset is an RFC 3339 time at which
    the limit is whole again (contracts/providers.md 2). `tokens` is the most restrictive limit in force; where it is
    absent, input tokens stand for it."""
    prefix = "anthropic-ratelimit-"
    if not any(f"{prefix}{what}-remaining" in headers for what in ("requests", "tokens", "input-tokens")):
        return None
    tokens = "tokens" if f"{prefix}tokens-remaining" in headers else "input-tokens"
    return _report(
        *(
            Quota(
                _number(headers.get(f"{prefix}{what}-limit")),
                _number(headers.get(f"{prefix}{what}-remaining")),
                _seconds_until(headers.get(f"{prefix}{what}-reset", ""), now),
            )
            for what in ("requests", tokens)
        )
    )


def no_dialect(headers: Mapping[str, str], now: datetime) -> RateReport | None:
    """For a provider whose answers say nothing about limits."""
    del headers, now
    return None


RATE_HEADERS: Final[Mapping[str, Parser]] = MappingProxyType(
    {"openai": openai_dialect, "anthropic": anthropic_dialect, "google": no_dialect}
)
"""By provider. Google sends no such headers (contracts/providers.md 5). An engine can be given a wider table."""


def _report(requests: Quota, tokens: Quota) -> RateReport:
    nothing = Quota()
    return RateReport(None if requests == nothing else requests, None if tokens == nothing else tokens)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    text = text.strip()
    return float(text) if text.isdecimal() else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else max(0.0, (at - now).total_seconds())
