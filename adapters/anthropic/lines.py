"""Lines of message batches, those that are bought with and those of results. Pure; reading never raises.

A request goes into the create call as it stands in its line. A result is an answer iff its type is `succeeded` and its
message can be read as one (W-25); all else is an error. `parse_line` and `read_line` judge alike, whatever the line
holds.

Sources: `contracts/providers.md` section 2.2 and `contracts/media-files-batch.md` section 4.6 (20 November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from perdure.actors.batch.ports import OutputLine
from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.anthropic.reading import provider_error, read_body
from perdure.adapters.anthropic.requests import MESSAGES
from perdure.adapters.anthropic.wire import ErrorAnswer, ReadLine, Result, ResultLine
from perdure.adapters.reading import UNREADABLE, optional, shortened
from perdure.events.requests import Answer, LineError

LINE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What Anthropic takes as a `custom_id` (section 2.2)."""

UNFINISHED: Final[Mapping[str, LineError]] = {
    "canceled": LineError("batch_cancelled", "the batch was cancelled before this line was run"),
    "expired": LineError("batch_expired", "the batch expired before this line was run"),
}
"""The types of results of requests that were never run, and what their lines say."""

_read_lines: Final = msgspec.json.Decoder(ReadLine)
_result_lines: Final = msgspec.json.Decoder(ResultLine)
_results: Final = msgspec.json.Decoder(Result | None)
_errors: Final = msgspec.json.Decoder(ErrorAnswer | None)


class _Line(msgspec.Struct):
    params: Raw


_decode_line: Final = msgspec.json.Decoder(_Line).decode


def encode_line(line_id: str, url: str, body: bytes) -> bytes:
    """One request of the create call, newline included.

    `body` is put in as it stands, but for the line ends that pretty-printed JSON has between its values: they become
    spaces. Raises `ValueError` for a line id that Anthropic would not take and for another endpoint than messages: both
    are chosen by us, so that is a fault of ours.
    """
    if not LINE_ID.fullmatch(line_id):
        raise ValueError(f"a line id must be 1 to 64 letters, digits, '_' and '-', not {line_id!r}")
    if url != MESSAGES:
        raise ValueError(f"a message batch holds requests for {MESSAGES}, not for {url!r}")
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b'{"custom_id":"%b","params":%b}\n' % (line_id.encode("ascii"), body)


def body_of(line: bytes) -> bytes:
    """The body in a line that `encode_line` made."""
    return bytes(_decode_line(line).params)


def parse_line(raw: bytes) -> OutputLine | None:
    """The line's id and whether it holds an answer; None where not even an id can be read."""
    try:
        read = _read_lines.decode(raw)
    except DECODE_ERRORS:
        return _parse_slowly(raw)
    said = read.result
    ok = (
        said.type == "succeeded"
        and said.message is not None
        and said.message.type != "error"
        and said.message.content is not None
    )
    return OutputLine(read.custom_id, ok, raw, unfinished=said.type in UNFINISHED)


def read_line(raw: bytes) -> Answer | LineError:
    """What the line says; of an answer, see `reading.read_body`."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the line cannot be read: {error}"))
    result = optional(_results, line.result) or Result()
    if result.type == "succeeded":
        return read_body(bytes(result.message))
    if result.type == "errored":
        said = optional(_errors, result.error)
        return provider_error(said.error if said is not None else None, None)
    unfinished = UNFINISHED.get(result.type or "")
    if unfinished is None:
        return LineError(UNREADABLE, shortened(f"the line's result is of the type {result.type!r}"))
    return unfinished


def _parse_slowly(raw: bytes) -> OutputLine | None:
    """For lines whose result is not what it should be, and for lines that cannot be read."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS:
        return None
    result = optional(_results, line.result) or Result()
    return OutputLine(line.custom_id, isinstance(read_line(raw), Answer), raw, unfinished=result.type in UNFINISHED)
