"""OpenAI's live endpoints and models."""

from __future__ import annotations

from array import array
from base64 import b64decode

import pytest

from tests.adapters.simulator.bench import Bench, bench, jsonl

pytestmark = pytest.mark.trio

CALLS: list[tuple[str, dict[str, object]]] = [
    ("/responses", {"input": "hello"}),
    ("/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    ("/embeddings", {"input": "hello"}),
]


async def test_a_response_repeats_the_prompt_and_counts_tokens() -> None:
    async with bench() as b:
        items = [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        ]
        for given, prompt in (("hello", "hello"), (items, "be kind\nhello")):
            body = await b.ok("POST", "/responses", json={"model": "m", "input": given, "temperature": 0.5})
            (message,) = body["output"]
            assert message["content"][0]["type"] == "output_text"
            assert message["content"][0]["text"].split("] ", 1)[1] == prompt
            usage = body["usage"]
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
            assert (body["object"], body["model"], body["error"]) == ("response", "m", None)


async def test_a_chat_completion_has_as_many_choices_as_asked_for() -> None:
    async with bench() as b:
        body = await b.ok(
            "POST", "/chat/completions", json={"model": "m", "n": 3, "messages": [{"role": "user", "content": "hi"}]}
        )
        assert body["object"] == "chat.completion"
        texts = [choice["message"]["content"] for choice in body["choices"]]
        assert len(set(texts)) == 3
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        assert body["usage"]["prompt_tokens"] == 1


async def test_embeddings_have_length_one_and_come_as_floats_or_base64() -> None:
    async with bench() as b:
        asked = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8}
        floats = await b.ok("POST", "/embeddings", json=asked)
        packed = await b.ok("POST", "/embeddings", json={**asked, "encoding_format": "base64"})
        for plain, encoded in zip(floats["data"], packed["data"], strict=True):
            assert sum(value * value for value in plain["embedding"]) == pytest.approx(1.0, abs=1e-5)
            unpacked = array("f", b64decode(encoded["embedding"]))
            assert list(unpacked) == pytest.approx(plain["embedding"], abs=1e-6)
        assert floats["data"][0]["embedding"] != floats["data"][1]["embedding"]
        assert floats["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    ("given", "count", "tokens"), [([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3), ("abcdefgh", 1, 2)], ids=str
)
async def test_embeddings_take_tokens_and_text(given: object, count: int, tokens: int) -> None:
    async with bench() as b:
        body = await b.ok("POST", "/embeddings", json={"model": "m", "input": given, "dimensions": 2})
        assert (len(body["data"]), body["usage"]["prompt_tokens"]) == (count, tokens)


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
async def test_a_call_is_on_the_account_with_its_mark(path: str, body: dict[str, object]) -> None:
    async with bench() as b:
        await b.ok("POST", path, json={"model": "m", **body}, headers={"x-client-request-id": "mark-1"})
        await b.ok("POST", path, json={"model": "m", **body})
        one, two = b.simulator.account.purchases()
        assert (one.kind, one.identity, one.units) == ("text", "mark-1", 1)
        assert two.identity == ""
        assert one.id != two.id
        assert b.simulator.account.bought_twice() == [f"text payload={one.payload}"]


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
async def test_a_wrong_call_is_refused_and_not_bought(path: str, body: dict[str, object]) -> None:
    async with bench() as b:
        unknown = await b.error(404, "POST", path, json={"model": "nope", **body})
        assert (unknown["code"], unknown["param"]) == ("model_not_found", "model")
        assert (await b.error(400, "POST", path, json=body))["param"] == "model"
        assert (await b.error(400, "POST", path, json={"model": "m"}))["param"] in ("input", "messages")
        await b.error(400, "POST", path, json={"model": "m", "input": 7, "messages": 7})
        await b.error(400, "POST", path, content=b"{")
        assert b.simulator.account.purchases() == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/responses", {"input": "x", "stream": True}, "stream"),
        ("/responses", {"input": [1, 2]}, "input"),
        ("/chat/completions", {"messages": [{"content": "x"}], "n": 129}, "n"),
        ("/embeddings", {"input": "x", "dimensions": 3073}, "dimensions"),
        ("/embeddings", {"input": [{"content": "x"}]}, "input"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(path: str, body: dict[str, object], param: str) -> None:
    async with bench() as b:
        assert (await b.error(400, "POST", path, json={"model": "m", **body}))["param"] == param


async def test_models_are_listed_and_any_but_nope_is_there() -> None:
    async with bench() as b:
        listed = await b.ok("GET", "/models")
        assert listed["object"] == "list"
        one = await b.ok("GET", f"/models/{listed['data'][0]['id']}")
        assert one == listed["data"][0]
        assert (await b.ok("GET", "/models/my-own"))["id"] == "my-own"
        assert (await b.error(404, "GET", "/models/nope"))["code"] == "model_not_found"


async def test_the_seed_decides_every_answer() -> None:
    async def play(seed: int) -> list[object]:
        async with bench(seed=seed) as b:
            said = [await b.ok("POST", path, json={"model": "m", **body}) for path, body in CALLS]
            batch, output, _ = await b.finished(jsonl({"model": "m", "input": f"{n}"} for n in range(5)))
            return [*said, batch, output]

    first, again, other = await play(1), await play(1), await play(2)
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


async def test_the_seed_and_the_request_decide_the_text_and_nothing_else_does() -> None:
    async def say(b: Bench, prompt: str) -> str:
        body = await b.ok("POST", "/responses", json={"model": "m", "input": prompt})
        text: str = body["output"][0]["content"][0]["text"]
        return text

    async with bench(seed=1) as b:
        hello, again, other = [await say(b, prompt) for prompt in ("hello", "hello", "hello ")]
    async with bench(seed=2) as b:
        strange = await say(b, "hello")
    assert hello == again
    assert len({hello[:18], other[:18], strange[:18]}) == 3
