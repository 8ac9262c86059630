"""Requests for media that are refused: by the table of capabilities. What is in an answer: examined."""

from __future__ import annotations

import pytest

from perdure.actors.media.checking import check_request, put_back, with_sources
from perdure.actors.media.examining import STEP_CHARACTERS, Spoilt, decoded, examine
from perdure.actors.media.ports import MadeItem
from perdure.actors.media.state import AUDIO, IMAGE
from perdure.events.errors import Unsupported
from perdure.events.media import ImageEdit, ImageRequest, MediaRequest, SpeechRequest
from perdure.events.messages import Inline, Source, Url
from tests.actors.media.memory import MemoryMedia, png


@pytest.mark.parametrize(
    ("request_", "capability", "words"),
    [
        (ImageEdit("x", images=[b"x"]), "image_editing", "image editing"),
        (SpeechRequest("x", model="m"), "audio_generation", "audio generation"),
    ],
)
def test_m3_a_capability_that_is_off_is_named(request_: MediaRequest, capability: str, words: str) -> None:
    """M-3: the message says what the provider cannot do."""
    with pytest.raises(Unsupported, match=f"memory does not support {words}") as refused:
        check_request(MemoryMedia(), request_)
    assert (refused.value.capability, refused.value.parameter) == (capability, None)


def test_what_a_provider_can_do_is_not_refused() -> None:
    assert check_request(MemoryMedia(), ImageRequest("x", n=2)) == "m"
    assert check_request(MemoryMedia(), ImageRequest("x", model="other")) == "other"


@pytest.mark.parametrize("mask", [None, Url("https://example.com/mask.png")])
def test_sources_come_back_in_their_places(mask: Source | None) -> None:
    edit = ImageEdit("x", images=[Inline(b"a", "image/png"), Url("https://example.com/b.png")], mask=mask, n=2)
    assert put_back(edit, with_sources(edit)) == edit


@pytest.mark.trio
async def test_base64_is_decoded_in_steps_and_what_is_none_is_spoilt() -> None:
    from base64 import b64encode

    data = bytes(range(256)) * (STEP_CHARACTERS // 128)
    assert await decoded(MadeItem(data=b64encode(data).decode()), 0) == data
    assert await decoded(MadeItem(data=data), 0) == data
    for bad in ("a", "????", "aGk=\n", "é" * 8):
        with pytest.raises(Spoilt) as spoilt:
            await decoded(MadeItem(data=bad), 3)
        assert spoilt.value.code == "unreadable_answer"
        assert "item 3" in str(spoilt.value)


@pytest.mark.parametrize(
    ("kind", "data", "declared", "code"),
    [
        (IMAGE, b"", "", "empty_answer"),
        (IMAGE, b"{}", "image/png", "not_an_image"),
        (IMAGE, b"\x00" * 64, "image/png", "not_an_image"),
        (AUDIO, b"", "audio/mpeg", "empty_answer"),
        (AUDIO, b'{"error": 1}', "audio/mpeg", "not_audio"),
        (AUDIO, b"<html>", "audio/pcm", "not_audio"),
        (AUDIO, png(), "audio/pcm", "not_audio"),
        (AUDIO, b"\xff", "audio/mpeg", "not_audio"),
    ],
)
def test_w43_what_is_nothing_of_its_kind_is_spoilt(kind: str, data: bytes, declared: str, code: str) -> None:
    """W-43: the bytes decide, not what they were declared as."""
    with pytest.raises(Spoilt) as spoilt:
        examine(kind, data, MadeItem(data=data, mime_type=declared), 0)
    assert spoilt.value.code == code


def test_a_picture_that_cannot_be_measured_is_kept_without_a_size() -> None:
    cut = png()[:14]
    measured = examine(IMAGE, cut, MadeItem(data=cut), 0)
    assert (measured.mime_type, measured.width, measured.height) == ("image/png", None, None)
