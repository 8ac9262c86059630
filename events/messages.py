"""Neutral messages: what a prompt says in more than one text, with files in it.

A part's source says where its bytes come from. What is only in memory or on a disk becomes a file of ours when the
prompt is submitted. Before a request leaves, every source is resolved into one of three that a provider can be told:
`Inline`, `Url`, `ProviderRef`. All that makes new messages and never changes the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from msgspec import Struct

from perdure.events.errors import InvalidRequest


class Inline(Struct, frozen=True, tag="inline"):
    """Bytes that stand in the request itself."""

    data: bytes
    mime_type: str


class Url(Struct, frozen=True, tag="url"):
    """An address, http or https. `mime_type`: None when it is not known."""

    url: str
    mime_type: str | None = None


class DataUrl(Struct, frozen=True, tag="data_url"):
    """A `data:` URL, whose bytes stand in it."""

    url: str


class ProviderRef(Struct, frozen=True, tag="provider_ref"):
    """A file that is at `provider` already, by the name that its requests use. It is of use at that provider only,
    until it is uploaded here: then it is a file like any other. `mime_type` and `filename`: "" where not known."""

    provider: str
    reference: str
    mime_type: str = ""
    filename: str = ""


class FileReference(Struct, frozen=True, tag="file"):
    """A file of ours, by its `file_…` id."""

    id: str


Resolved: TypeAlias = Inline | Url | ProviderRef
"""What a provider's adapter renders."""

Kept: TypeAlias = Resolved | DataUrl | FileReference
"""What a prompt that is kept may name: values."""

if TYPE_CHECKING:
    Source: TypeAlias = Kept | Path | bytes | AsyncIterable[bytes] | BinaryIO
else:
    # What is decoded holds values only; nothing else can be told apart by a decoder.
    Source = Kept


class Text(Struct, frozen=True, tag="text"):
    """Words."""

    text: str


class Image(Struct, frozen=True, tag="image"):
    """A picture."""

    source: Source


class Document(Struct, frozen=True, tag="document"):
    """A document, such as a PDF or plain text. `filename` is shown to the model where the provider does that."""

    source: Source
    filename: str | None = None


class Audio(Struct, frozen=True, tag="audio"):
    """A recording."""

    source: Source


class Video(Struct, frozen=True, tag="video"):
    """A film."""

    source: Source


Part: TypeAlias = Text | Image | Document | Audio | Video

Role: TypeAlias = Literal["user", "assistant"]


class Message(Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    parts: Sequence[Part]


def checked_messages(content: str | Sequence[Message]) -> Sequence[Message]:
    """The turns of a prompt's content; plain words are one turn of the user's.

    Raises `InvalidRequest` where there is no turn, or none in one, or something that is no message.
    """
    if isinstance(content, str):
        return (Message("user", (Text(content),)),)
    if not content:
        raise InvalidRequest("there is no message in the content", field="content")
    for place, message in enumerate(content):
        if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
            raise InvalidRequest(
                f"content is text or a sequence of Message, not of {type(message).__name__}",
                field=f"content[{place}]",
            )
        if not message.parts:
            raise InvalidRequest("the message has no parts", field=f"content[{place}].parts")
    return content


def kept_source(source: Source, place: str) -> Kept:
    """The source, if it is a value. Raises `InvalidRequest` that names `place` for what has to be taken in first."""
    if isinstance(source, Inline | Url | ProviderRef | DataUrl | FileReference):
        return source
    raise InvalidRequest(
        f"{place}: a source of type {type(source).__name__} is read when a prompt is submitted, and not here",
        field=f"{place}.source",
    )
