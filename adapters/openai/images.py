"""OpenAI's images: generations and edits, asked in JSON and answered in base64.

Sources: `contracts/providers.md` section 1.3, section 2.8 of `contracts/media-files-batch.md`, OpenAI's Python SDK 3.52
(20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from perdure.actors.fetch import HttpAnswer
from perdure.actors.media.ports import MadeItem, MediaAnswer
from perdure.adapters.answers import created_answer
from perdure.adapters.messages import data_url, resolved_source
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai_compatible.reading import usage_of
from perdure.adapters.openai_compatible.wire import UsageBody
from perdure.adapters.reading import optional
from perdure.events.errors import InvalidRequest, TooLarge
from perdure.events.media import ImageEdit, ImageRequest
from perdure.events.messages import Inline, ProviderRef, Source, Url

GENERATIONS: Final = "/images/generations"
EDITS: Final = "/images/edits"

DEFAULT_MODEL: Final = "gpt-image-2"
"""The usual model: `gpt-image-1`, which was, ended on 23 October 2026 (section 1.3)."""

PARAMETERS: Final = frozenset({"n", "size", "quality", "background", "output_format"})
"""What a generation can honour. `style` and `response_format` belonged to models that have ended."""

EDIT_PARAMETERS: Final = PARAMETERS | {"mask"}

FORMATS: Final = ("png", "jpeg", "webp", "gif")
"""Formats of pictures that are measured here; OpenAI also makes svg."""

MOST: Final = 10
"""The most pictures of one request (section 1.3)."""

MOST_SOURCES: Final = 16
"""The most pictures that one edit may have (section 1.3)."""

LONGEST_PROMPT: Final = 32_000
"""Characters (OpenAI's SDK 3.52, documentation of `images.generate`)."""

SOURCE_TYPES: Final[Sequence[str]] = ("image/png", "image/jpeg", "image/webp")
"""What edits take (same source, `images.edit`)."""

_Reference = Mapping[str, str]


class _Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: str
    prompt: str
    n: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    images: Sequence[_Reference] = ()
    mask: _Reference | None = None


class _Picture(Struct, frozen=True):
    b64_json: str | None = None
    revised_prompt: str | None = None


class _Answer(Struct, frozen=True):
    data: Sequence[_Picture] | None = None
    usage: Raw = Raw()


_answers: Final = msgspec.json.Decoder(_Answer)
_usages: Final = msgspec.json.Decoder(UsageBody | None)


def check(request: ImageRequest) -> None:
    """Raises `InvalidRequest`, `TooLarge` for values that OpenAI never takes."""
    if len(request.prompt) > LONGEST_PROMPT:
        size = len(request.prompt)
        raise TooLarge(
            f"the prompt has {size} characters: {NAME} takes {LONGEST_PROMPT}",
            limit=LONGEST_PROMPT,
            size=size,
            field="prompt",
        )
    if request.n is not None and request.n > MOST:
        raise InvalidRequest(f"n is {request.n}: {NAME} makes {MOST} at a time", field="n", limit=MOST, value=request.n)
    if request.output_format is not None and request.output_format not in FORMATS:
        raise InvalidRequest(
            f"output_format is {request.output_format!r}: one of {', '.join(FORMATS)}",
            field="output_format",
            limit=", ".join(FORMATS),
            value=request.output_format,
        )
    if isinstance(request, ImageEdit) and len(request.images) > MOST_SOURCES:
        count = len(request.images)
        raise InvalidRequest(
            f"there are {count} images: {NAME} takes {MOST_SOURCES}", field="images", limit=MOST_SOURCES, value=count
        )


def render(request: ImageRequest, model: str) -> tuple[str, bytes]:
    """Path and body. Raises `InvalidRequest` for a source that nobody resolved."""
    edit = request if isinstance(request, ImageEdit) else None
    body = _Body(
        model=model,
        prompt=request.prompt,
        n=request.n,
        size=request.size,
        quality=request.quality,
        background=request.background,
        output_format=request.output_format,
        images=() if edit is None else [_reference(one, f"images[{n}]") for n, one in enumerate(edit.images)],
        mask=None if edit is None or edit.mask is None else _reference(edit.mask, "mask"),
    )
    return (GENERATIONS if edit is None else EDITS), msgspec.json.encode(body)


def _reference(given: Source, place: str) -> _Reference:
    match resolved_source(given, NAME, place):
        case Inline() as inline:
            return {"image_url": data_url(inline)}
        case Url(url=url):
            return {"image_url": url}
        case ProviderRef(reference=reference):
            return {"file_id": reference}


def read(answer: HttpAnswer) -> MediaAnswer:
    """The pictures, still in base64. Raises `Unknown` for what cannot be read: it may be paid for all the same."""
    said = created_answer(answer, _answers)
    return MediaAnswer(
        items=[
            MadeItem(data=picture.b64_json or "", revised_prompt=picture.revised_prompt or "")
            for picture in said.data or ()
        ],
        usage=usage_of(optional(_usages, said.usage)),
    )
