"""File names: what is shown to people, and what may be handed to other systems.

A safe name is never used as a path here; it is what providers, headers and downloads are told.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from msgspec import Struct

SAFE_BYTES: Final = 255
"""The longest safe name in UTF-8: what common file systems take."""

SHOWN_CHARACTERS: Final = 1_000

NAMELESS: Final = "file"

_SEPARATORS: Final = re.compile(r"[/\\]")
_HALVES: Final = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: what names of files that are no UTF-8 come as, and what no UTF-8 can hold."""

_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control and format characters (the ones that turn the writing direction among them), halves of pairs, code points
without a meaning, line and paragraph separators."""

_RESERVED: Final = frozenset('<>:"|?*')
"""What some systems refuse in names, and what would end a quoted header value."""

_EXTENSION_BYTES: Final = 16


class FileName(Struct, frozen=True):
    """`shown`: the name as it came, for people; text of at most 1,000 characters. `safe`: see `safe_filename`."""

    shown: str
    safe: str


def name_file(name: str | None, *, extension: str = "") -> FileName:
    """Both names of a file that came as `name`; without one it is called `file` and gets `extension` (`".pdf"`)."""
    if not name or not name.strip():
        return FileName(NAMELESS + extension, NAMELESS + extension)
    shown = _HALVES.sub("\ufffd", name)
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[: SHOWN_CHARACTERS - 1] + "…"
    return FileName(shown, safe_filename(name))


def safe_filename(name: str) -> str:
    """The last part of `name` in NFC, without what is unsafe, in 1 to 255 bytes of UTF-8; the extension survives.

    Never `.` or `..`, never with a separator, a control character, or a space or full stop at an end where systems
    drop them. Safe names come back as they are.
    """
    last = unicodedata.normalize("NFC", _SEPARATORS.split(name.rstrip("/\\"))[-1])
    kept = "".join(
        "_" if character in _RESERVED else character
        for character in last
        if unicodedata.category(character) not in _UNSAFE_CATEGORIES
    )
    return _bounded(_trimmed(kept)) or NAMELESS


def _trimmed(name: str) -> str:
    return name.strip().rstrip(". ")


def _bounded(name: str) -> str:
    """`name` cut to `SAFE_BYTES` before its extension."""
    if len(name.encode()) <= SAFE_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = dot + extension
    if not stem or len(tail.encode()) > _EXTENSION_BYTES:
        stem, tail = name, ""
    room = SAFE_BYTES - len(tail.encode())
    # Cut at a character, and trimmed again: a cut may lay a space bare.
    return _trimmed(stem.encode()[:room].decode("utf-8", "ignore")) + tail
