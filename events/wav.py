"""How long a WAV file is, by its header. Pure, and never raises."""

from __future__ import annotations

import struct
from typing import Final

WAV_TYPES: Final = frozenset({"audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"})

_RIFF_HEADER_BYTES: Final = 12
_CHUNK_HEADER_BYTES: Final = 8


def wav_duration_s(content: bytes, mime_type: str) -> float | None:
    """The length in seconds of a RIFF file with the form `WAVE`: the size of its `data` over the bytes a second of its
    `fmt `. None for another type, for what is no such file, and for what is cut before both were found."""
    if mime_type.partition(";")[0].strip().lower() not in WAV_TYPES:
        return None
    if len(content) < _RIFF_HEADER_BYTES or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    bytes_a_second = 0
    at = _RIFF_HEADER_BYTES
    while at + _CHUNK_HEADER_BYTES <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        at += _CHUNK_HEADER_BYTES
        if name == b"fmt " and at + 16 <= len(content):
            (bytes_a_second,) = struct.unpack_from("<I", content, at + 8)
        elif name == b"data":
            return size / bytes_a_second if bytes_a_second else None
        at += size + size % 2
    return None
