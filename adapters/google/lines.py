"""Lines of input files, requests in a call, and results of batches: which line they answer, and what they say. Pure.

A result is an answer iff it has a response, no error, and an answer can be read in the response (W-25). `parse_line`
and `read_line` judge alike.

Sources: `contracts/providers.md` section 3.2 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from perdure.actors.batch.ports import OutputLine
from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.google.reading import read_body
from perdure.adapters.google.wire import GenerateAnswer, Status
from perdure.adapters.openai_compatible.input_lines import MAX_LINE_ID, on_one_line
from perdure.adapters.reading import UNREADABLE, optional, shortened
from perdure.events.requests import Answer, LineError

CODES: Final = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}
"""The words for the numbers of `google.rpc.Code`."""

_CANCELLED: Final = 1
_SEAM: Final = b',"request":'
_KEY: Final = b'{"key":'


class _Metadata(Struct, frozen=True):
    key: str | None = None


class _ReadLine(Struct, frozen=True):
    """A result whose response is an answer's, read at once."""

    key: str | None = None
    metadata: _Metadata | None = None
    response: GenerateAnswer | None = None
    error: Status | None = None


class _ResultLine(Struct, frozen=True):
    """A result, whatever its response is."""

    key: str | None = None
    metadata: _Metadata | None = None
    response: Raw = Raw()
    error: Raw = Raw()


class _InputLine(Struct, frozen=True):
    request: Raw


_read_lines: Final = msgspec.json.Decoder(_ReadLine)
_result_lines: Final = msgspec.json.Decoder(_ResultLine)
_input_lines: Final = msgspec.json.Decoder(_InputLine)
_statuses: Final = msgspec.json.Decoder(Status | None)


def encode_line(line_id: str, body: bytes) -> bytes:
    """One line of an input file, newline included. `body` is put in as it stands, on one line.

    Raises `ValueError` for a line id that is not 1 to `MAX_LINE_ID` printable ASCII characters.
    """
    if not 1 <= len(line_id) <= MAX_LINE_ID or not line_id.isascii() or not line_id.isprintable():
        raise ValueError(f"a line id must have 1 to {MAX_LINE_ID} printable ASCII characters, not {line_id!r}")
    return _KEY + msgspec.json.encode(line_id) + _SEAM + on_one_line(body) + b"}\n"


def body_of(line: bytes) -> bytes:
    """The body in a line that `encode_line` made."""
    return bytes(_input_lines.decode(line).request)


def inlined(line: bytes) -> tuple[str, bytes]:
    """The id and the request, as a call takes it, of a line that `encode_line` made."""
    # Within a JSON string the quotes of the seam would stand behind backslashes: it is found where it is.
    head, _, rest = line.rstrip(b"\n").partition(_SEAM)
    key = head[len(_KEY) :]
    return msgspec.json.decode(key, type=str), b'{"metadata":{"key":%b}%b%b' % (key, _SEAM, rest)


def on_line(response: bytes, line_id: str) -> bytes:
    """A response out of an operation, on one line; `line_id` is put in where it has no key of its own. What is no
    object stays as it is."""
    line = msgspec.json.format(response, indent=-1)
    if not line.startswith(b"{") or not line_id or key_of(line):
        return line
    return _KEY + msgspec.json.encode(line_id) + (b"}" if line == b"{}" else b"," + line[1:])


def key_of(raw: bytes) -> str:
    """The key of a result, "" where there is none."""
    try:
        return _key(_result_lines.decode(raw))
    except DECODE_ERRORS:
        return ""


def parse_line(raw: bytes) -> OutputLine | None:
    """The line's id and whether it holds an answer; None where not even an id can be read. Without a key the id is "":
    that is nobody's line."""
    try:
        read = _read_lines.decode(raw)
    except DECODE_ERRORS:
        return _parse_slowly(raw)
    error = read.error
    ok = error is None and read.response is not None and bool(read.response.candidates)
    return OutputLine(_key(read), ok, raw, unfinished=error is not None and error.code == _CANCELLED)


def read_line(raw: bytes) -> Answer | LineError:
    """What the line says; of a response see `reading.read_body`, of an error the word for its code."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the line cannot be read: {error}"))
    if _is_there(line.error):
        said = optional(_statuses, line.error)
        return LineError(UNREADABLE, "the line's error cannot be read") if said is None else error_of(said)
    if not _is_there(line.response):
        return LineError(UNREADABLE, "the line has neither a response nor an error")
    return read_body(bytes(line.response))


def error_of(said: Status) -> LineError:
    """What went wrong, with the word for its code."""
    code = said.status or CODES.get(said.code or 0) or (UNREADABLE if said.code is None else f"code_{said.code}")
    return LineError(code, shortened(said.message or "Google gave no reason"))


def _parse_slowly(raw: bytes) -> OutputLine | None:
    """For lines whose response is not an answer's, such as a text or a list, and for lines that cannot be read."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS:
        return None
    return OutputLine(_key(line), isinstance(read_line(raw), Answer), raw)


def _key(line: _ReadLine | _ResultLine) -> str:
    return line.key or (line.metadata.key if line.metadata is not None else None) or ""


def _is_there(value: Raw) -> bool:
    return len(value) > 0 and bytes(value) != b"null"
