"""Lines of output and error files: which line they answer, and what they say. Pure, and never raises.

A line is an answer iff its response has the status 200 and a body in which an answer can be read (W-25). All else is an
error with the provider's code, or with `unreadable_answer` where there is none to be read. `parse_line` and `read_line`
judge alike, whatever the line holds: they share the decoder and the judgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from perdure.actors.batch.ports import OutputLine
from perdure.adapters.openai.answers import DECODE_ERRORS, error_of
from perdure.adapters.openai.wire import (
    AnswerBody,
    Choice,
    ErrorBody,
    IncompleteDetails,
    LineResponse,
    OutputItem,
    Part,
    ReadLine,
    ResultLine,
    UsageBody,
)
from perdure.events.requests import Answer, LineError, Usage

UNREADABLE: Final = "unreadable_answer"

_MESSAGE_CHARACTERS: Final = 2_000
"""How much of a provider's message is kept; what they write is a sentence or two."""

_read_lines: Final = msgspec.json.Decoder(ReadLine)
_result_lines: Final = msgspec.json.Decoder(ResultLine)
_bodies: Final = msgspec.json.Decoder(AnswerBody)
_parts: Final = msgspec.json.Decoder(list[Part])
_usages: Final = msgspec.json.Decoder(UsageBody | None)
_errors: Final = msgspec.json.Decoder(ErrorBody | None)
_strings: Final = msgspec.json.Decoder(str | None)
_details: Final = msgspec.json.Decoder(IncompleteDetails | None)

_Value = TypeVar("_Value")


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
        and not isinstance(_judge(response.body), LineError)
    )
    return OutputLine(read.custom_id, ok, raw)


def read_line(raw: bytes) -> Answer | LineError:
    """What the line says. The endpoint need not be known: each has a field of its own for what it answers.

    `text`: of a response, all its `output_text` joined; of a (chat) completion, its first choice; where the model
    refused instead, the refusal; else "". `finish_reason`: `refusal` for a refusal; else the provider's word, which is
    a choice's own, and of a response the reason why it is incomplete or its status.
    """
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, _shown(f"the line cannot be read: {error}"))
    response = line.response
    if response is None:
        return _not_run(line.error)
    return read_body(bytes(response.body)) if response.status_code == 200 else _refused(response)


def read_body(raw: bytes) -> Answer | LineError:
    """What the body of an endpoint's answer with the status 200 says, of a line or of a live request."""
    try:
        body = _bodies.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, _shown(f"the answer cannot be read: {error}"), 200)
    judged = _judge(body)
    if isinstance(judged, LineError):
        return judged
    usage, model = _optional(_usages, body.usage), _optional(_strings, body.model)
    return Answer(judged.text, _usage(usage), judged.finish_reason, model, raw)


def _parse_slowly(raw: bytes) -> OutputLine | None:
    """For lines whose body is not an answer's, such as a text or a list, and for lines that cannot be read."""
    try:
        line = _result_lines.decode(raw)
    except DECODE_ERRORS:
        return None
    return OutputLine(line.custom_id, isinstance(read_line(raw), Answer), raw)


# ---------------------------------------------------------------- answers


class _Said(Struct, frozen=True, gc=False):
    text: str
    finish_reason: str | None


def _judge(body: AnswerBody) -> _Said | LineError:
    """What an answer's body says, or why there is no answer in it."""
    if body.status == "failed":
        return _provider_error(_optional(_errors, body.error), "failed", "the response failed", 200)
    if body.output is not None:
        return _judge_output(body.output, body)
    if body.choices:
        return _judge_choice(body.choices[0])
    if _is_list(body.data) or _is_list(body.results):
        return _Said("", None)
    return LineError(UNREADABLE, "the body has nothing in it that an answer has", 200)


def _judge_output(items: Sequence[OutputItem], body: AnswerBody) -> _Said | LineError:
    parts: list[Part] = []
    for item in items:
        if item.type == "message":
            try:
                parts.extend(_parts.decode(item.content))
            except DECODE_ERRORS as error:
                return LineError(UNREADABLE, _shown(f"a message of the response cannot be read: {error}"), 200)
    details = _optional(_details, body.incomplete_details)
    return _say(parts, (details.reason if details is not None else None) or body.status)


def _judge_choice(choice: Choice) -> _Said | LineError:
    message = choice.message
    if message is None:
        if choice.text is None:
            return LineError(UNREADABLE, "the first choice has neither a message nor a text", 200)
        return _Said(choice.text, choice.finish_reason)
    content = message.content
    parts = [Part("text", content)] if isinstance(content, str) else list(content or ())
    if message.refusal:
        parts.append(Part("refusal", refusal=message.refusal))
    return _say(parts, choice.finish_reason)


def _say(parts: Sequence[Part], finish_reason: str | None) -> _Said:
    text = "".join(part.text for part in parts if part.type in ("output_text", "text") and part.text)
    refusal = "".join(part.refusal for part in parts if part.type == "refusal" and part.refusal)
    return _Said(refusal, "refusal") if refusal and not text else _Said(text, finish_reason)


def _usage(said: UsageBody | None) -> Usage | None:
    if said is None:
        return None
    read, written = said.input_tokens_details, said.output_tokens_details
    read, written = read or said.prompt_tokens_details, written or said.completion_tokens_details
    return Usage(
        input_tokens=said.prompt_tokens if said.input_tokens is None else said.input_tokens,
        output_tokens=said.completion_tokens if said.output_tokens is None else said.output_tokens,
        total_tokens=said.total_tokens,
        cached_tokens=None if read is None else read.cached_tokens,
        reasoning_tokens=None if written is None else written.reasoning_tokens,
    )


# ---------------------------------------------------------------- errors


def _refused(response: LineResponse) -> LineError:
    """The error of a line whose endpoint answered something else than 200."""
    status = response.status_code
    otherwise = "no_status" if status is None else f"http_{status}"
    return _provider_error(error_of(bytes(response.body)), otherwise, "the provider gave no reason", status)


def _not_run(error: Raw) -> LineError:
    """The error of a line without a response: it was never run, or nobody says what became of it."""
    said = _optional(_errors, error)
    if said is None:
        return LineError(UNREADABLE, "the line has neither a response nor an error")
    return _provider_error(said, UNREADABLE, "the provider gave no reason", None)


def _provider_error(said: ErrorBody | None, otherwise: str, why: str, status: int | None) -> LineError:
    """The provider's code, which may be a number or missing, then its type; `otherwise` where there is neither."""
    said = said or ErrorBody()
    code = said.code if said.code not in (None, "") else said.type
    return LineError(str(code or otherwise), _shown(said.message or why), status)


# ---------------------------------------------------------------- helpers


def _optional(decoder: msgspec.json.Decoder[_Value], raw: Raw) -> _Value | None:
    """What an optional part says, None where it is absent or not what was expected: no answer fails for it."""
    if not len(raw):
        return None
    try:
        return decoder.decode(raw)
    except DECODE_ERRORS:
        return None


def _is_list(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["


def _shown(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARACTERS else message[: _MESSAGE_CHARACTERS - 1] + "…"
