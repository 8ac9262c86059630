"""What resolving a prompt's files did that its author should hear of: the request goes out all the same.

`place` names the part: `content[0].parts[2]`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

SkipReason = Literal["unsupported_type", "too_large", "not_fetched"]


class FileSkipped(Struct, frozen=True, kw_only=True, tag="file_skipped"):
    """A file was left out; words in its place say so. `text` is the reason for people."""

    place: str = ""
    filename: str
    reason: SkipReason
    text: str


class FileNotFound(Struct, frozen=True, kw_only=True, tag="file_not_found"):
    """A file of ours that a part names is not there; words in its place say so."""

    place: str = ""
    id: str
    reason: Literal["unknown", "expired", "deleted"]


class FileInlined(Struct, frozen=True, kw_only=True, tag="file_inlined"):
    """A file could not be uploaded, and stands in the request itself instead. `cause` is what the upload failed of."""

    place: str = ""
    filename: str
    cause: str


class FileTypeCorrected(Struct, frozen=True, kw_only=True, tag="file_type_corrected"):
    """A file is something else than it was declared as; the request says what it is."""

    place: str = ""
    filename: str
    declared: str
    mime_type: str


FileWarning: TypeAlias = FileSkipped | FileNotFound | FileInlined | FileTypeCorrected
