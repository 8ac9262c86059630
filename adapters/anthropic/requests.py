"""Prompts as Anthropic wants them: the body of `/v1/messages`. Pure.

Sources: Anthropic's Python SDK 2.11 (20 November 2026): `types/message_create_params.py`, `types/image_block_param.py`,
`types/document_block_param.py` and their sources.

| part | given as |
| --- | --- |
| text | `text` |
| image | `image`: bytes of JPEG, PNG, GIF or WebP, URL, file |
| document | `document`: bytes of PDF or plain text, URL (of a PDF), file |
| audio, video | not at all |

The assistant's turns hold text alone: version 2026-10-21 refuses documents in them. It refuses `temperature` too,
whatever its value.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from perdure.adapters.anthropic.account import NAME, VERSION
from perdure.adapters.messages import resolved_source, unsupported_part
from perdure.events.errors import Unsupported
from perdure.events.messages import Document, Image, Inline, Message, Part, ProviderRef, Text, Url, checked_messages
from perdure.events.requests import Prompt, RawRequest

MESSAGES: Final = "/v1/messages"

ENDPOINTS: Final[Sequence[str]] = (MESSAGES,)
"""The endpoints that may be asked."""

DEFAULT_MAX_TOKENS: Final = 4_096
"""How long an answer may get where the prompt does not say, in tokens; Anthropic wants a limit in every request. Ours:
every model that it has offered since Claude 3 can write as much, and a larger one is refused by some."""

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""What images may be of (`types/base64_image_source_param.py`)."""

PDF: Final = "application/pdf"
PLAIN_TEXT: Final = "text/plain"

Json: TypeAlias = dict[str, object]


def render(prompt: Prompt, endpoint: str) -> RawRequest:
    """Anthropic's request for a neutral prompt; `extra` is laid over the body at the end, as it is.

    Raises `Unsupported` for another endpoint, for `temperature`, for a part that messages cannot hold, and for
    `stream`: answers are kept whole. Raises `InvalidRequest` for a source that nobody resolved.
    """
    if endpoint != MESSAGES:
        raise Unsupported(
            f"{NAME} has no place for a prompt in {endpoint!r}: name {MESSAGES}, or send a raw request",
            capability="prompt",
            parameter="endpoint",
        )
    if prompt.extra.get("stream"):
        raise Unsupported("answers are not streamed here: leave out 'stream'", capability="stream")
    if prompt.temperature is not None:
        raise Unsupported(
            f"{NAME} takes no 'temperature' since its version {VERSION}: leave it out",
            capability="temperature",
            parameter="temperature",
        )
    body: Json = {
        "model": prompt.model,
        "max_tokens": DEFAULT_MAX_TOKENS if prompt.max_output_tokens is None else prompt.max_output_tokens,
        "messages": _turns(prompt.content),
    }
    if prompt.instructions is not None:
        body["system"] = prompt.instructions
    return RawRequest(url=endpoint, body={**body, **prompt.extra}, custom_id=prompt.custom_id)


def model_of(body: Mapping[str, object]) -> str:
    """The model that a body asks for, "" when it names none."""
    model = body.get("model")
    return model if isinstance(model, str) else ""


def _turns(content: str | Sequence[Message]) -> list[Json]:
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    turns: list[Json] = []
    for n, message in enumerate(checked_messages(content)):
        blocks = [_block(part, message.role, f"content[{n}].parts[{m}]") for m, part in enumerate(message.parts)]
        turns.append({"role": message.role, "content": blocks})
    return turns


def _block(part: Part, role: str, place: str) -> Json:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case _ if role == "assistant":
            raise unsupported_part(part, NAME, f"{MESSAGES}, in the assistant's turns,", place)
        case Image():
            return {"type": "image", "source": _image_source(part, place)}
        case Document():
            title: Json = {} if part.filename is None else {"title": part.filename}
            return {"type": "document", "source": _document_source(part, place), **title}
        case _:
            raise unsupported_part(part, NAME, MESSAGES, place)


def _image_source(image: Image, place: str) -> Json:
    match resolved_source(image.source, NAME, place):
        case Inline(data, mime_type) if _plain_type(mime_type) in IMAGE_TYPES:
            return _base64(data, mime_type)
        case Url(url):
            return {"type": "url", "url": url}
        case ProviderRef() as file:
            return {"type": "file", "file_id": file.reference}
        case Inline() as other:
            raise _wrong_type(image, other.mime_type, place)


def _document_source(document: Document, place: str) -> Json:
    match resolved_source(document.source, NAME, place):
        case Inline(data, mime_type) if _plain_type(mime_type) == PDF:
            return _base64(data, mime_type)
        case Inline(data, mime_type) if _plain_type(mime_type) == PLAIN_TEXT:
            return {"type": "text", "media_type": PLAIN_TEXT, "data": _decoded(data, document, place)}
        case Url(url, mime_type) if mime_type is None or _plain_type(mime_type) == PDF:
            return {"type": "url", "url": url}
        case ProviderRef() as file:
            return {"type": "file", "file_id": file.reference}
        case Inline() | Url() as other:
            raise _wrong_type(document, other.mime_type or "", place)


def _base64(data: bytes, mime_type: str) -> Json:
    return {"type": "base64", "media_type": _plain_type(mime_type), "data": b64encode(data).decode("ascii")}


def _decoded(data: bytes, document: Document, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong_type(document, f"{PLAIN_TEXT} that is not UTF-8", place) from error


def _plain_type(mime_type: str) -> str:
    """A MIME type without its parameters."""
    return mime_type.partition(";")[0].strip().lower()


def _wrong_type(part: Image | Document, mime_type: str, place: str) -> Unsupported:
    kind = type(part).__name__.lower()
    return Unsupported(
        f"{NAME}'s {MESSAGES} takes no {kind} of {mime_type} ({place})", capability=kind, parameter=place
    )
