"""What resolving a prompt's files did that its author should hear of: the request goes out all the same.

They are events of the request, or of the batch, whose files they are about. `place` names the part:
`content[0].parts[2]`; `line` is the number of the batch's line, None for a request of its own.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from perdure.events.event import Event
from perdure.events.sealed import Sealed

SkipReason = Literal["unsupported_type", "too_large", "not_fetched"]


class FileSkipped(Event, frozen=True, kw_only=True, tag="FileSkipped"):
    """A file was left out; words in its place say so. `text` is the reason for people."""

    place: str = ""
    line: int | None = None
    filename: Sealed[str]
    reason: SkipReason
    text: Sealed[str]


class FileNotFound(Event, frozen=True, kw_only=True, tag="FileNotFound"):
    """A file of ours that a part names is not there; words in its place say so."""

    place: str = ""
    line: int | None = None
    id: str
    reason: Literal["unknown", "expired", "deleted"]


class FileInlined(Event, frozen=True, kw_only=True, tag="FileInlined"):
    """A file could not be uploaded, and stands in the request itself instead. `cause` is what the upload failed of."""

    place: str = ""
    line: int | None = None
    filename: Sealed[str]
    cause: Sealed[str]


class FileTypeCorrected(Event, frozen=True, kw_only=True, tag="FileTypeCorrected"):
    """A file is something else than it was declared as; the request says what it is."""

    place: str = ""
    line: int | None = None
    filename: Sealed[str]
    declared: str
    mime_type: str


FileWarning: TypeAlias = FileSkipped | FileNotFound | FileInlined | FileTypeCorrected

FILE_WARNINGS = (FileSkipped, FileNotFound, FileInlined, FileTypeCorrected)
"""The types, as a codec takes them."""
