"""Anthropic's messages and models: answers that the seed decides, content that is checked, what is bought."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.adapters.simulator.anthropic_bench import OLD_VERSION, AnthropicBench, anthropic_bench

pytestmark = pytest.mark.trio

PNG = b64encode(b"\x89PNG\r\n\x1a\n not much of a picture").decode()


def text(words: str) -> dict[str, object]:
    """A block of text."""
    return {"type": "text", "text": words}


def block(kind: str, **source: object) -> dict[str, object]:
    """A block with a source."""
    return {"type": kind, "source": source}


async def test_an_answer_has_the_form_of_a_message_and_repeats_the_prompt() -> None:
    async with anthropic_bench() as b:
        said = await b.ask("hello", system="be kind", model="claude-sonnet-5-5")
        assert said["content"][0].pop("text").split("] ", 1)[1] == "hello"
        assert said == {
            "id": said["id"],
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [{"type": "text", "citations": None}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 3,
                "output_tokens": 6,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "service_tier": "standard",
            },
        }
        assert said["id"].startswith("msg_")


async def test_an_answer_ends_at_max_tokens() -> None:
    async with anthropic_bench() as b:
        said = await b.ask("a long question " * 20, max_tokens=10)
        assert said["stop_reason"] == "max_tokens"
        assert said["usage"]["output_tokens"] == 10


async def test_the_seed_and_the_request_decide_the_text() -> None:
    async def say(seed: int, words: str) -> Any:
        async with anthropic_bench(seed=seed) as b:
            return [await b.ask(words), (await b.ask(words))["content"]]

    first, again, other, strange = await say(1, "a"), await say(1, "a"), await say(1, "b"), await say(2, "a")
    assert first == again
    assert first[0]["content"] == first[1]
    assert len({str(said[1]) for said in (first, other, strange)}) == 3


async def test_a_call_is_on_the_account_and_a_refused_one_is_not() -> None:
    async with anthropic_bench() as b:
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
        said = await b.ok("POST", "/v1/messages", json=body, headers={"x-client-request-id": "mark-1"})
        await b.ask(status=404, model="nope")
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.id) == ("anthropic", "text", said["id"])
        assert (purchase.identity, purchase.units) == ("mark-1", 1)


async def test_every_source_of_images_and_documents_is_read() -> None:
    async with anthropic_bench() as b:
        picture = await b.upload(b"12345", filename="a.png", mime_type="image/png")
        notes = await b.upload(b"1234567", filename="a.txt", mime_type="text/plain")
        said = await b.ask(
            [
                text("look:"),
                block("image", type="base64", media_type="image/png", data=PNG),
                block("image", type="url", url="https://x.test/a.png"),
                block("image", type="file", file_id=picture["id"]),
                block("document", type="base64", media_type="application/pdf", data=PNG),
                block("document", type="text", media_type="text/plain", data="words"),
                block("document", type="url", url="https://x.test/a.pdf"),
                block("document", type="file", file_id=notes["id"]),
            ],
            max_tokens=1_000,
        )
        prompt = said["content"][0]["text"].split("] ", 1)[1]
        shown = (
            "look:\n[image image/png 30 bytes]\n[image https://x.test/a.png]\n[image image/png 5 bytes]\n"
            "[document application/pdf 30 bytes]\n[document text/plain 5 bytes]\n[document https://x.test/a.pdf]\n"
            "[document text/plain 7 bytes]"
        )
        assert prompt == shown[:200]


@pytest.mark.parametrize(
    "content",
    [
        [],
        "",
        [text("")],
        [{"type": "image"}],
        [block("image", type="base64", media_type="image/png", data="no base64!")],
        [block("image", type="base64", media_type="image/png", data="")],
        [block("image", type="base64", media_type="image/tiff", data=PNG)],
        [block("image", type="base64", media_type="application/pdf", data=PNG)],
        [block("image", type="text", media_type="text/plain", data="words")],
        [block("image", type="url", url="file:///etc/passwd")],
        [block("document", type="base64", media_type="text/plain", data=PNG)],
        [block("document", type="strange")],
        [block("document", type="base64", media_type="application/pdf")],
        [{"type": "text", "text": "x", "citations": [{"type": "char_location"}]}],
    ],
    ids=[
        "no block",
        "no text",
        "an empty text",
        "no source",
        "no base64",
        "no bytes",
        "a kind of image that is not taken",
        "an image of a document's type",
        "an image as text",
        "no web address",
        "base64 of plain text",
        "a strange source",
        "no data",
        "a citation of the user's",
    ],
)
async def test_content_that_is_wrong_is_refused_at_its_place(content: object) -> None:
    async with anthropic_bench() as b:
        body = await b.ask(content, status=400)
        assert body["error"]["type"] == "invalid_request_error"
        assert body["error"]["message"].startswith("messages.0.content")


async def test_a_file_must_be_there_and_of_the_right_kind() -> None:
    async with anthropic_bench() as b:
        table = await b.upload(filename="a.csv", mime_type="text/csv")
        picture = await b.upload(filename="a.png", mime_type="image/png")

        async def refused(kind: str, file: str, status: int) -> Any:
            return (await b.ask([block(kind, type="file", file_id=file)], status=status))["error"]

        assert "File not found" in (await refused("document", "file_unknown", 404))["message"]
        await refused("document", table["id"], 400)
        await refused("document", picture["id"], 400)
        await b.bench.arm("expire_file", file=picture["id"])
        expired = await refused("image", picture["id"], 404)
        assert expired["details"] == {"error_code": "file_expired"}
        await b.ok("DELETE", f"/v1/files/{picture['id']}")
        assert "details" not in await refused("image", picture["id"], 404)
        assert [purchase.kind for purchase in b.simulator.account.purchases()] == ["file", "file"]


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k"])
async def test_only_the_old_version_takes_sampling_parameters(field: str) -> None:
    async with anthropic_bench() as b:
        refused = await b.ask(status=400, **{field: 1})
        assert refused["error"]["message"] == f"{field}: Extra inputs are not permitted"
        await b.ask(version=OLD_VERSION, **{field: 1})


async def test_only_the_old_version_takes_documents_of_the_assistants() -> None:
    document = block("document", type="text", media_type="text/plain", data="words")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [document]}]
    async with anthropic_bench() as b:
        await b.ask(status=400, messages=turns)
        await b.ask(version=OLD_VERSION, messages=turns)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"max_tokens": 0},
        {"max_tokens": "many"},
        {"stream": True},
        {"unheard_of": 1},
    ],
    ids=str,
)
async def test_a_request_that_is_wrong_is_refused(fields: dict[str, object]) -> None:
    async with anthropic_bench() as b:
        assert (await b.ask(status=400, **fields))["error"]["type"] == "invalid_request_error"


async def test_what_is_required_is_named() -> None:
    async with anthropic_bench() as b:
        whole = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        for name in whole:
            part = {key: value for key, value in whole.items() if key != name}
            error = await b.error(400, "invalid_request_error", "POST", "/v1/messages", json=part)
            assert error["message"] == f"{name}: Field required"
        await b.error(400, "invalid_request_error", "POST", "/v1/messages", content=b"[]")
        await b.error(400, "invalid_request_error", "POST", "/v1/messages", content=b"\xff{")


async def test_models_are_listed_and_any_but_nope_is_there() -> None:
    async with anthropic_bench() as b:
        listed = await b.ok("GET", "/v1/models")
        assert listed["has_more"] is False
        assert await b.ok("GET", f"/v1/models/{listed['first_id']}") == listed["data"][0]
        assert (await b.ok("GET", "/v1/models/my-own"))["id"] == "my-own"
        await b.error(404, "not_found_error", "GET", "/v1/models/nope")


async def test_an_answer_is_bought_even_if_nobody_hears_it() -> None:
    async def drop(b: AnthropicBench) -> None:
        await b.bench.arm("act_then_drop", route="POST /anthropic/v1/messages")
        with pytest.raises(Exception, match="disconnected"):
            await b.ask()

    async with anthropic_bench() as b:
        await drop(b)
        await b.ask()
        assert b.bench.units("text") == [1, 1]
        assert len(b.simulator.account.bought_twice()) == 1
