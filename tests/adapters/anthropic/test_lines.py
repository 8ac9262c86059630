"""Lines of message batches: what is bought with, and what each kind of result says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.anthropic.lines import body_of, encode_line, parse_line, read_line
from perdure.events.requests import Answer, LineError

URL = "/v1/messages"
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-5-5",
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a "}, {"type": "text", "text": "b"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2, "service_tier": "batch"},
}


def line(result: object, **more: object) -> bytes:
    """A line of results."""
    return json.dumps({"custom_id": "job-7", "result": result, **more}).encode()


def succeeded(**changes: object) -> dict[str, object]:
    """A result with a message in it."""
    return {"type": "succeeded", "message": MESSAGE | changes}


def errored(error: object) -> dict[str, object]:
    """A result with an error in it."""
    return {"type": "errored", "error": {"type": "error", "error": error}}


def test_a_line_is_a_request_of_the_create_call() -> None:
    encoded = encode_line("job-7", URL, b'{\r\n "model": "m"\n}')
    assert encoded.endswith(b"}\n")
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded) == {"custom_id": "job-7", "params": {"model": "m"}}
    assert json.loads(body_of(encoded)) == {"model": "m"}


@pytest.mark.parametrize("line_id", ["", "a" * 65, "a b", "a.b", 'a"', "ä", "a\n"])
def test_w21_a_line_id_that_anthropic_would_refuse_is_never_written(line_id: str) -> None:
    with pytest.raises(ValueError, match="line id"):
        encode_line(line_id, URL, b"{}")


def test_only_messages_are_batched() -> None:
    with pytest.raises(ValueError, match="/v1/complete"):
        encode_line("job-7", "/v1/complete", b"{}")


@pytest.mark.parametrize("more", [{}, {"new_field": [1]}])
def test_b34_an_answer_is_the_live_one(more: dict[str, object]) -> None:
    raw = line(succeeded(**more), **more)
    parsed, answer = parse_line(raw), read_line(raw)
    assert parsed is not None
    assert (parsed.line_id, parsed.ok, parsed.unfinished, parsed.raw) == ("job-7", True, False, raw)
    assert isinstance(answer, Answer)
    assert (answer.text, answer.model, answer.finish_reason) == ("a b", "claude-sonnet-5-5", "end_turn")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 2)
    assert answer.body()["id"] == "msg_1"


@pytest.mark.parametrize(
    ("result", "code", "unfinished"),
    [
        (errored({"type": "invalid_request_error", "message": "wrong"}), "invalid_request_error", False),
        (errored({"type": "api_error", "message": "m", "details": {"error_code": "spent"}}), "spent", False),
        (errored({}), "unreadable_answer", False),
        (errored(None), "unreadable_answer", False),
        (errored("text"), "unreadable_answer", False),
        ({"type": "errored"}, "unreadable_answer", False),
        ({"type": "errored", "error": 7}, "unreadable_answer", False),
        ({"type": "canceled"}, "batch_cancelled", True),
        ({"type": "expired"}, "batch_expired", True),
        ({"type": "expired", "message": 7}, "batch_expired", True),
        ({"type": "pondered"}, "unreadable_answer", False),
        ({"type": None}, "unreadable_answer", False),
        ({}, "unreadable_answer", False),
        (None, "unreadable_answer", False),
        ("text", "unreadable_answer", False),
        ([], "unreadable_answer", False),
        ({"type": "succeeded"}, "unreadable_answer", False),
        ({"type": "succeeded", "message": None}, "unreadable_answer", False),
        ({"type": "succeeded", "message": "text"}, "unreadable_answer", False),
        ({"type": "succeeded", "message": {"id": "msg_1"}}, "unreadable_answer", False),
        ({"type": "succeeded", "message": {"type": "error", "error": {"type": "api_error"}}}, "api_error", False),
    ],
)
def test_b34_each_kind_of_result_without_an_answer(result: object, code: str, unfinished: bool) -> None:
    raw = line(result)
    parsed, said = parse_line(raw), read_line(raw)
    assert parsed is not None
    assert (parsed.line_id, parsed.ok, parsed.unfinished) == ("job-7", False, unfinished)
    assert isinstance(said, LineError)
    assert said.code == code
    assert said.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff", b'{"custom_id":7}', b'{"result":{}}'])
def test_b34_a_line_without_an_id_is_none(raw: bytes) -> None:
    assert parse_line(raw) is None
    assert isinstance(read_line(raw), LineError)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "message", "error", "content"]), inner),
    max_leaves=6,
)


@given(_values | st.fixed_dictionaries({"type": st.just("succeeded"), "message": _values}))
def test_w25_the_two_readings_judge_alike(result: object) -> None:
    raw = line(result)
    parsed = parse_line(raw)
    assert parsed is not None
    assert parsed.ok is isinstance(read_line(raw), Answer)
