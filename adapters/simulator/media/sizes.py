"""Sizes in pixels of what is asked for by aspect ratio and resolution, as Google and xAI do."""

from __future__ import annotations

import re
from math import sqrt
from typing import Final

MAX_RATIO: Final = 8
"""How many times longer than the other an edge may be. Google's image models reach 8:1."""

_RATIO: Final = re.compile(r"([1-9]\d?(?:\.\d)?):([1-9]\d?(?:\.\d)?)")


class NotARatio(Exception):
    """A text is no aspect ratio; the message says what one is."""


def picture_size(aspect_ratio: str, edge: int) -> tuple[int, int]:
    """Width and height of a picture that has as many pixels as a square of `edge`, both multiples of 16, so that they
    come close to the ratio. Raises `NotARatio`."""
    ratio = _ratio(aspect_ratio)
    return _multiple(edge * sqrt(ratio), 16), _multiple(edge / sqrt(ratio), 16)


def film_size(aspect_ratio: str, shorter_edge: int) -> tuple[int, int]:
    """Width and height of a film whose shorter edge is given, both even. Raises `NotARatio`."""
    ratio = _ratio(aspect_ratio)
    longer = _multiple(shorter_edge * max(ratio, 1 / ratio), 2)
    return (longer, shorter_edge) if ratio >= 1 else (shorter_edge, longer)


def _ratio(text: str) -> float:
    said = _RATIO.fullmatch(text)
    if said is None or not 1 / MAX_RATIO <= (ratio := float(said[1]) / float(said[2])) <= MAX_RATIO:
        raise NotARatio(f"an aspect ratio is like 16:9, and 1:{MAX_RATIO} to {MAX_RATIO}:1, not '{text}'")
    return ratio


def _multiple(length: float, of: int) -> int:
    return max(of, round(length / of) * of)
