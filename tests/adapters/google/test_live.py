"""Live requests over a fake `Fetch`, and what each answer means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure.actors.fetch import Refused, Unknown
from perdure.actors.live import LiveProvider
from perdure.adapters.google import GoogleLive
from perdure.events.requests import Answer, LineError, Usage
from tests.adapters.openai.fake import FakeFetch, Reply, reply

LIVE: LiveProvider = GoogleLive()
URL = "/v1/models/m:generateContent"

SAID: dict[str, Any] = {
    "candidates": [
        {
            "content": {
                "parts": [{"text": "hm", "thought": True}, {"text": "Gei"}, {"text": "ranger"}],
                "role": "model",
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 3,
        "toolUsePromptTokenCount": 1,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 1,
        "totalTokenCount": 10,
    },
    "modelVersion": "m-002",
}


def read(body: object) -> Answer | LineError:
    return LIVE.read(URL, json.dumps(body).encode())


@pytest.mark.trio
async def test_a_request_is_a_create_at_its_own_path() -> None:
    fetch = FakeFetch(reply(SAID))
    body = b'{"contents":[{"parts":[{"text":"' + b"x" * 400 + b'"}]}]}'
    given = await LIVE.ask(fetch, endpoint=URL, model="m", body=body)
    (request,) = fetch.requests
    assert (request.method, request.path, request.safety) == ("POST", URL, "create")
    assert (request.body, request.model, request.estimated_tokens) == (body, "m", len(body) // 4)
    assert request.deadline_s == request.idle_s == 600.0
    assert json.loads(given) == SAID


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [Reply(b"<html>", headers={"content-type": "text/html"}), Reply(b""), Reply(b'{"candi'), Reply(b"[]")],
    ids=["a web page", "nothing", "cut off", "a list"],
)
async def test_w23_an_answer_that_cannot_be_read_at_all_is_unknown(answer: Reply) -> None:
    with pytest.raises(Unknown):
        await LIVE.ask(FakeFetch(answer), endpoint=URL, model="m", body=b"{}")


@pytest.mark.trio
async def test_refusals_pass_through() -> None:
    with pytest.raises(Refused):
        await LIVE.ask(FakeFetch(reply({}, status=400)), endpoint=URL, model="m", body=b"{}")


def test_an_answer_says_what_it_holds() -> None:
    said = read(SAID)
    assert isinstance(said, Answer)
    assert (said.text, said.model, said.finish_reason) == ("Geiranger", "m-002", "STOP")
    assert said.usage == Usage(4, 6, 10, cached_tokens=1, reasoning_tokens=4)
    assert said.body() == SAID


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}, "usageMetadata": {}},
            "SAFETY",
            "no",
        ),
        ({"promptFeedback": {"blockReason": "NEWLY_INVENTED"}}, "NEWLY_INVENTED", "blocked"),
        ({"promptFeedback": {}}, "unreadable_answer", "no candidates"),
        ({"candidates": []}, "unreadable_answer", "no candidates"),
        ({}, "unreadable_answer", "no candidates"),
        ({"candidates": "x"}, "unreadable_answer", "cannot be read"),
        ({"candidates": [{"content": {"parts": [{"text": 1}]}}]}, "unreadable_answer", "cannot be read"),
    ],
)
def test_w25_what_holds_no_answer_is_an_error(body: object, code: str, message: str) -> None:
    said = read(body)
    assert isinstance(said, LineError)
    assert (said.code, said.status) == (code, 200)
    assert message in said.message


@pytest.mark.parametrize(
    "candidate",
    [{"finishReason": "SAFETY"}, {"content": {}, "finishReason": "SAFETY"}, {"content": {"parts": None}}],
    ids=["no content", "no parts", "null"],
)
def test_an_answer_that_was_stopped_has_no_text_and_says_why(candidate: dict[str, Any]) -> None:
    said = read({"candidates": [candidate]})
    assert isinstance(said, Answer)
    assert (said.text, said.finish_reason) == ("", candidate.get("finishReason"))
    assert (said.usage, said.model) == (None, None)


def test_no_answer_fails_for_its_usage() -> None:
    said = read({**SAID, "usageMetadata": {"promptTokenCount": "three"}, "modelVersion": 5})
    assert isinstance(said, Answer)
    assert (said.text, said.usage, said.model) == ("Geiranger", None, None)
    none = read({**SAID, "usageMetadata": {}})
    assert isinstance(none, Answer)
    assert none.usage == Usage()
