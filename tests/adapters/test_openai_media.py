"""What OpenAI is sent for images and speech, and how its answers are read."""

from __future__ import annotations

import json

import pytest

from perdure.actors.fetch import HttpAnswer, Unknown
from perdure.adapters.openai import images, speech
from perdure.events.errors import InvalidRequest
from perdure.events.ids import new_id, prefix_of
from perdure.events.media import ImageEdit, ImageRequest, SpeechRequest
from perdure.events.messages import FileReference, Inline, ProviderRef, Source, Url

JSON = {"content-type": "application/json"}


def test_m21_a_generation_has_what_was_asked_for_and_no_response_format() -> None:
    """M-21: the parameters are passed on; GPT Image models are never asked for a response format."""
    asked = ImageRequest("x", n=2, size="64x64", quality="low", background="opaque", output_format="webp")
    path, body = images.render(asked, "gpt-image-2")
    assert path == "/images/generations"
    assert json.loads(body) == {
        "model": "gpt-image-2",
        "prompt": "x",
        "n": 2,
        "size": "64x64",
        "quality": "low",
        "background": "opaque",
        "output_format": "webp",
    }
    assert json.loads(images.render(ImageRequest("x"), "m")[1]) == {"model": "m", "prompt": "x"}


def test_m22_usage_is_of_the_answer_and_absent_where_none_came() -> None:
    """M-22: one usage for all items, None where the provider reported none."""
    data = [{"b64_json": "aGk=", "revised_prompt": "more"}, {"b64_json": "aGk="}]
    usage = {"input_tokens": 3, "output_tokens": 5, "output_tokens_details": {"image_tokens": 5}}
    told = images.read(HttpAnswer(200, JSON, json.dumps({"data": data, "usage": usage}).encode()))
    assert [(item.data, item.revised_prompt) for item in told.items] == [("aGk=", "more"), ("aGk=", "")]
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.output_tokens, told.usage.image_output_tokens) == (3, 5, 5)
    assert told.usage.total_tokens is None
    for body in ({"data": data}, {"data": data, "usage": None}, {"data": data, "usage": "odd"}):
        assert images.read(HttpAnswer(200, JSON, json.dumps(body).encode())).usage is None


def test_m23_an_edit_names_its_sources() -> None:
    """M-23: a data URL for bytes, the address for a URL, the id for a file that OpenAI has."""
    sources: list[Source] = [
        Inline(b"hi", "image/png"),
        Url("https://example.com/a.png"),
        ProviderRef("openai", "file-1"),
    ]
    path, body = images.render(ImageEdit("x", images=sources, mask=Inline(b"hi", "image/png")), "m")
    assert path == "/images/edits"
    said = json.loads(body)
    assert said["images"] == [
        {"image_url": "data:image/png;base64,aGk="},
        {"image_url": "https://example.com/a.png"},
        {"file_id": "file-1"},
    ]
    assert said["mask"] == {"image_url": "data:image/png;base64,aGk="}
    with pytest.raises(InvalidRequest, match="FileReference"):
        images.render(ImageEdit("x", images=[FileReference("file_1")]), "m")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": 5}', b'{"data": [{"b64_json": 5}]}'])
def test_w43_what_cannot_be_read_may_be_paid_for(body: bytes) -> None:
    """W-43: after a create that is a doubt, never a failure."""
    with pytest.raises(Unknown):
        images.read(HttpAnswer(200, JSON, body))


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"data": []}'])
def test_an_answer_without_pictures_is_an_answer(body: bytes) -> None:
    assert images.read(HttpAnswer(200, JSON, body)).items == []


def test_w43_speech_is_taken_from_audio_and_bare_bytes_only() -> None:
    asked = SpeechRequest("x", model="m", format="wav")
    for said in ("audio/wav", "Audio/MPEG; x=1", "application/octet-stream", ""):
        [item] = speech.read(asked, HttpAnswer(200, {"content-type": said}, b"RIFF")).items
        assert (item.data, item.mime_type) == (b"RIFF", "audio/wav")
    for said in ("text/html", "application/json", "image/png"):
        with pytest.raises(Unknown, match="no audio"):
            speech.read(asked, HttpAnswer(200, {"content-type": said}, b"{}"))


def test_w33_ids_are_full_width() -> None:
    """W-33: 128 bits, sorted by time, with the prefix of their kind."""
    made = {new_id("img") for _ in range(1_000)} | {new_id("aud") for _ in range(1_000)}
    assert len(made) == 2_000
    assert {prefix_of(id) for id in made} == {"img", "aud"}
