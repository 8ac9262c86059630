"""Neutral prompts as bodies of `:generateContent`. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.adapters.google import GoogleLive
from perdure.adapters.google.requests import ENDPOINTS, VERSIONS
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.messages import (
    Audio,
    DataUrl,
    Document,
    FileReference,
    Image,
    Inline,
    Message,
    Part,
    ProviderRef,
    Text,
    Url,
    Video,
)
from perdure.events.requests import Prompt, RawRequest

LIVE = GoogleLive()
REF = ProviderRef("google", "https://g.test/v1/files/a", "video/mp4")
BYTES = Inline(b"\x00\x01", "image/png")


def rendered(prompt: Prompt, endpoint: str = ENDPOINTS[0]) -> RawRequest:
    return LIVE.render(prompt, endpoint)


def body_of(*parts: Part) -> Any:
    """The parts of a body for a prompt of one turn."""
    body: Any = rendered(Prompt([Message("user", parts)], model="m")).body
    return body["contents"][0]["parts"]


def test_words_are_one_turn_and_every_field_has_its_place() -> None:
    prompt = Prompt("why?", model="m", instructions="be brief", max_output_tokens=5, temperature=0.5, custom_id="c")
    request = rendered(prompt)
    assert (request.url, request.custom_id) == ("/v1/models/m:generateContent", "c")
    assert request.body == {
        "contents": [{"role": "user", "parts": [{"text": "why?"}]}],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5},
    }
    assert rendered(Prompt("x", model="m")).body == {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}


def test_extra_is_laid_over_and_the_settings_field_by_field() -> None:
    extra: dict[str, Any] = {"safetySettings": [], "generationConfig": {"temperature": 1, "topK": 3}}
    body = rendered(Prompt("x", model="m", temperature=0.5, max_output_tokens=5, extra=extra)).body
    assert isinstance(body, dict)
    assert body["generationConfig"] == {"maxOutputTokens": 5, "temperature": 1, "topK": 3}
    assert body["safetySettings"] == []


@pytest.mark.parametrize(("model", "named"), [("m-1.5", "m-1.5"), ("models/m", "m")])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_model_stands_in_the_path(model: str, named: str, version: str) -> None:
    request = rendered(Prompt("x", model=model), f"/{version}/models/{{model}}:generateContent")
    assert request.url == f"/{version}/models/{named}:generateContent"
    assert LIVE.model_of(request.url, {}) == named


def test_a_url_that_is_no_endpoint_names_no_model() -> None:
    assert [
        LIVE.model_of(url, {"model": "m"}) for url in ("", "/v1/models/m:embed", "/v9/models/m:generateContent")
    ] == [
        "",
        "",
        "",
    ]


@pytest.mark.parametrize("model", ["", "a/b", "a?b", "a:b", "ä", "models/"])
def test_a_model_that_no_path_can_name_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        rendered(Prompt("x", model=model))
    assert refused.value.field == "model"


@pytest.mark.parametrize("kind", [Image, Document, Audio, Video])
def test_media_are_bytes_or_files_at_google(kind: Any) -> None:
    assert body_of(kind(BYTES)) == [{"inlineData": {"mimeType": "image/png", "data": "AAE="}}]
    assert body_of(Text("see"), kind(REF)) == [
        {"text": "see"},
        {"fileData": {"fileUri": "https://g.test/v1/files/a", "mimeType": "video/mp4"}},
    ]
    with pytest.raises(Unsupported, match="Url"):
        body_of(kind(Url("https://example.test/a.png")))


@pytest.mark.parametrize(
    "source", [DataUrl("data:,x"), FileReference("file_1"), ProviderRef("openai", "file-1", "image/png")], ids=repr
)
def test_a_source_that_google_cannot_be_told_is_refused(source: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        body_of(Image(source))
    assert refused.value.field == "content[0].parts[0].source"


def test_a_conversation_has_googles_roles() -> None:
    turns = [Message("user", (Text("a"),)), Message("assistant", (Text("b"),)), Message("user", (Text("c"),))]
    body: Any = rendered(Prompt(turns, model="m")).body
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]


def test_another_endpoint_has_no_place_for_a_prompt() -> None:
    with pytest.raises(Unsupported, match="generateContent"):
        rendered(Prompt("x", model="m"), "/v1/models/{model}:embedContent")
