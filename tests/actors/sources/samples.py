"""The beginnings of files of many kinds, by their MIME type."""

from __future__ import annotations

import io
import wave
import zipfile
from typing import Final


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8_000)
        writer.writeframes(bytes(64))
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
    return file.getvalue()


PNG: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"
PDF: Final = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"
ZIP: Final = _zip()

SAMPLES: Final = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(50),
    "image/gif": b"GIF89a" + bytes(20),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
    "image/heif": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
    "image/tiff": b"II*\0" + bytes(20),
    "application/pdf": PDF,
    "application/zip": ZIP,
    "application/gzip": b"\x1f\x8b\x08\0" + bytes(20),
    "audio/wav": _wav(),
    "audio/mpeg": b"ID3\x03\0\0\0" + bytes(40),
    "audio/flac": b"fLaC\0\0\0\x22" + bytes(30),
    "audio/ogg": b"OggS\0\x02" + bytes(22) + b"\x01vorbis",
    "audio/mp4": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "video/ogg": b"OggS\0\x02" + bytes(22) + b"\x80theora",
    "video/mp4": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41",
    "video/quicktime": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm",
    "video/x-matroska": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x88matroska",
    "text/plain": b"Three fjords: Hardanger, Sogne, Geiranger.\n",
    "application/octet-stream": bytes(range(200, 256)) * 3,
}
