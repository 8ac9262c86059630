"""Token buckets and the limiter: pure, the time is a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from perdure.adapters.network.limits import Bucket, Limiter
from perdure.adapters.network.rate_headers import (
    RATE_HEADERS,
    Quota,
    RateReport,
    anthropic_dialect,
    openai_dialect,
    parse_duration_s,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def limiter(rpm: float | None = None, tpm: float | None = None, rpd: float | None = None) -> Limiter:
    return Limiter(requests_per_minute=rpm, tokens_per_minute=tpm, requests_per_day=rpd, now=0.0)


def test_n18_bucket_starts_full_and_is_consumed() -> None:
    """A bucket starts full, gives what it has, and refuses what it has not."""
    bucket = Bucket(3, 60, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [True, True, True, False]


def test_n18_bucket_waits_no_longer_than_it_must() -> None:
    """The wait is 0 where there is enough, else until just enough has flowed back."""
    bucket = Bucket(60, 60, 0.0)
    assert bucket.wait_s(60, 0.0) == 0
    assert bucket.take(60, 0.0)
    assert bucket.wait_s(5, 0.0) == pytest.approx(5)
    assert bucket.wait_s(5, 2.0) == pytest.approx(3)
    assert bucket.take(5, 5.0)
    assert bucket.wait_s(61, 0.0) == inf


def test_n18_bucket_remaining_and_capacity_can_be_set() -> None:
    """`set_remaining` overrides up to the capacity; `set_capacity` lowers the level with it and keeps the period."""
    bucket = Bucket(10, 60, 0.0)
    bucket.set_remaining(4, 0.0)
    assert bucket.level(0.0) == 4
    bucket.set_remaining(99, 0.0)
    assert bucket.level(0.0) == 10
    bucket.set_capacity(6, 0.0)
    assert bucket.level(0.0) == 6
    assert bucket.rate_per_s == pytest.approx(0.1)


def test_n18_bucket_never_holds_more_than_its_capacity() -> None:
    """However long nothing is taken."""
    assert Bucket(3, 60, 0.0).level(1e9) == 3


def test_n19_limiter_refuses_what_is_exhausted() -> None:
    """Under its limits it lets requests go; an exhausted limit refuses and says how long."""
    limits = limiter(rpm=2)
    assert [limits.take(0, 0.0) for _ in range(3)] == [True, True, False]
    assert limits.wait_s(0, 0.0) == pytest.approx(30)


def test_n19_limiter_without_limits_never_waits() -> None:
    """None is no limit."""
    limits = limiter()
    assert all(limits.take(10**9, 0.0) for _ in range(1000))


def test_n19_headers_lower_what_remains() -> None:
    """What an answer says remains, of requests and of tokens, is obeyed."""
    limits = limiter(rpm=100, tpm=1000)
    limits.learn(RateReport(Quota(100, 0, 6.0), Quota(1000, 10, 60.0)), 0.0)
    assert limits.wait_s(0, 0.0) > 0
    assert limits.wait_s(0, 1.0) == 0
    assert limits.wait_s(500, 1.0) > 10


def test_n19_headers_are_learnt_without_configured_limits() -> None:
    """A limit that only the provider knows becomes a bucket with the rate that its reset time tells."""
    limits = limiter()
    limits.learn(RateReport(Quota(10, 0, 20.0)), 0.0)
    assert limits.wait_s(0, 0.0) == pytest.approx(2.0)


def test_n19_headers_never_loosen_a_configured_limit() -> None:
    """A provider's wider limit does not refill our stricter bucket."""
    limits = limiter(rpm=1)
    assert limits.take(0, 0.0)
    limits.learn(RateReport(Quota(10_000, 9_999, 0.006)), 0.0)
    assert limits.wait_s(0, 0.0) == pytest.approx(60)


def test_n19_headers_do_not_give_back_what_is_on_its_way() -> None:
    """An answer that has not counted our latest requests does not raise what is left."""
    limits = limiter()
    report = RateReport(Quota(10, 9, 6.0))
    limits.learn(report, 0.0)
    assert all(limits.take(0, 0.0) for _ in range(9))
    limits.learn(report, 0.0)
    assert limits.wait_s(0, 0.0) > 0


def test_n19_pause_gives_a_wait() -> None:
    """A pause stops everything until it is over, also where nothing is limited; a shorter one does not shorten it."""
    limits = limiter()
    limits.pause_until(7.0)
    limits.pause_until(5.0)
    assert (limits.wait_s(0, 0.0), limits.take(0, 6.9), limits.take(0, 7.0)) == (7.0, False, True)


def test_w66_all_or_nothing() -> None:
    """A request that the token limit stops takes nothing from the request limit."""
    limits = limiter(rpm=2, tpm=100)
    assert limits.take(90, 0.0)
    assert not limits.take(50, 0.0)
    assert limits.take(10, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12ms", 0.012), ("1s", 1), ("6m0s", 360), ("1h2m3.5s", 3723.5), ("2d", 172800), ("7.5", 7.5), ("0s", 0)],
)
def test_w67_openai_durations(text: str, seconds: float) -> None:
    """The reset header's durations in seconds."""
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "1x", "-1s", "1s later", "."])
def test_w67_junk_durations_are_absent(text: str) -> None:
    """What is no duration is not said."""
    assert parse_duration_s(text) is None


def test_w67_openai_headers() -> None:
    """`x-ratelimit-*` of requests and tokens."""
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "500ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "junk",
    }
    assert openai_dialect(headers, NOW) == RateReport(Quota(500, 499, 0.5), Quota(30000, None, None))
    assert openai_dialect({"content-type": "x"}, NOW) is None


def test_w67_anthropic_headers() -> None:
    """`anthropic-ratelimit-*` with times; input tokens stand in where `tokens` is absent."""
    at = (NOW + timedelta(seconds=90)).isoformat().replace("+00:00", "Z")
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": at,
        "anthropic-ratelimit-input-tokens-limit": "20000",
        "anthropic-ratelimit-input-tokens-remaining": "19000",
        "anthropic-ratelimit-input-tokens-reset": "never",
    }
    assert anthropic_dialect(headers, NOW) == RateReport(Quota(50, 0, 90.0), Quota(20000, 19000, None))
    assert anthropic_dialect({"x-ratelimit-remaining-requests": "1"}, NOW) is None


def test_w67_parsers_by_provider() -> None:
    """Each provider has its own; Google's answers say nothing."""
    assert RATE_HEADERS["google"]({"x-ratelimit-remaining-requests": "1"}, NOW) is None
    assert RATE_HEADERS["anthropic"] is anthropic_dialect
