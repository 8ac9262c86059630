"""Cursors lead back to where they came from and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.events.errors import InvalidRequest
from perdure.events.ids import new_id
from perdure.store.cursor import START, cursor_after, position_of

LOG = new_id("log")


@given(st.integers(0, (1 << 63) - 1))
def test_a_cursor_leads_back_to_its_position(position: int) -> None:
    assert position_of(LOG, cursor_after(LOG, position)) == position


def test_the_start_is_the_same_for_every_log() -> None:
    assert cursor_after(LOG, 0) == START
    assert position_of(new_id("log"), START) == 0


@given(st.text(max_size=30).filter(bool))
def test_other_text_is_refused_or_read_and_raises_nothing_else(text: str) -> None:
    try:
        position = position_of(LOG, text)
    except InvalidRequest:
        position = 0
    assert 0 <= position < 1 << 64


def test_a_cursor_of_another_log_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="another log"):
        position_of("log_" + "0" * 32, cursor_after("log_" + "f" * 32, 7))
