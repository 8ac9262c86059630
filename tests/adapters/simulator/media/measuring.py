"""Measures media by another library than the one that made it: pictures by PyAV, recordings and films by tinytag.

What is in a film, and whether a recording plays to its end, only a decoder can tell; there it is PyAV's for both.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import NamedTuple, Protocol, cast

import av
from PIL import Image
from tinytag import TinyTag


class Film(NamedTuple):
    """What a film is: its size in pixels, its length in seconds as its head says, how many frames it has, and the
    first and the last of them."""

    size: tuple[int, int]
    duration_s: float
    frames: int
    frame_s: float
    first: Image.Image
    last: Image.Image


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of a picture, after all of it was decoded by FFmpeg, which has no part in making it."""
    with av.open(io.BytesIO(data), "r") as file:
        (frame,) = file.decode(video=0)
        return frame.width, frame.height


def duration_s(data: bytes, name: str) -> float:
    """The length of a recording or film in seconds, by its head. `name` says of which kind it is."""
    told = TinyTag.get(filename=name, file_obj=io.BytesIO(data))
    assert told.duration is not None
    return told.duration


def played_s(data: bytes) -> float:
    """The length of a recording in seconds, by all of its samples."""
    with av.open(io.BytesIO(data), "r") as file:
        return sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))


def film(data: bytes) -> Film:
    """A film, played to its end."""
    with av.open(io.BytesIO(data), "r") as file:
        rate = file.streams.video[0].average_rate
        assert isinstance(rate, Fraction)
        frames = [_image(frame) for frame in file.decode(video=0)]
    return Film(frames[0].size, duration_s(data, "film.mp4"), len(frames), float(1 / rate), frames[0], frames[-1])


class _Shown(Protocol):
    """What the library gives no types for."""

    def to_image(self) -> Image.Image: ...


def _image(frame: av.VideoFrame) -> Image.Image:
    return cast("_Shown", frame).to_image()


def difference(one: Image.Image, other: Image.Image) -> int:
    """How much two pictures of a size differ in the point where they differ most, of 255."""
    first, second = one.convert("RGB").tobytes(), other.convert("RGB").tobytes()
    assert len(first) == len(second)
    return max(abs(a - b) for a, b in zip(first, second, strict=True))
