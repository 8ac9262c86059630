"""What stands in messages: checked as Anthropic checks it, and what a model would make of it.

Blocks that the simulator has no use for (tools, thinking) are let pass. Sources: Anthropic's Python SDK 2.11 (20
November 2026), `types/*_param.py`; the documentation of the Files API for files of the wrong kind (400) and files that
are not there (404); for what version 2026-10-21 refuses, its migration guide (21 October 2026).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, ValidationError, json

from perdure.adapters.simulator.anthropic.errors import file_expired, invalid, no_such_file
from perdure.adapters.simulator.anthropic.headers import OLD_VERSION
from perdure.adapters.simulator.filestore import KeptFile

IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
DOCUMENT_TYPES: Final = ("application/pdf", "text/plain")
"""What images and documents may be of."""

Lookup: TypeAlias = Callable[[str], KeptFile | None]
"""Finds a file by its id."""

IsExpired: TypeAlias = Callable[[KeptFile], bool]


class _Source(Struct, frozen=True):
    type: str = ""
    media_type: str = ""
    data: str | None = None
    url: str = ""
    file_id: str = ""


class Block(Struct, frozen=True):
    """A piece of a turn."""

    type: str
    text: str | None = None
    source: Raw | UnsetType = UNSET
    citations: Raw | UnsetType = UNSET


class Turn(Struct, frozen=True):
    """A message."""

    role: str
    content: str | list[Block]


class Reader:
    """Reads the turns of one request. `version`: what it is written for. Raises `ApiError` that names the place."""

    def __init__(self, lookup: Lookup, is_expired: IsExpired, version: str) -> None:
        self._lookup = lookup
        self._is_expired = is_expired
        self._version = version

    def prompt(self, turns: Sequence[Turn]) -> str:
        """All that the turns say, a line for each piece; in the place of bytes, what they are."""
        if not turns:
            raise invalid("messages: at least one message is required")
        said: list[str] = []
        for n, turn in enumerate(turns):
            if turn.role not in ("user", "assistant", "system"):
                raise invalid(f"messages.{n}.role: must be user, assistant or system, not '{turn.role}'")
            if isinstance(turn.content, str):
                said.append(_words(turn.content, f"messages.{n}.content"))
                continue
            if not turn.content:
                raise invalid(f"messages.{n}.content: must not be empty")
            for m, block in enumerate(turn.content):
                piece = self._block(block, turn.role, f"messages.{n}.content.{m}")
                if piece:
                    said.append(piece)
        return "\n".join(said)

    def _block(self, block: Block, role: str, place: str) -> str:
        strict = self._version != OLD_VERSION
        match block.type:
            case "text":
                cited = not isinstance(block.citations, UnsetType) and bytes(block.citations) not in (b"null", b"[]")
                if strict and role == "user" and cited:
                    raise invalid(f"{place}.citations: not permitted in user messages")
                return _words(block.text, f"{place}.text")
            case "image":
                return f"[image {self._source(block, IMAGE_TYPES, ('base64',), place)}]"
            case "document":
                if strict and role == "assistant":
                    raise invalid(f"{place}: document blocks are not permitted in assistant messages")
                return f"[document {self._source(block, DOCUMENT_TYPES, ('base64', 'text', 'content'), place)}]"
            case _:
                return ""

    def _source(self, block: Block, types: Sequence[str], inline: Sequence[str], place: str) -> str:
        """What the bytes are: their type and size, or their address."""
        source = _decode(block.source, f"{place}.source")
        match source.type:
            case "url":
                if not source.url.startswith(("https://", "http://")):
                    raise invalid(f"{place}.source.url: only HTTP URLs are supported")
                return source.url
            case "file":
                return self._file(source.file_id, block.type, types, place)
            case "base64" if block.type == "image" or source.media_type == "application/pdf":
                if source.media_type not in types:
                    raise invalid(f"{place}.source.media_type: '{source.media_type}' is not one of {', '.join(types)}")
                return f"{source.media_type} {_size(source.data, place)} bytes"
            case "text" if "text" in inline and source.media_type == "text/plain":
                return f"text/plain {len(_words(source.data, f'{place}.source.data').encode())} bytes"
            case "content" if "content" in inline:
                return "content"
            case _:
                raise invalid(
                    f"{place}.source: '{source.type}' of '{source.media_type}' is no source of a {block.type}"
                )

    def _file(self, id_: str, kind: str, types: Sequence[str], place: str) -> str:
        file = self._lookup(id_)
        if file is None:
            raise no_such_file(id_)
        if self._is_expired(file):
            raise file_expired(id_)
        if file.mime_type not in types:
            raise invalid(f"{place}.source.file_id: a file of type {file.mime_type} is no {kind}")
        return f"{file.mime_type} {file.size_bytes} bytes"


def _words(text: str | None, place: str) -> str:
    if not text:
        raise invalid(f"{place}: text must be non-empty")
    return text


def _decode(source: Raw | UnsetType, place: str) -> _Source:
    if isinstance(source, UnsetType):
        raise invalid(f"{place}: Field required")
    try:
        return json.decode(source, type=_Source)
    except (ValidationError, DecodeError) as error:
        raise invalid(f"{place}: {error}") from error


def _size(data: str | None, place: str) -> int:
    try:
        size = len(b64decode(data or "", validate=True))
    except binascii.Error as error:
        raise invalid(f"{place}.source.base64: invalid base64 data") from error
    if not size:
        raise invalid(f"{place}.source.base64: must not be empty")
    return size
