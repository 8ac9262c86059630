"""Messages as OpenAI's endpoints take them, part by part."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from perdure import (
    Audio,
    DataUrl,
    Document,
    FileReference,
    Image,
    Inline,
    Message,
    Prompt,
    ProviderRef,
    Text,
    Url,
    Video,
)
from perdure.adapters.openai import OpenAILive
from perdure.events.errors import InvalidRequest, Unsupported
from perdure.events.messages import Part

LIVE = OpenAILive()
RESPONSES, CHAT, EMBEDDINGS = LIVE.live_endpoints
PDF = Inline(b"%PDF", "application/pdf")
PNG = Inline(b"\x89PNG", "image/png")
FILE = ProviderRef("openai", "file-1", "application/pdf")
ADDRESS = Url("https://example.org/a")


def body(content: Any, endpoint: str) -> Any:
    return LIVE.render(Prompt(content, model="m"), endpoint).body


def turns(*parts: Part) -> list[Message]:
    return [Message("user", parts)]


@pytest.mark.parametrize(
    ("part", "rendered"),
    [
        (Text("a"), {"type": "input_text", "text": "a"}),
        (Image(PNG), {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}),
        (Image(ADDRESS), {"type": "input_image", "detail": "auto", "image_url": "https://example.org/a"}),
        (Image(FILE), {"type": "input_image", "detail": "auto", "file_id": "file-1"}),
        (
            Document(PDF, "report.pdf"),
            {"type": "input_file", "filename": "report.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        ),
        (
            Document(PDF),
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        ),
        (Document(ADDRESS), {"type": "input_file", "file_url": "https://example.org/a"}),
        (Document(FILE), {"type": "input_file", "file_id": "file-1"}),
    ],
)
def test_a_part_in_a_response(part: Part, rendered: dict[str, object]) -> None:
    assert body(turns(part), RESPONSES) == {"model": "m", "input": [{"role": "user", "content": [rendered]}]}


@pytest.mark.parametrize(
    ("part", "rendered"),
    [
        (Text("a"), {"type": "text", "text": "a"}),
        (Image(PNG), {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}),
        (Image(ADDRESS), {"type": "image_url", "image_url": {"url": "https://example.org/a"}}),
        (
            Document(Inline(b"a", "text/unheard-of")),
            {"type": "file", "file": {"filename": "document", "file_data": "data:text/unheard-of;base64,YQ=="}},
        ),
        (Document(FILE), {"type": "file", "file": {"file_id": "file-1"}}),
        (Audio(Inline(b"a", "audio/mpeg")), {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "mp3"}}),
        (Audio(Inline(b"a", "audio/wav")), {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "wav"}}),
    ],
)
def test_a_part_in_a_chat(part: Part, rendered: dict[str, object]) -> None:
    assert body(turns(part), CHAT) == {"model": "m", "messages": [{"role": "user", "content": [rendered]}]}


def test_a_conversation_keeps_its_turns() -> None:
    conversation = [
        Message("user", (Text("Name a fjord."),)),
        Message("assistant", (Text("Geiranger."),)),
        Message("user", (Text("Another."),)),
    ]
    prompt = Prompt(conversation, model="m", instructions="Be brief.")
    responses = LIVE.render(prompt, RESPONSES).body
    assert responses == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Name a fjord."}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Geiranger."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "Another."}]},
        ],
    }
    chat: Any = LIVE.render(prompt, CHAT).body
    assert [turn["role"] for turn in chat["messages"]] == ["system", "user", "assistant", "user"]
    assert chat["messages"][2]["content"] == [{"type": "text", "text": "Geiranger."}]


@pytest.mark.parametrize("endpoint", [RESPONSES, CHAT])
def test_w45_rendering_changes_nothing_of_the_callers(endpoint: str) -> None:
    content = turns(Text("a"), Image(PNG), Document(FILE, "a.pdf"))
    before = deepcopy(content)
    body(content, endpoint)
    assert content == before


@pytest.mark.parametrize(
    ("endpoint", "part", "capability"),
    [
        (RESPONSES, Audio(Inline(b"a", "audio/wav")), "audio"),
        (RESPONSES, Video(ADDRESS), "video"),
        (CHAT, Image(FILE), "image"),
        (CHAT, Document(ADDRESS), "document"),
        (CHAT, Audio(ADDRESS), "audio"),
        (CHAT, Audio(Inline(b"a", "audio/flac")), "audio"),
        (CHAT, Video(FILE), "video"),
    ],
)
def test_a_part_that_an_endpoint_cannot_express_is_named(endpoint: str, part: Part, capability: str) -> None:
    with pytest.raises(Unsupported) as caught:
        body(turns(Text("a"), part), endpoint)
    assert (caught.value.capability, caught.value.parameter) == (capability, "content[0].parts[1]")
    assert endpoint in str(caught.value)


@pytest.mark.parametrize("endpoint", [RESPONSES, CHAT])
def test_the_assistant_said_text_alone(endpoint: str) -> None:
    with pytest.raises(Unsupported, match="assistant"):
        body([Message("assistant", (Image(PNG),))], endpoint)


def test_embeddings_take_text_alone() -> None:
    with pytest.raises(Unsupported) as caught:
        body(turns(Text("a")), EMBEDDINGS)
    assert (caught.value.capability, caught.value.parameter) == ("messages", "content")


@pytest.mark.parametrize("endpoint", [RESPONSES, CHAT])
@pytest.mark.parametrize(
    "source", [DataUrl("data:,a"), FileReference("file_1")], ids=lambda source: type(source).__name__
)
def test_a_source_that_nobody_resolved_is_refused(endpoint: str, source: DataUrl | FileReference) -> None:
    with pytest.raises(InvalidRequest, match="was not resolved") as caught:
        body(turns(Document(source)), endpoint)
    assert caught.value.field == "content[0].parts[0].source"


def test_a_file_at_another_provider_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a file at google"):
        body(turns(Document(ProviderRef("google", "files/a", "application/pdf"))), RESPONSES)


@pytest.mark.parametrize("content", [[], [Message("user", ())], ["text"]], ids=["no turn", "no part", "no message"])
def test_content_that_says_nothing_is_refused(content: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        body(content, RESPONSES)
    assert caught.value.field.startswith("content")
