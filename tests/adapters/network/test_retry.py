"""`Retry-After`, back-off and policies in layers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random

import pytest

from perdure.adapters.network import Backoff, BackoffOverride, RetryOverride, RetryPolicy
from perdure.adapters.network.retry import parse_retry_after_s

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"retry-after": "30"}, 30, id="seconds"),
        pytest.param({"retry-after": "0.5"}, 0.5, id="part of a second"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "30"}, 1.5, id="milliseconds win"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "30"}, 30, id="junk milliseconds fall back"),
        pytest.param({"retry-after-ms": "-5", "retry-after": "30"}, 30, id="negative milliseconds fall back"),
        pytest.param({"retry-after": "Fri, 20 Nov 2026 12:00:45 GMT"}, 45, id="HTTP date"),
        pytest.param({"retry-after": "Fri, 20 Nov 2026 11:59:00 GMT"}, None, id="past date"),
        pytest.param({"retry-after": "-3"}, None, id="negative"),
        pytest.param({"retry-after": "nan"}, None, id="not a number"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"retry-after": "tomorrow"}, None, id="junk"),
        pytest.param({"retry-after": ""}, None, id="empty"),
        pytest.param({}, None, id="absent"),
    ],
)
def test_n14_retry_after_prefers_milliseconds(headers: Mapping[str, str], seconds: float | None) -> None:
    """Milliseconds, else seconds, else an HTTP date; what is negative, past or unreadable is absent."""
    assert parse_retry_after_s(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_n15_cap_is_two_minutes_by_default() -> None:
    """The built-in cap on `Retry-After` is 120 s."""
    assert RetryPolicy().max_retry_after_s == 120


def test_n16_overlay_changes_a_copy() -> None:
    """Overlaying leaves the policy that is overlaid as it was."""
    policy = RetryPolicy()
    changed = policy.overlaid(RetryOverride(max_retries=9, by_kind={"timeout": 1}))
    assert (changed.by_kind["server_error"], changed.by_kind["timeout"]) == (9, 1)
    assert policy == RetryPolicy()
    assert not changed.allows("auth", 0)


def test_n17_one_backoff_knob_keeps_the_rest() -> None:
    """An override of one knob of the back-off keeps the others, over several layers."""
    policy = RetryPolicy().overlaid(RetryOverride(backoff=BackoffOverride(first_s=2.0)))
    policy = policy.overlaid(RetryOverride(backoff=BackoffOverride(most_s=3.0), fixed_s={"timeout": 1.0}))
    assert policy.backoff == Backoff(first_s=2.0, most_s=3.0)
    assert policy.by_kind == RetryPolicy().by_kind


def test_n17_wait_precedence() -> None:
    """`Retry-After` goes before a kind's fixed wait, which goes before the back-off."""
    policy = RetryPolicy(fixed_s={"timeout": 4.0}, backoff=Backoff(jitter=0.0))
    random = Random(1)
    assert policy.wait_s("timeout", 1, 7.0, random) == 7
    assert policy.wait_s("timeout", 1, None, random) == 4
    assert policy.wait_s("network", 1, None, random) == 0.5


def test_n17_backoff_doubles_to_its_cap_with_jitter() -> None:
    """0.5 s, doubling to 8 s, each within ± 25 %, however many retries."""
    random = Random(3)
    for retry, middle in ((1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (10_000, 8)):
        delays = [Backoff().delay_s(retry, random) for _ in range(200)]
        assert min(delays) >= middle * 0.75
        assert max(delays) <= middle * 1.25
        assert max(delays) - min(delays) > middle * 0.4
