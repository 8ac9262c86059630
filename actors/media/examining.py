"""What the bytes of an answer are: decoded, recognised, measured. What was ordered and did not come is told apart.

Types are sniffed and never believed (W-38, W-43). The libraries that measure are loaded when the first answer comes.
"""

from __future__ import annotations

import binascii
import io
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio
from msgspec import Struct

from perdure.actors.media.ports import MadeItem, MediaAnswer
from perdure.actors.media.state import IMAGE
from perdure.actors.sources.media_type import HEAD_BYTES, parse_media_type, recognise
from perdure.events.errors import shorten

T = TypeVar("T")

STEP_CHARACTERS: Final = 1 << 20
"""How much base64 is decoded between two checkpoints, about a millisecond of work; a multiple of four."""

PCM: Final = "audio/pcm"
"""Bare samples, 16 bits each, one channel, little-endian (providers' contract, section 1.4)."""

_SAMPLE_BYTES: Final = 2

_IN_OGG: Final = ("audio/opus", "audio/ogg")
"""What a recording in an Ogg container may be called."""

_FRAMED: Final = ("audio/mpeg", "audio/aac")
"""Types that may begin with a frame, whose mark is too short to be believed by itself."""


class Spoilt(Exception):
    """What came is not what was ordered. `code` is ours."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Measured(Struct, frozen=True):
    """What the bytes say of themselves; None: they do not."""

    mime_type: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None


def some_items(answer: MediaAnswer) -> Sequence[MadeItem]:
    """The items of an answer. Raises `Spoilt` where there are none."""
    if not answer.items:
        raise Spoilt("empty_answer", "the provider's answer holds nothing")
    return answer.items


async def decoded(item: MadeItem, number: int) -> bytes:
    """The bytes of item `number`, base64 decoded in steps. Raises `Spoilt`."""
    if isinstance(item.data, bytes):
        return item.data
    pieces: list[bytes] = []
    try:
        for start in range(0, len(item.data), STEP_CHARACTERS):
            await trio.lowlevel.checkpoint()
            pieces.append(binascii.a2b_base64(item.data[start : start + STEP_CHARACTERS], strict_mode=True))
    except ValueError as error:
        raise Spoilt("unreadable_answer", f"item {number} is no base64: {error}") from error
    return b"".join(pieces)


def examine(kind: str, data: bytes, item: MadeItem, number: int) -> Measured:
    """What item `number` of an answer is. Raises `Spoilt` where it is empty, or nothing of its kind."""
    if not data:
        raise Spoilt("empty_answer", f"item {number} has no bytes")
    if kind == IMAGE:
        return _picture(data, number)
    return _recording(data, item, number)


def _picture(data: bytes, number: int) -> Measured:
    mime_type = recognise(data[:HEAD_BYTES]).mime_type
    if not mime_type.startswith("image/"):
        raise Spoilt("not_an_image", f"item {number} is {mime_type} and no image; it begins {shorten(data[:40])}")
    width, height = size_of(data) or (None, None)
    return Measured(mime_type, width, height)


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of a picture in pixels, None where they cannot be told."""
    import imagesize  # type: ignore[import-untyped]  # annotated, without the mark that says so

    size = _measured(lambda: imagesize.get(io.BytesIO(data)))  # pyright: ignore[reportUnknownMemberType]
    return None if size is None or min(size) <= 0 else (int(size[0]), int(size[1]))


def _recording(data: bytes, item: MadeItem, number: int) -> Measured:
    head = data[:HEAD_BYTES]
    declared, _ = parse_media_type(item.mime_type)
    mime_type = recognise(head).mime_type
    framed = declared in _FRAMED and head[0] == 0xFF and len(head) > 1 and head[1] & 0xE0 == 0xE0
    if framed or (mime_type == "audio/ogg" and declared in _IN_OGG):
        mime_type = declared
    elif declared == PCM and mime_type in ("application/octet-stream", "audio/mpeg"):
        rate = item.sample_rate_hz
        duration_s = None if rate is None else len(data) / (_SAMPLE_BYTES * rate)
        return Measured(PCM, duration_s=duration_s, sample_rate_hz=rate)
    if not mime_type.startswith("audio/"):
        raise Spoilt("not_audio", f"item {number} is {mime_type} and no audio; it begins {shorten(data[:40])}")
    return Measured(mime_type, None, None, *_length(data))


def _length(data: bytes) -> tuple[float | None, int | None]:
    """Duration in seconds, and sample rate."""
    from tinytag import TinyTag

    told = _measured(lambda: TinyTag.get(file_obj=io.BytesIO(data), tags=False))
    if told is None:
        return None, None
    known = told.duration is not None and math.isfinite(told.duration) and told.duration > 0
    return told.duration if known else None, told.samplerate or None


def _measured(measure: Callable[[], T]) -> T | None:
    """What a library says; None where it fails, in whatever way: nothing that was paid for is lost for its sake."""
    try:
        return measure()
    except Exception:
        return None
