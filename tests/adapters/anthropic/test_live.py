"""Live requests over a fake `Fetch`: what is asked for, and what each answer means."""

from __future__ import annotations

import json

import pytest

from perdure.actors.fetch import Refused, Unknown
from perdure.actors.live import LiveProvider
from perdure.adapters.anthropic import AnthropicLive
from perdure.events.requests import Answer, LineError, Usage
from tests.adapters.openai.fake import FakeFetch, Reply, reply

LIVE: LiveProvider = AnthropicLive()
MESSAGES = "/v1/messages"

MESSAGE: dict[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": [
        {"type": "thinking", "thinking": "a fjord?", "signature": "x"},
        {"type": "text", "text": "Geir"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        {"type": "text", "text": "anger", "citations": None},
    ],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 3,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 100,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 15},
    },
}


@pytest.mark.trio
async def test_a_request_is_a_create_below_the_base_url() -> None:
    fetch = FakeFetch(reply(MESSAGE))
    body = b'{"model":"m","messages":"' + b"x" * 400 + b'"}'
    given = await LIVE.ask(fetch, endpoint=MESSAGES, model="m", body=body)
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", MESSAGES, "create")
    assert (request.body, request.model, request.estimated_tokens) == (body, "m", len(body) // 4)
    assert request.headers["content-type"] == "application/json"
    assert request.deadline_s == request.idle_s == 600.0
    assert json.loads(given) == MESSAGE
    assert LIVE.live_endpoints == (MESSAGES,)


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [Reply(b"<html>", headers={"content-type": "text/html"}), Reply(b""), Reply(b'{"id":'), Reply(b"[]")],
    ids=["a web page", "nothing", "cut off", "a list"],
)
async def test_an_answer_that_cannot_be_read_at_all_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await LIVE.ask(FakeFetch(answer), endpoint=MESSAGES, model="m", body=b"{}")


@pytest.mark.trio
async def test_refusals_pass_through() -> None:
    with pytest.raises(Refused):
        await LIVE.ask(FakeFetch(reply({}, status=400)), endpoint=MESSAGES, model="m", body=b"{}")


def test_an_answer_is_its_texts_and_counts_the_cache_as_input() -> None:
    raw = json.dumps(MESSAGE).encode()
    assert LIVE.read(MESSAGES, raw) == Answer(
        "Geiranger",
        Usage(
            input_tokens=113,
            output_tokens=20,
            total_tokens=133,
            cached_tokens=100,
            reasoning_tokens=15,
            cache_write_tokens=10,
        ),
        "end_turn",
        "m-1",
        raw,
    )


@pytest.mark.parametrize(
    ("fields", "text", "finish_reason"),
    [
        ({"content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal"}}, "", "refusal"),
        ({"stop_reason": "max_tokens"}, "Geiranger", "max_tokens"),
        ({"stop_reason": "unheard_of", "content": [{"type": "strange"}]}, "", "unheard_of"),
        ({"stop_reason": None, "usage": "many", "model": 7}, "Geiranger", None),
    ],
    ids=["refused", "cut short", "of another kind", "oddly told"],
)
def test_every_end_is_told_in_anthropics_word(fields: dict[str, object], text: str, finish_reason: str | None) -> None:
    answer = LIVE.read(MESSAGES, json.dumps({**MESSAGE, **fields}).encode())
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish_reason) == (text, finish_reason)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "unreadable_answer"),
        (b'{"content":"text"}', "unreadable_answer"),
        (b"{", "unreadable_answer"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', "overloaded_error"),
        (
            b'{"type":"error","error":{"type":"x","message":"m","details":{"error_code":"file_expired"}}}',
            "file_expired",
        ),
        (b'{"type":"error"}', "unreadable_answer"),
    ],
    ids=["empty", "of another shape", "cut", "an error", "an error with a code", "an error without a word"],
)
def test_what_holds_no_answer_is_an_error(body: bytes, code: str) -> None:
    said = LIVE.read(MESSAGES, body)
    assert isinstance(said, LineError)
    assert (said.code, said.status) == (code, 200)
    assert said.message
