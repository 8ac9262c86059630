"""One warning of each kind about a prompt's files."""

from __future__ import annotations

from typing import Final

from perdure.events.file_warnings import FileInlined, FileNotFound, FileSkipped, FileTypeCorrected, FileWarning
from perdure.events.sealed import plain

WARNINGS: Final[tuple[FileWarning, ...]] = (
    FileSkipped(filename=plain("x"), reason="too_large", text=plain("it is too large")),
    FileNotFound(id="file_2", reason="expired"),
    FileInlined(filename=plain("x"), cause=plain("503")),
    FileTypeCorrected(filename=plain("x"), declared="image/png", mime_type="image/jpeg"),
)
