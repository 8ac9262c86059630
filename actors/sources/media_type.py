"""What a file is: its MIME type, from its first bytes, from what it was declared as, and from its name.

The bytes win where they carry a signature that leaves no doubt; else the declaration, else the name. Signatures come
from a library (`signatures`); which of them leave no doubt, and which types honestly share one, stands here.
"""

from __future__ import annotations

import functools
import mimetypes
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from perdure.actors.sources.signatures import find_signatures

DEFAULT: Final = "application/octet-stream"

HEAD_BYTES: Final = 4_096
"""How many first bytes are looked at."""

_TOKEN: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE: Final = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*(?:;(.*))?", re.DOTALL)
_CHARSET: Final = re.compile(rf";\s*charset\s*=\s*\"?({_TOKEN})\"?\s*(?:;|$)", re.IGNORECASE)

_SAYS_NOTHING: Final = frozenset({DEFAULT, "binary/octet-stream", "application/x-binary", "application/unknown"})

_SPELLINGS: Final = {
    "application/x-gzip": "application/gzip",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "audio/mp3": "audio/mpeg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "text/x-markdown": "text/markdown",
    "video/avi": "video/x-msvideo",
}
"""Other spellings of a type, and the one that providers know."""

_ZIP: Final = b"PK\x03\x04"

_CERTAIN: Final = frozenset(
    {
        "application/gzip",
        "application/pdf",
        "application/zip",
        "audio/aiff",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/avif",
        "image/gif",
        "image/heif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
        "video/mp4",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/x-matroska",
        "video/x-msvideo",
    }
)
"""Types whose signature is long enough that it corrects a declaration."""

_ALWAYS_SIGNED: Final = _CERTAIN - {"audio/mpeg", "audio/mp4", "video/mp4", "video/quicktime", "application/pdf"}
"""Types whose files always begin with their signature: what does not is something else, whatever it is declared as."""

_CERTAIN_BYTES: Final = 3
"""The shortest certain signature: JPEG's and gzip's."""

_CONTAINERS: Final = frozenset({"video/mp4", "video/webm"})
"""What the library also calls files whose more exact type it knows."""

_SHARED: Final = (
    frozenset({"audio/mpeg", "audio/aac"}),
    frozenset({"audio/mp4", "audio/aac", "video/mp4", "video/x-m4v", "video/quicktime", "video/3gpp", "audio/3gpp"}),
    frozenset({"image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"}),
    frozenset({"audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/vorbis"}),
    frozenset({"video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"}),
)
"""Types whose files can begin alike, so that the bytes do not contradict either."""

_MORE_EXTENSIONS: Final = {
    ".avif": "image/avif",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jsonl": "application/jsonl",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".ogg": "audio/ogg",
    ".opus": "audio/opus",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".wav": "audio/wav",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
}
"""What Python's own table lacks or spells otherwise."""


class MediaType(Struct, frozen=True):
    """What a file is. `charset` is "" unless one was declared; `corrected_from` is the declaration that the bytes
    contradict, "" where there is none."""

    mime_type: str
    charset: str = ""
    corrected_from: str = ""


def parse_media_type(text: str | None) -> tuple[str, str]:
    """Type and charset of a declaration such as `Text/Plain; charset=UTF-8`, both lower-case, in the usual spelling.

    "" for what is absent; two "" for text that is no media type (RFC 9110, 8.3.1) or that says nothing.
    """
    match = _MEDIA_TYPE.fullmatch(text or "")
    if match is None:
        return "", ""
    essence = match[1].lower()
    charset = _CHARSET.search(f";{match[2] or ''}")
    return _SPELLINGS.get(essence, essence), charset[1].lower() if charset else ""


def accepted(mime_type: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` admits `mime_type`: the exact type, or a declared wildcard (`image/*`, `*/*`)."""
    essence, _ = parse_media_type(mime_type)
    group = essence.partition("/")[0] + "/*"
    return any(pattern.lower() in ("*/*", group, essence) or _same(pattern, essence) for pattern in patterns)


def _same(pattern: str, essence: str) -> bool:
    return parse_media_type(pattern)[0] == essence != ""


def recognise(head: bytes, *, declared: str | None = None, filename: str = "") -> MediaType:
    """The type of a file that begins with `head` (its first `HEAD_BYTES`, or all of it) and has at least one byte.

    `declared` is what its owner calls it; "" and `application/octet-stream` say nothing. Never raises.
    """
    given, charset = parse_media_type(declared)
    claim = "" if given in _SAYS_NOTHING else given
    likely = claim or type_by_name(filename)
    found = _signatures(head)
    certain = _certain(head, found)
    if certain:
        mime_type = likely if _compatible(likely, certain, found) else certain
    elif likely and likely not in _ALWAYS_SIGNED:
        mime_type = likely
    else:
        mime_type = next((type_ for type_, size in found if size > _CERTAIN_BYTES), "") or _unsigned(head)
    contradicted = declared is not None and declared.strip() != "" and given not in _SAYS_NOTHING and mime_type != claim
    return MediaType(mime_type, charset, (declared or "")[:100] if contradicted else "")


def extension_for(mime_type: str) -> str:
    """The usual extension with its full stop, "" where none is known."""
    return next(
        (extension for extension, known in _MORE_EXTENSIONS.items() if known == mime_type),
        _table().guess_extension(mime_type) or "",
    )


def _signatures(head: bytes) -> list[tuple[str, int]]:
    """Types whose signature `head` has, with the signature's length; the longest first."""
    return [(_SPELLINGS.get(mime_type, mime_type), size) for mime_type, size in find_signatures(head)]


def _certain(head: bytes, found: list[tuple[str, int]]) -> str:
    """The type that the bytes leave no doubt about, "" where there is none."""
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head else "audio/ogg"
    types = [mime_type for mime_type, size in found if mime_type in _CERTAIN and size >= _CERTAIN_BYTES]
    exact = [mime_type for mime_type in types if mime_type not in _CONTAINERS]
    if head.startswith(_ZIP) and not exact:
        # The library lists every office format here; which one it is stands deeper inside.
        return "application/zip"
    return next(iter(exact or types), "")


def _compatible(likely: str, certain: str, found: list[tuple[str, int]]) -> bool:
    """Whether a file that is certainly `certain` may be called `likely`."""
    if likely == certain or any(likely in family and certain in family for family in _SHARED):
        return True
    if certain == "application/zip":
        return likely.partition("/")[0] in ("application", "model", "font") and likely not in _CERTAIN
    return likely not in _CERTAIN and any(likely == mime_type for mime_type, _ in found)


def type_by_name(filename: str) -> str:
    """The type that the extension stands for, "" where it tells nothing."""
    mime_type, encoding = _table().guess_type(filename) if filename else (None, None)
    # `notes.txt.gz` is not a text.
    return "application/gzip" if encoding == "gzip" else _SPELLINGS.get(mime_type or "", mime_type or "")


def _unsigned(head: bytes) -> str:
    """`text/plain` for what reads as text, else the type of just any bytes."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text/plain"
    if any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return DEFAULT
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data" and len(head) >= HEAD_BYTES
        return "text/plain" if cut else DEFAULT
    return "text/plain"


@functools.cache
def _table() -> mimetypes.MimeTypes:
    """Python's own table and ours, without what the machine's files add: the same name means the same everywhere."""
    table = mimetypes.MimeTypes()
    for extension, mime_type in _MORE_EXTENSIONS.items():
        table.add_type(mime_type, extension)
    return table
