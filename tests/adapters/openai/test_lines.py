"""Result lines: which line they answer, whether it is an answer, and what it says."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.openai import OpenAIBatches
from perdure.events.requests import Answer, LineError, Usage

BATCHES = OpenAIBatches()

Object = dict[str, object]

EMPTY: Object = {}
NONE: list[object] = []
TEXT: Object = {"type": "output_text", "text": "Sogn", "annotations": NONE}
MESSAGE: Object = {"type": "message", "role": "assistant", "content": [TEXT]}
RESPONSE: Object = {"object": "response", "status": "completed", "model": "m", "output": [MESSAGE]}
CHAT: Object = {"object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": {"content": "Sogn"}}]}


def line(response: object = None, error: object = None, custom_id: object = "b-7") -> bytes:
    """A line of a result file."""
    return json.dumps({"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": error}).encode()


def said(body: object, status: int = 200) -> bytes:
    """A line whose endpoint answered."""
    return line({"status_code": status, "request_id": "r", "body": body})


def answer_of(raw: bytes, endpoint: str = "/v1/responses") -> Answer | LineError:
    """What the line says, once it is sure that both readings agree on it."""
    parsed, answer = BATCHES.parse_line(raw), BATCHES.answer(endpoint, raw)
    assert parsed is not None
    assert (parsed.line_id, parsed.raw) == ("b-7", raw)
    assert parsed.ok == isinstance(answer, Answer)
    return answer


def part(**fields: object) -> Object:
    """A response with one message of one part."""
    return {**RESPONSE, "output": [{"type": "message", "content": [fields]}]}


@pytest.mark.parametrize(
    ("body", "text", "finish_reason"),
    [
        (RESPONSE, "Sogn", "completed"),
        ({**RESPONSE, "output": [{"type": "reasoning", "content": "hm"}, MESSAGE, MESSAGE]}, "SognSogn", "completed"),
        (part(type="refusal", refusal="No."), "No.", "refusal"),
        ({**RESPONSE, "output": NONE, "status": "incomplete"}, "", "incomplete"),
        ({**RESPONSE, "incomplete_details": {"reason": "max_output_tokens"}}, "Sogn", "max_output_tokens"),
        (CHAT, "Sogn", None),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}, {"message": EMPTY}]}, "a", "stop"),
        ({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}, "No.", "refusal"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]}, "", "tool_calls"),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}]}}]}, "a", None),
        ({"choices": [{"text": "completed", "finish_reason": "length"}]}, "completed", "length"),
        ({"object": "list", "data": [{"embedding": [0.5]}]}, "", None),
        ({"results": [{"flagged": False}]}, "", None),
    ],
    ids=[
        "response",
        "response with reasoning and two messages",
        "response that refuses",
        "response with nothing said",
        "incomplete response",
        "chat",
        "chat with two choices",
        "chat that refuses",
        "chat that calls a tool",
        "chat in parts",
        "completion",
        "embedding",
        "moderation",
    ],
)
def test_b34_each_kind_of_answer(body: Object, text: str, finish_reason: str | None) -> None:
    answer = answer_of(said(body))
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish_reason) == (text, finish_reason)
    assert answer.body() == body
    assert answer.model == body.get("model")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            said({"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}}, 429),
            LineError("rate_limit_exceeded", "Slow down.", 429),
        ),
        (said({"error": {"message": "Bad.", "type": "t", "code": 1301}}, 400), LineError("1301", "Bad.", 400)),
        (said({"error": {"message": "Bad.", "type": "t", "code": None}}, 400), LineError("t", "Bad.", 400)),
        (said({"error": EMPTY}, 500), LineError("http_500", "the provider gave no reason", 500)),
        (said({"error": "Bad."}, 400), LineError("http_400", "Bad.", 400)),
        (said("<html>", 502), LineError("http_502", "the provider gave no reason", 502)),
        (said(None, 503), LineError("http_503", "the provider gave no reason", 503)),
        (said(RESPONSE, 202), LineError("http_202", "the provider gave no reason", 202)),
        (
            line(None, {"code": "batch_expired", "message": "Too late."}),
            LineError("batch_expired", "Too late.", None),
        ),
        (
            line(None, {"code": "batch_cancelled", "message": "Stopped."}),
            LineError("batch_cancelled", "Stopped.", None),
        ),
        (line(None, {"code": 7, "message": None}), LineError("7", "the provider gave no reason", None)),
        (
            said({"status": "failed", "error": {"code": "server_error", "message": "Ours."}, "output": NONE}),
            LineError("server_error", "Ours.", 200),
        ),
    ],
    ids=[
        "refused with a code",
        "a number as code",
        "no code",
        "an empty error",
        "a text as error",
        "a text as body",
        "no body",
        "accepted, not answered",
        "expired",
        "cancelled",
        "never run, a number as code",
        "a response that failed",
    ],
)
def test_b34_each_kind_of_error_line(raw: bytes, expected: LineError) -> None:
    assert answer_of(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        said(EMPTY),
        said(None),
        said(NONE),
        said("text"),
        said({"output": "text"}),
        said({**RESPONSE, "output": [{"type": "message", "content": 5}]}),
        said({**RESPONSE, "output": [{"type": "message"}]}),
        said({"choices": NONE}),
        said({"choices": [EMPTY]}),
        said({"data": None}),
        line({"status_code": 200}),
        line(),
    ],
    ids=[
        "empty body",
        "no body",
        "a list",
        "a text",
        "output is a text",
        "content is a number",
        "a message without content",
        "no choice",
        "an empty choice",
        "no data",
        "body left out",
        "neither response nor error",
    ],
)
def test_w25_an_answer_that_cannot_be_read_is_an_error_of_its_line(raw: bytes) -> None:
    answer = answer_of(raw)
    assert isinstance(answer, LineError)
    assert answer.code == "unreadable_answer"
    assert answer.message


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{",
        b'{"custom_id":5}',
        b"{}",
        b'{"custom_id":"\xff"}',
        b'{"custom_id":"b-7","other":' + b"[" * 100_000,
        said(RESPONSE)[:-40],
    ],
    ids=["empty", "blank", "null", "list", "cut", "number", "no id", "no UTF-8", "nested without end", "half a line"],
)
def test_w25_a_line_that_cannot_be_read_never_raises(raw: bytes) -> None:
    assert BATCHES.parse_line(raw) is None
    answer = BATCHES.answer("/v1/responses", raw)
    assert isinstance(answer, LineError)
    assert answer.code == "unreadable_answer"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 600) | st.text(max_size=4) | st.sampled_from(["message", "failed"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["output", "choices", "data", "type", "content", "text", "message", "error", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 200, 400, None]))
def test_w25_both_readings_of_a_line_agree_on_any_body(body: object, status: int | None) -> None:
    answer_of(line({"status_code": status, "body": body}))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": 15,
            },
            Usage(10, 5, 15, 4, 3),
        ),
        (
            {
                "prompt_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 15,
            },
            Usage(10, 5, 15, 0, 0, audio_input_tokens=0),
        ),
        ({"prompt_tokens": 10, "total_tokens": 10}, Usage(10, None, 10, None, None)),
        (EMPTY, Usage()),
        (None, None),
        ("many", None),
    ],
    ids=["responses", "chat", "embeddings", "empty", "absent", "no usage at all"],
)
def test_usage_in_both_spellings(usage: object, expected: Usage | None) -> None:
    answer = answer_of(said({**RESPONSE, "usage": usage}))
    assert isinstance(answer, Answer)
    assert answer.usage == expected


def test_a_long_message_of_the_provider_is_cut() -> None:
    error = answer_of(line(None, {"code": "c", "message": "x" * 10_000}))
    assert isinstance(error, LineError)
    assert len(error.message) == 2_000


def test_parsing_fifty_thousand_lines_costs_well_under_a_second() -> None:
    body: Object = {**RESPONSE, "output": [{**MESSAGE, "content": [{**TEXT, "text": "x" * 1_300}]}], "usage": EMPTY}
    raw = said(body)
    assert 1_024 < len(raw) < 2_048
    began = time.process_time()
    for _ in range(50_000):
        parsed = BATCHES.parse_line(raw)
        assert parsed is not None
    assert time.process_time() - began < 1.0
