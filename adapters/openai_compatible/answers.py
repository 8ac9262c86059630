"""Decoders of files and lists of them, and what an error body says. See `adapters/answers` for the reading itself."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.openai_compatible.wire import ErrorAnswer, ErrorBody, FileObject, Page

FILE: Final = msgspec.json.Decoder(FileObject)
FILE_PAGE: Final = msgspec.json.Decoder(Page[FileObject])
_ERROR: Final = msgspec.json.Decoder(ErrorAnswer)


def error_of(body: bytes) -> ErrorBody:
    """What an error body says; empty where it says nothing that can be read."""
    try:
        said = _ERROR.decode(body)
    except DECODE_ERRORS:
        return ErrorBody()
    error = said.error
    return ErrorBody(message=error, code=said.code) if isinstance(error, str) else error or ErrorBody()
