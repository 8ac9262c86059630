"""Live requests over a fake `Fetch`: what is asked for, and what each answer means."""

from __future__ import annotations

import json

import pytest

from perdure.actors.fetch import Refused, Unknown
from perdure.actors.live import LiveProvider
from perdure.adapters.openai import OpenAILive
from perdure.adapters.openai.lines import read_line
from perdure.events.errors import Unsupported
from perdure.events.requests import Answer, LineError, Prompt
from tests.adapters.openai.fake import FakeFetch, Reply, reply

LIVE: LiveProvider = OpenAILive()

RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "m-1",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Geiranger"}]}],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}


@pytest.mark.trio
@pytest.mark.parametrize("endpoint", LIVE.live_endpoints)
async def test_a_request_is_a_create_below_the_base_url(endpoint: str) -> None:
    fetch = FakeFetch(reply(RESPONSE))
    body = b'{"model":"m","input":"' + b"x" * 400 + b'"}'
    given = await LIVE.ask(fetch, endpoint=endpoint, model="m", body=body)
    (request,) = fetch.requests
    assert (request.method, "/v1" + request.path, request.safety) == ("POST", endpoint, "create")
    assert (request.body, request.model, request.estimated_tokens) == (body, "m", len(body) // 4)
    assert request.headers["content-type"] == "application/json"
    assert request.deadline_s == request.idle_s == 600.0, "a reasoning model may think for minutes without a byte"
    assert json.loads(given) == RESPONSE


def test_responses_are_the_default() -> None:
    assert LIVE.live_endpoints == ("/v1/responses", "/v1/chat/completions", "/v1/embeddings")
    rendered = LIVE.render(Prompt("a", model="m", max_output_tokens=5), LIVE.live_endpoints[0])
    assert rendered.body == {"model": "m", "input": "a", "max_output_tokens": 5}
    assert LIVE.model_of(rendered.url, {"model": "m"}) == "m"
    with pytest.raises(Unsupported, match="stream"):
        LIVE.render(Prompt("a", model="m", extra={"stream": True}), LIVE.live_endpoints[0])


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        Reply(b"<html>", headers={"content-type": "text/html"}),
        Reply(json.dumps(RESPONSE).encode(), headers={"content-type": "text/event-stream"}),
        Reply(b"", headers={"content-type": "application/json"}),
        Reply(b'{"id":"resp_1","out'),
        Reply(b'["a list"]'),
        Reply(b'"a text"'),
        Reply(b"\xff\xfe"),
    ],
    ids=["a web page", "a stream", "nothing", "cut off", "a list", "a text", "no text at all"],
)
async def test_w23_an_answer_that_cannot_be_read_at_all_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await LIVE.ask(FakeFetch(answer), endpoint="/v1/responses", model="m", body=b"{}")


@pytest.mark.trio
async def test_refusals_pass_through() -> None:
    with pytest.raises(Refused):
        await LIVE.ask(FakeFetch(reply({}, status=400)), endpoint="/v1/responses", model="m", body=b"{}")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "unreadable_answer"),
        ({"output": "text"}, "unreadable_answer"),
        ({"choices": []}, "unreadable_answer"),
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, "server_error"),
    ],
    ids=["empty", "of another shape", "no choice", "a failed response"],
)
async def test_w25_what_holds_no_answer_is_given_back_and_read_as_an_error(body: object, code: str) -> None:
    given = await LIVE.ask(FakeFetch(reply(body)), endpoint="/v1/responses", model="m", body=b"{}")
    said = LIVE.read("/v1/responses", given)
    assert isinstance(said, LineError)
    assert (said.code, said.status) == (code, 200)


@pytest.mark.parametrize(
    "body",
    [
        RESPONSE,
        {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}},
        {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}},
        {"choices": [{"message": {"refusal": "no"}}]},
        {"status": "incomplete", "output": [], "incomplete_details": {"reason": "max_output_tokens"}},
        {"output": 1},
        {},
    ],
    ids=["response", "chat", "embeddings", "refusal", "incomplete", "odd", "empty"],
)
def test_w25_a_live_answer_is_read_as_a_batchs_line_is(body: object) -> None:
    raw = json.dumps(body).encode()
    line = b'{"custom_id":"a","response":{"status_code":200,"body":%b}}' % raw
    assert LIVE.read("/v1/responses", raw) == read_line(line)


def test_an_answer_says_what_it_holds() -> None:
    said = LIVE.read("/v1/responses", json.dumps(RESPONSE).encode())
    assert isinstance(said, Answer)
    assert (said.text, said.model, said.finish_reason, said.body()) == ("Geiranger", "m-1", "completed", RESPONSE)
    assert said.usage is not None
    assert said.usage.total_tokens == 5
