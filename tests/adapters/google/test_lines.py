"""Lines of Google's batches: what is sent, and what each result says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.google.lines import body_of, encode_line, inlined, on_line, parse_line, read_line
from perdure.events.requests import Answer, LineError

ANSWER = {
    "candidates": [{"content": {"parts": [{"text": "yes"}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
    "modelVersion": "gemini-x",
}
BLOCKED = {"promptFeedback": {"blockReason": "SAFETY"}}


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("line_id", ["batch_1-0", 'a",b', "x" * 64])
def test_a_line_holds_its_key_and_its_request(line_id: str) -> None:
    body = b'{"contents":\n [{"parts":[{"text":"a,\\"request\\":b"}]}]}'
    line = encode_line(line_id, body)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"key": line_id, "request": json.loads(body)}
    assert json.loads(body_of(line)) == json.loads(body)
    told, request = inlined(line)
    assert told == line_id
    assert json.loads(request) == {"metadata": {"key": line_id}, "request": json.loads(body)}
    assert len(request) == len(line) - 1 + 13, "see INLINE_BYTES"


@pytest.mark.parametrize("line_id", ["", "x" * 65, "é", "a\n"])
def test_ids_that_are_not_ours_are_a_fault_of_ours(line_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 printable"):
        encode_line(line_id, b"{}")


RESULTS: dict[str, tuple[dict[str, Any], bool, str]] = {
    "an answer": ({"response": ANSWER}, True, "yes"),
    "an answer and no error": ({"response": ANSWER, "error": None}, True, "yes"),
    "an answer that was stopped": ({"response": {"candidates": [{"finishReason": "SAFETY"}]}}, True, ""),
    "an error": ({"error": {"code": 8, "message": "too much"}}, False, "RESOURCE_EXHAUSTED"),
    "an error in words": ({"error": {"code": 8, "status": "ABORTED", "message": "x"}}, False, "ABORTED"),
    "an error with an unknown code": ({"error": {"code": 99, "message": "x"}}, False, "code_99"),
    "an error that says nothing": ({"error": {}}, False, "unreadable_answer"),
    "an error that is a text": ({"error": "no"}, False, "unreadable_answer"),
    "both": ({"response": ANSWER, "error": {"code": 13, "message": "x"}}, False, "INTERNAL"),
    "neither": ({}, False, "unreadable_answer"),
    "no response": ({"response": None}, False, "unreadable_answer"),
    "a blocked prompt": ({"response": BLOCKED}, False, "SAFETY"),
    "a response without candidates": ({"response": {}}, False, "unreadable_answer"),
    "a response that is a text": ({"response": "half of an answ"}, False, "unreadable_answer"),
    "a response that is a list": ({"response": [1]}, False, "unreadable_answer"),
}
"""Each type of a result (section 4.6): whether it is an answer, and its text or its error's code."""


@pytest.mark.parametrize("form", ["in a file", "in the operation"])
@pytest.mark.parametrize(("result", "ok", "says"), RESULTS.values(), ids=RESULTS)
def test_b34_w25_every_type_of_result(result: dict[str, Any], ok: bool, says: str, form: str) -> None:
    line = raw({"key": "b-1", **result} if form == "in a file" else {**result, "metadata": {"key": "b-1"}})
    parsed = parse_line(line)
    assert parsed is not None
    assert (parsed.line_id, parsed.ok, parsed.raw, parsed.unfinished) == ("b-1", ok, line, False)
    said = read_line(line)
    if isinstance(said, Answer):
        assert (ok, said.text) == (True, says)
        assert json.loads(said.raw) == result["response"]
    else:
        assert (ok, said.code) == (False, says)


def test_a_request_that_was_cancelled_was_not_run() -> None:
    parsed = parse_line(raw({"key": "b-1", "error": {"code": 1, "message": "cancelled"}}))
    assert parsed is not None
    assert (parsed.ok, parsed.unfinished) == (False, True)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'"text"', b'{"key":7}', b'{"metadata":{"key":[]}}', b"\xff"])
def test_what_cannot_be_read_has_no_id(line: bytes) -> None:
    assert parse_line(line) is None
    assert isinstance(read_line(line), LineError)


def test_a_result_without_a_key_is_nobodys() -> None:
    parsed = parse_line(raw({"response": ANSWER}))
    assert parsed is not None
    assert (parsed.line_id, parsed.ok) == ("", True)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"response": 1}, {"key": "b-7", "response": 1}),
        ({}, {"key": "b-7"}),
        ({"metadata": {}, "response": 1}, {"key": "b-7", "metadata": {}, "response": 1}),
        ({"metadata": {"key": "own"}, "response": 1}, {"metadata": {"key": "own"}, "response": 1}),
        ([1, 2], [1, 2]),
    ],
)
def test_a_response_gets_the_key_of_its_place_only_where_it_has_none(response: object, expected: object) -> None:
    line = on_line(json.dumps(response, indent=2).encode(), "b-7")
    assert b"\n" not in line
    assert b" " not in line
    assert json.loads(line) == expected


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["key", "metadata", "response", "error", "code", "message", "candidates", "content", "parts"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_w25_both_readings_agree_whatever_a_line_holds(value: object) -> None:
    line = raw(value)
    parsed = parse_line(line)
    if parsed is not None:
        assert parsed.ok is isinstance(read_line(line), Answer)
