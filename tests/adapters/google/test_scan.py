"""Taking operations apart as they come, however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.google.scan import EndsEarly, ResponseScanner
from perdure.adapters.jsonl import LineTooLong

texts = st.text(st.sampled_from('ab"\\{}[],: é\n') | st.characters(codec="utf-8"), max_size=12)
values: st.SearchStrategy[Any] = st.recursive(
    texts | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
responses = st.lists(st.dictionaries(texts.filter(lambda name: "inlined" not in name), values, max_size=3), max_size=4)


def operation(items: list[Any]) -> dict[str, Any]:
    """A batch that holds responses, twice, as Google shows it."""
    output = {"inlinedResponses": {"inlinedResponses": items}}
    text = 'a "name" that looks so: "inlinedResponses": ['
    return {"name": "batches/x", "metadata": {"displayName": text, "output": output}, "done": True, "response": output}


def scanned(data: bytes, size: int) -> tuple[list[bytes], ResponseScanner]:
    """All responses of `data`, fed in chunks."""
    scanner = ResponseScanner()
    found: list[bytes] = []
    for start in range(0, len(data), size):
        found += scanner.feed(data[start : start + size])
    return found + scanner.finish(), scanner


@given(responses, st.integers(1, 70), st.booleans(), st.sampled_from([None, 2]))
def test_w22_responses_come_once_and_the_outline_counts_them(
    items: list[Any], size: int, ascii_only: bool, indent: int | None
) -> None:
    data = json.dumps(operation(items), ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    found, scanner = scanned(data, size)
    assert [json.loads(one) for one in found] == items
    counted = [len(items)] if items else [0]
    assert json.loads(scanner.outline) == operation(counted)
    assert scanner.has_ended is bool(items)


@given(responses, st.integers(1, 30))
def test_what_follows_the_first_responses_adds_none(items: list[Any], size: int) -> None:
    page = {"operations": [operation([]), operation(items), operation([{"other": 1}])]}
    found, scanner = scanned(json.dumps(page).encode(), size)
    assert [json.loads(one) for one in found] == (items or [{"other": 1}])
    counts = [
        one["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
        for one in json.loads(scanner.outline)["operations"]
    ]
    assert counts == [[0], [len(items)], [1]]


@given(st.data())
def test_w22_a_stream_that_is_cut_is_never_taken_for_a_whole_one(data: st.DataObject) -> None:
    whole = json.dumps(operation([{"a": "x"}, {"b": 'y"'}])).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        _, scanner = scanned(whole[:cut], 9)
    except EndsEarly:
        return
    with pytest.raises(json.JSONDecodeError):
        json.loads(scanner.outline)


def test_values_that_are_no_objects_are_responses_too() -> None:
    found, scanner = scanned(b'{"inlinedResponses": [null, 1.5 ,"a]b", [1, {}], {"x": "]"}]}', 3)
    assert found == [b"null", b"1.5", b'"a]b"', b"[1, {}]", b'{"x": "]"}']
    assert json.loads(scanner.outline) == {"inlinedResponses": [5]}


def test_w22_a_response_without_end_does_not_fill_the_memory() -> None:
    scanner = ResponseScanner(max_bytes=1_000)
    scanner.feed(b'{"inlinedResponses":[{"a":"')
    for _ in range(9):
        scanner.feed(b"x" * 100)
    with pytest.raises(LineTooLong):
        scanner.feed(b"x" * 1_000)
