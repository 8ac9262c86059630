"""Google's `:generateContent`, simulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.adapters.simulator.google_bench import PROCESSING_S, GoogleBench, google_bench

pytestmark = pytest.mark.trio

ROUTE = "/v1/models/m:generateContent"


def asking(*parts: Mapping[str, object], **fields: object) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **fields}


async def ask(b: GoogleBench, *parts: Mapping[str, object], **fields: object) -> Any:
    return await b.ok("POST", ROUTE, json=asking(*parts, **fields))


async def test_an_answer_repeats_the_prompt_and_counts_tokens() -> None:
    async with google_bench() as b:
        said = await ask(b, {"text": "hello"}, systemInstruction={"parts": [{"text": "be kind"}]})
        (candidate,) = said["candidates"]
        assert candidate["content"]["role"] == "model"
        assert candidate["content"]["parts"][0]["text"].split("] ", 1)[1] == "hello"
        assert (candidate["finishReason"], said["modelVersion"]) == ("STOP", "m")
        usage = said["usageMetadata"]
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
        assert [purchase.kind for purchase in b.simulator.account.purchases(provider="google")] == ["text"]
        again = await ask(b, {"text": "hello"}, system_instruction={"parts": [{"text": "be kind"}]})
        assert again["candidates"][0]["content"]["parts"][0]["text"].endswith("hello")


async def test_an_answer_stops_at_the_most_tokens() -> None:
    async with google_bench() as b:
        said = await ask(b, {"text": "hello " * 50}, generationConfig={"maxOutputTokens": 5})
        assert said["candidates"][0]["finishReason"] == "MAX_TOKENS"
        assert said["usageMetadata"]["candidatesTokenCount"] == 5


async def test_a_blocked_prompt_has_a_reason_and_no_candidate() -> None:
    async with google_bench() as b:
        said = await ask(b, {"text": "!block this"})
        assert "candidates" not in said
        assert said["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
        assert b.simulator.account.purchases() == []


async def test_files_must_be_there_and_active() -> None:
    async with google_bench() as b:
        film = await b.upload(b"x", "video/mp4")
        part = {"fileData": {"fileUri": film["uri"], "mimeType": "video/mp4"}}
        error = await b.error(400, "FAILED_PRECONDITION", "POST", ROUTE, json=asking(part))
        assert "ACTIVE" in error["message"]
        b.simulator.clock.advance(PROCESSING_S)
        await ask(b, {"text": "what?"}, part)
        b.simulator.clock.advance(48 * 3_600)
        await b.error(403, "PERMISSION_DENIED", "POST", ROUTE, json=asking(part))


WRONG: list[object] = [
    {},
    {"contents": []},
    {"contents": [{"parts": []}]},
    {"contents": [{"role": "system", "parts": [{"text": "x"}]}]},
    {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "***"}}]}]},
    {"contents": [{"parts": [{"text": "x", "inlineData": {"mimeType": "image/png", "data": ""}}]}]},
    {"contents": "x"},
    [],
]


@pytest.mark.parametrize(
    "body",
    WRONG,
    ids=["empty", "no turn", "no part", "another role", "no base64", "two in one", "a text", "a list"],
)
async def test_a_wrong_request_is_refused(body: object) -> None:
    async with google_bench() as b:
        await b.error(400, "INVALID_ARGUMENT", "POST", ROUTE, json=body)
        assert b.simulator.account.purchases() == []


async def test_a_model_and_a_method_that_do_not_exist() -> None:
    async with google_bench() as b:
        body = asking({"text": "x"})
        error = await b.error(404, "NOT_FOUND", "POST", "/v1beta/models/nope:generateContent", json=body)
        assert error["message"].startswith("models/nope is not found for API version v1beta")
        await b.error(404, "NOT_FOUND", "POST", "/v1/models/m:streamGenerateContent", json=body)
