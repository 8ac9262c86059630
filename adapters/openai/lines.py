"""Lines of output and error files: which line they answer, and what they say. Pure, and never raises.

A line is an answer iff its response has the status 200 and a body in which an answer can be read (W-25). All else is an
error with the provider's code, or with `unreadable_answer` where there is none to be read. `parse_line` and `read_line`
judge alike, whatever the line holds: they share the decoder and the judgement.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from perdure.actors.batch.ports import OutputLine
from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.openai.wire import LineResponse, ReadLine, ResultLine
from perdure.adapters.openai_compatible.answers import error_of
from perdure.adapters.openai_compatible.reading import judge, provider_error, read_body
from perdure.adapters.openai_compatible.wire import ErrorBody
from perdure.adapters.reading import UNREADABLE, optional, shortened
from perdure.events.requests import Answer, LineError

_read_lines: Final = msgspec.json.Decoder(ReadLine)
_result_lines: Final = msgspec.json.Decoder(ResultLine)
_errors: Final = msgspec.json.Decoder(ErrorBody | None)

_UNFINISHED: Final = frozenset({"batch_expired", "batch_cancelled"})
"""OpenAI's codes for lines that were not run because their batch expired or was cancelled (section 1.2)."""


def parse_line(raw: bytes) -> OutputLine | None:
    """The line's id and whether it holds an answer; None where not even an id can be read."""
    try:
        read = _read_lines.decode(raw)
    except DECODE_ERRORS:
        return _parse_slowly(raw)
    response = read.response
    ok = (
        response is not None
        and response.status_code == 200
        and response.body is not None
        and not isinstance(judge(response.body), LineError)
    )
    return OutputLine(read.custom_id, ok, raw, unfinished=response is None and _is_unfinished(read.error))


def read_line(raw: bytes) -> Answer | LineError:
    """What the line says. The endpoint need not be known: each has a field of its own for what it answers.

    `text`: of a response, all its `output_text` joined; of a (chat) completion, its first choice; where the model
    refused instead, the refusal; else "". `finish_reason`: `refusal` for a refusal; else the provider's word, which is
    a choice's own, and of a response the reason why it is incomplete or its status.
    """
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the line cannot be read: {error}"))
    response = line.response
    if response is None:
        return _not_run(line.error)
    return read_body(bytes(response.body)) if response.status_code == 200 else _refused(response)


def _parse_slowly(raw: bytes) -> OutputLine | None:
    """For lines whose body is not an answer's, such as a text or a list, and for lines that cannot be read."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS:
        return None
    unfinished = line.response is None and _is_unfinished(line.error)
    return OutputLine(line.custom_id, isinstance(read_line(raw), Answer), raw, unfinished)


def _is_unfinished(error: Raw) -> bool:
    """Whether a line without a response was not run because its batch ended before."""
    said = optional(_errors, error)
    return said is not None and said.code in _UNFINISHED


def _refused(response: LineResponse) -> LineError:
    """The error of a line whose endpoint answered something else than 200."""
    status = response.status_code
    otherwise = "no_status" if status is None else f"http_{status}"
    return provider_error(error_of(bytes(response.body)), otherwise, "the provider gave no reason", status)


def _not_run(error: Raw) -> LineError:
    """The error of a line without a response: it was never run, or nobody says what became of it."""
    said = optional(_errors, error)
    if said is None:
        return LineError(UNREADABLE, "the line has neither a response nor an error")
    return provider_error(said, UNREADABLE, "the provider gave no reason", None)
