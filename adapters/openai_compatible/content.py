"""Neutral messages as OpenAI's endpoints take them: `input` of responses, `messages` of chat completions. Pure.

Sources: the types of OpenAI's Python SDK 3.52 (20 November 2026): `responses/response_input_content_param.py`,
`responses/easy_input_message_param.py`, `chat/chat_completion_content_part_param.py`.

| part | responses | chat completions |
| --- | --- | --- |
| text | `input_text`, `output_text` in the assistant's turns | `text` |
| image | `input_image`: bytes, URL, file | `image_url`: bytes, URL |
| document | `input_file`: bytes, URL, file | `file`: bytes, file |
| audio | none | `input_audio`: bytes of `wav` or `mp3` |
| video | none | none |

The assistant's turns hold text alone.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from perdure.adapters.messages import data_url, resolved_source, unsupported_part
from perdure.events.messages import (
    Audio,
    Document,
    Image,
    Inline,
    Message,
    Part,
    ProviderRef,
    Text,
    Url,
    checked_messages,
)

RESPONSES: Final = "/v1/responses"
CHAT: Final = "/v1/chat/completions"

AUDIO_FORMATS: Final[Mapping[str, str]] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
"""The MIME types of recordings that chat completions take, and the word for each (`InputAudio.format` of the SDK)."""

SUFFIXES: Final[Mapping[str, str]] = {
    "application/pdf": ".pdf",
    "application/json": ".json",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
"""How names of documents end that have none of their own. Ours, and fixed: the same prompt is the same request on every
machine, whatever its table of MIME types says."""

Json: TypeAlias = dict[str, object]
_Render: TypeAlias = Callable[[Part, str], Json]


def response_input(content: str | Sequence[Message], provider: str) -> str | list[Json]:
    """The `input` of a response. Plain words stay what they are. Raises `InvalidRequest`, `Unsupported`."""
    if isinstance(content, str):
        return content
    return _turns(content, provider, RESPONSES, "output_text", lambda part, place: _input_part(part, provider, place))


def chat_messages(content: str | Sequence[Message], provider: str) -> list[Json]:
    """The `messages` of a chat completion. Raises `InvalidRequest`, `Unsupported`."""
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    return _turns(content, provider, CHAT, "text", lambda part, place: _chat_part(part, provider, place))


def _turns(
    content: Sequence[Message], provider: str, endpoint: str, assistants_text: str, user_part: _Render
) -> list[Json]:
    def assistant_part(part: Part, place: str) -> Json:
        if isinstance(part, Text):
            return {"type": assistants_text, "text": part.text}
        raise unsupported_part(part, provider, f"{endpoint}, in the assistant's turns,", place)

    turns: list[Json] = []
    for n, message in enumerate(checked_messages(content)):
        render = assistant_part if message.role == "assistant" else user_part
        parts = [render(part, f"content[{n}].parts[{m}]") for m, part in enumerate(message.parts)]
        turns.append({"role": message.role, "content": parts})
    return turns


def _input_part(part: Part, provider: str, place: str) -> Json:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text}
        case Image():
            image: Json = {"type": "input_image", "detail": "auto"}
            match resolved_source(part.source, provider, place):
                case Inline() as inline:
                    return {**image, "image_url": data_url(inline)}
                case Url(url):
                    return {**image, "image_url": url}
                case ProviderRef() as file:
                    return {**image, "file_id": file.reference}
        case Document():
            match resolved_source(part.source, provider, place):
                case Inline() as inline:
                    return {"type": "input_file", "filename": _filename(part, inline), "file_data": data_url(inline)}
                case Url(url):
                    return {"type": "input_file", "file_url": url}
                case ProviderRef() as file:
                    return {"type": "input_file", "file_id": file.reference}
        case _:
            raise unsupported_part(part, provider, RESPONSES, place)


def _chat_part(part: Part, provider: str, place: str) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    source = resolved_source(part.source, provider, place)
    match part, source:
        case Image(), Inline():
            return {"type": "image_url", "image_url": {"url": data_url(source)}}
        case Image(), Url():
            return {"type": "image_url", "image_url": {"url": source.url}}
        case Document(), Inline():
            return {"type": "file", "file": {"filename": _filename(part, source), "file_data": data_url(source)}}
        case Document(), ProviderRef():
            return {"type": "file", "file": {"file_id": source.reference}}
        case Audio(), Inline() if source.mime_type in AUDIO_FORMATS:
            audio = {"data": b64encode(source.data).decode("ascii"), "format": AUDIO_FORMATS[source.mime_type]}
            return {"type": "input_audio", "input_audio": audio}
        case _:
            raise unsupported_part(part, provider, CHAT, place, source=source)


def _filename(document: Document, inline: Inline) -> str:
    """Bytes need a name, from whose end the provider knows what they are."""
    return document.filename or f"document{SUFFIXES.get(inline.mime_type, '')}"
