"""Bodies for prompts: every part with every source, and what messages cannot hold."""

from __future__ import annotations

from base64 import b64encode

import pytest

from perdure.actors.live import LiveProvider
from perdure.adapters.anthropic import AnthropicLive
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
from perdure.events.requests import Prompt

LIVE: LiveProvider = AnthropicLive()
MESSAGES = "/v1/messages"
BYTES = b"\x00some bytes"
ENCODED = b64encode(BYTES).decode()
THEIRS = ProviderRef("anthropic", "file_1", "application/pdf")


def block_of(part: Part) -> object:
    """The block that a part of the user's becomes."""
    rendered = LIVE.render(Prompt([Message("user", [part])], model="m"), MESSAGES)
    assert isinstance(rendered.body, dict)
    ((turn,),) = (rendered.body["messages"],)
    assert turn["role"] == "user"
    (block,) = turn["content"]
    return block


def test_words_are_one_turn_and_the_limit_has_a_default() -> None:
    rendered = LIVE.render(Prompt("hello", model="m", custom_id="c-1"), MESSAGES)
    assert (rendered.url, rendered.custom_id) == (MESSAGES, "c-1")
    assert rendered.body == {
        "model": "m",
        "max_tokens": 4_096,
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert LIVE.model_of(MESSAGES, {"model": "m"}) == "m"
    assert LIVE.model_of(MESSAGES, {"model": 7}) == ""


def test_every_field_has_its_place_and_extra_is_laid_over() -> None:
    prompt = Prompt(
        "hello", model="m", instructions="be kind", max_output_tokens=9, extra={"thinking": {}, "max_tokens": 10}
    )
    assert LIVE.render(prompt, MESSAGES).body == {
        "model": "m",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "hello"}],
        "system": "be kind",
        "thinking": {},
    }


def test_a_conversation_keeps_its_turns() -> None:
    turns = [
        Message("user", (Text("a"), Text("b"))),
        Message("assistant", (Text("c"),)),
        Message("user", (Text("d"),)),
    ]
    before = str(turns)
    body = LIVE.render(Prompt(turns, model="m"), MESSAGES).body
    assert isinstance(body, dict)
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "c"}]},
        {"role": "user", "content": [{"type": "text", "text": "d"}]},
    ]
    assert str(turns) == before


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(Inline(BYTES, "Image/PNG; q=1")),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}},
        ),
        (Image(Url("https://x.test/a")), {"type": "image", "source": {"type": "url", "url": "https://x.test/a"}}),
        (Image(THEIRS), {"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        (
            Document(Inline(BYTES, "application/pdf"), filename="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": ENCODED},
                "title": "a.pdf",
            },
        ),
        (
            Document(Inline("fjærland".encode(), "text/plain; charset=utf-8")),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "fjærland"}},
        ),
        (
            Document(Url("https://x.test/a", "application/pdf")),
            {"type": "document", "source": {"type": "url", "url": "https://x.test/a"}},
        ),
        (Document(THEIRS), {"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    ],
    ids=["image bytes", "image url", "image file", "pdf bytes", "plain text", "pdf url", "document file"],
)
def test_each_part_with_each_source(part: Part, block: object) -> None:
    assert block_of(part) == block


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Audio(Inline(BYTES, "audio/wav")), "audio"),
        (Video(Url("https://x.test/a.mp4")), "video"),
        (Image(Inline(BYTES, "image/tiff")), "image"),
        (Document(Inline(BYTES, "text/csv")), "document"),
        (Document(Url("https://x.test/a.txt", "text/plain")), "document"),
        (Document(Inline(b"\xff\xfe", "text/plain")), "document"),
    ],
    ids=["audio", "video", "a kind of image", "a kind of document", "a url of no pdf", "text in another encoding"],
)
def test_what_messages_cannot_hold_is_refused_by_name(part: Part, kind: str) -> None:
    with pytest.raises(Unsupported) as refused:
        block_of(part)
    assert refused.value.capability == kind
    assert refused.value.parameter == "content[0].parts[0]"


@pytest.mark.parametrize("part", [Image(THEIRS), Document(THEIRS), Audio(THEIRS)], ids=["image", "document", "audio"])
def test_the_assistants_turns_hold_text_alone(part: Part) -> None:
    turns = [Message("user", (Text("a"),)), Message("assistant", (Text("b"), part))]
    with pytest.raises(Unsupported) as refused:
        LIVE.render(Prompt(turns, model="m"), MESSAGES)
    assert refused.value.parameter == "content[1].parts[1]"


@pytest.mark.parametrize(
    "part",
    [
        Image(DataUrl("data:image/png;base64,AA==")),
        Document(FileReference("file_ours")),
        Document(ProviderRef("openai", "file-1", "application/pdf")),
    ],
    ids=["a data url", "a file of ours", "a file elsewhere"],
)
def test_a_source_that_was_not_resolved_is_refused(part: Part) -> None:
    with pytest.raises(InvalidRequest) as refused:
        block_of(part)
    assert refused.value.field == "content[0].parts[0].source"


def test_what_has_no_place_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(Unsupported, match="temperature") as refused:
        LIVE.render(Prompt("a", model="m", temperature=0.0), MESSAGES)
    assert refused.value.parameter == "temperature"
    with pytest.raises(Unsupported, match="stream"):
        LIVE.render(Prompt("a", model="m", extra={"stream": True}), MESSAGES)
    with pytest.raises(Unsupported, match="/v1/complete"):
        LIVE.render(Prompt("a", model="m"), "/v1/complete")
