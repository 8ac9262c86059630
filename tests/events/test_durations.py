"""Durations: what is read, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.events.durations import LONGEST_S, parse_duration
from perdure.events.errors import InvalidRequest


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90.0),
        ("0", 0.0),
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5m", 90.0),
        (".5h", 1_800.0),
        ("2d", 172_800.0),
        (" 3 h ", 10_800.0),
        (0.25, 0.25),
        (7, 7.0),
    ],
)
def test_s1_a_duration_is_a_number_with_a_unit(written: str | float, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "junk", ["", "h", "1w", "1H", "-1", "-1s", "1.2.3", "1h30m", "nan", "inf", "1e3", "\u0661s", "367d", -1, 1e12, True]
)
def test_s1_junk_is_refused(junk: str | float) -> None:
    with pytest.raises(InvalidRequest, match="poll is not a duration") as raised:
        parse_duration(junk, field="poll")
    assert raised.value.field == "poll"


@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_s1_what_is_not_finite_is_refused(junk: float) -> None:
    with pytest.raises(InvalidRequest):
        parse_duration(junk)


@given(st.text(max_size=12) | st.floats())
def test_s1_nothing_else_is_ever_raised(value: str | float) -> None:
    with contextlib.suppress(InvalidRequest):
        assert 0 <= parse_duration(value) <= LONGEST_S
