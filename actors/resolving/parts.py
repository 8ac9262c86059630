"""Parts of messages by what is in them: which part a MIME type belongs in, and what a part holds. Pure."""

from __future__ import annotations

from perdure.actors.sources.media_type import DEFAULT
from perdure.events.messages import Audio, Document, Image, Resolved, Video

FilePart = Image | Document | Audio | Video


def filename_of(part: FilePart) -> str | None:
    """What the part calls its file, None where it does not."""
    return part.filename if isinstance(part, Document) else None


def part_for(source: Resolved, mime_type: str, part: FilePart, filename: str) -> FilePart:
    """A new part of the kind that `mime_type` belongs in; of the kind of `part` where the type tells nothing.

    Images, audio and video are parts of their own; everything else, PDF and plain text first of all, is a document,
    which keeps the name that `part` gave it or else gets `filename`.
    """
    group = mime_type.partition("/")[0]
    match group:
        case "image":
            return Image(source)
        case "audio":
            return Audio(source)
        case "video":
            return Video(source)
        case _ if isinstance(part, Document) or mime_type not in ("", DEFAULT):
            return Document(source, filename_of(part) or filename or None)
        case _:
            return type(part)(source)
