"""Requests for OpenAI: bodies for prompts, and lines of an input file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.openai import OpenAIBatches, authorize
from perdure.adapters.openai_compatible.input_lines import MAX_LINE_ID
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.ids import new_id
from perdure.events.requests import Prompt
from tests.secrets import assert_no_key, unique_key

BATCHES = OpenAIBatches()

PROMPT = Prompt(
    "Name three fjords.",
    model="m",
    custom_id="mine",
    instructions="Be brief.",
    max_output_tokens=40,
    temperature=0.0,
    extra={"top_p": 0.5},
)


@pytest.mark.parametrize(
    ("prompt", "endpoint", "body"),
    [
        (
            PROMPT,
            "/v1/responses",
            {
                "model": "m",
                "input": "Name three fjords.",
                "instructions": "Be brief.",
                "max_output_tokens": 40,
                "temperature": 0.0,
                "top_p": 0.5,
            },
        ),
        (
            PROMPT,
            "/v1/chat/completions",
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Name three fjords."},
                ],
                "max_completion_tokens": 40,
                "temperature": 0.0,
                "top_p": 0.5,
            },
        ),
        (Prompt("a", model="m"), "/v1/responses", {"model": "m", "input": "a"}),
        (
            Prompt("a", model="m"),
            "/v1/chat/completions",
            {"model": "m", "messages": [{"role": "user", "content": "a"}]},
        ),
        (
            Prompt("a", model="m", extra={"dimensions": 8}),
            "/v1/embeddings",
            {"model": "m", "input": "a", "dimensions": 8},
        ),
        (Prompt("a", model="m", extra={"input": "b"}), "/v1/responses", {"model": "m", "input": "b"}),
    ],
    ids=["responses", "chat", "plain responses", "plain chat", "embeddings", "extra wins"],
)
def test_prompt_becomes_the_endpoints_body(prompt: Prompt, endpoint: str, body: dict[str, Any]) -> None:
    request = BATCHES.render(prompt, endpoint)
    assert (request.url, request.custom_id, request.body) == (endpoint, prompt.custom_id, body)


@pytest.mark.parametrize(
    ("prompt", "endpoint", "parameter"),
    [
        (PROMPT, "/v1/images/generations", "endpoint"),
        (PROMPT, "", "endpoint"),
        (Prompt("a", model="m", instructions="b"), "/v1/embeddings", "instructions"),
        (Prompt("a", model="m", max_output_tokens=5), "/v1/embeddings", "max_output_tokens"),
        (Prompt("a", model="m", temperature=0.0), "/v1/embeddings", "temperature"),
        (Prompt("a", model="m", extra={"stream": True}), "/v1/responses", "stream"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(prompt: Prompt, endpoint: str, parameter: str) -> None:
    with pytest.raises(Unsupported) as caught:
        BATCHES.render(prompt, endpoint)
    assert caught.value.field == parameter


def test_model_of_a_body() -> None:
    assert [BATCHES.model_of("", body) for body in ({"model": "m"}, {}, {"model": None}, {"model": 5})] == [
        "m",
        "",
        "",
        "",
    ]


def test_endpoints_and_limits_are_those_of_the_contract() -> None:
    assert BATCHES.endpoints[:3] == ("/v1/responses", "/v1/chat/completions", "/v1/embeddings")
    limits = BATCHES.limits(BATCHES.endpoints[0])
    assert (limits.max_lines, limits.max_bytes) == (50_000, 200_000_000)


JSON = st.recursive(
    st.none() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from([None, 2]))
def test_a_line_is_one_line_and_says_what_was_put_in(body: object, indent: int | None) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    line = BATCHES.encode_line('b-"7"\\', "/v1/responses", text)
    assert line.endswith(b"\n")
    assert not line.strip(b"\n").count(b"\n")
    assert json.loads(line) == {"custom_id": 'b-"7"\\', "method": "POST", "url": "/v1/responses", "body": body}


def test_a_lines_body_is_not_encoded_again() -> None:
    body = b'{"model" : "m","big":123456789012345678901234567890,"n":1.10,"input":"\\u00e9"}'
    assert body in BATCHES.encode_line("b-1", "/v1/responses", body)


def test_w21_our_full_width_ids_fit_what_providers_take() -> None:
    line_id = f"{new_id('batch')}-49999"
    assert len(line_id) <= MAX_LINE_ID
    assert json.loads(BATCHES.encode_line(line_id, "/v1/responses", b"{}"))["custom_id"] == line_id
    assert len(f"{new_id('log')}-{new_id('batch')}-999999") <= 512, "OpenAI's limit for a value of metadata"


@pytest.mark.parametrize(
    "line_id", ["", "x" * (MAX_LINE_ID + 1), "fjærland", "a\nb"], ids=["empty", "long", "é", "\\n"]
)
def test_w21_an_id_outside_the_providers_limits_is_never_written(line_id: str) -> None:
    with pytest.raises(ValueError, match="line id"):
        BATCHES.encode_line(line_id, "/v1/responses", b"{}")


def test_the_key_goes_into_a_header() -> None:
    key = unique_key()
    assert authorize(f"{key}\n") == {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "secret",
    ["", "  ", f"{unique_key()}\nx: y", f"{unique_key()} å", f"{unique_key()} two"],
    ids=["empty", "blank", "two lines", "not ASCII", "two words"],
)
def test_a_key_that_no_header_carries_is_refused_unseen(secret: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        authorize(secret)
    assert_no_key("the refusal", str(caught.value))
    assert "OPENAI_API_KEY" in str(caught.value)
