"""A time to live is whole seconds within its bounds, or "persistent", and nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.events.errors import InvalidRequest
from perdure.events.time_to_live import LONGEST_S, SHORTEST_S, check_ttl


@pytest.mark.parametrize("value", [60, 61, 86_400, 2_592_000, "persistent"])
def test_what_is_taken(value: object) -> None:
    assert check_ttl(value) == value


@pytest.mark.parametrize(
    "value",
    [
        59,
        2_592_001,
        60.5,
        60.0,
        math.nan,
        math.inf,
        -1,
        0,
        "forever",
        "60",
        "Persistent",
        "",
        None,
        True,
        b"persistent",
    ],
    ids=repr,
)
def test_what_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match='60 to 2592000, or "persistent"') as caught:
        check_ttl(value)
    assert caught.value.field == "ttl_s"


def test_the_field_is_named() -> None:
    with pytest.raises(InvalidRequest, match="ttl_seconds is not") as caught:
        check_ttl(1, field="ttl_seconds")
    assert caught.value.field == "ttl_seconds"


@given(st.integers())
def test_whole_numbers_are_taken_within_the_bounds_only(value: int) -> None:
    try:
        taken = check_ttl(value) == value
    except InvalidRequest:
        taken = False
    assert taken is (SHORTEST_S <= value <= LONGEST_S)
