"""Which line stands where, told by a batch's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.google.places import MAX_CHARACTERS, Places, Placing, parse_places


def placed(*ids: str) -> Places | None:
    """What is told of lines with these ids."""
    placing = Placing()
    for id_ in ids:
        placing.add(id_)
    return placing.places()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30, unique=True))
def test_every_line_is_found_again(numbers: list[int]) -> None:
    ids = [f"batch_01-{number}" for number in sorted(numbers)]
    places = placed(*ids)
    if places is None:
        assert len(numbers) > 10
        return
    assert len(places.text()) <= MAX_CHARACTERS
    again = parse_places(places.text())
    assert again is not None
    assert again == places
    assert again.count() == len(ids)
    assert [again.line_id(place) for place in range(len(ids))] == ids
    assert again.line_id(len(ids)) == ""


def test_runs_are_told_in_few_words() -> None:
    places = placed(*(f"b-{number}" for number in [*range(500), *range(501, 504)]))
    assert places is not None
    assert places.text() == "b-0+500,501+3"


@pytest.mark.parametrize("ids", [(), ("nothing",), ("a-1", "b-2"), ("a-01",), ("a b-1",), ("a-1", "odd")])
def test_ids_of_another_form_are_not_told(ids: tuple[str, ...]) -> None:
    assert placed(*ids) is None


@pytest.mark.parametrize("text", ["", "b-0", "b-0+", "b-0+5,", "b-0+5 more", "0+5", "b-+5", "some words"])
def test_other_names_tell_nothing(text: str) -> None:
    assert parse_places(text) is None
