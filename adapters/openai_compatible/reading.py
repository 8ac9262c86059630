"""What the body of an endpoint's answer says: of responses, chat completions, embeddings and those like them. Pure.

A body in which no answer can be read is an error, with the provider's code or with `unreadable_answer` (W-25). Nothing
here raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.openai_compatible.wire import (
    AnswerBody,
    Choice,
    ErrorBody,
    IncompleteDetails,
    OutputItem,
    Part,
    TokenDetails,
    UsageBody,
)
from perdure.adapters.reading import UNREADABLE, optional, reported_cost, shortened
from perdure.events.requests import Answer, LineError, Usage

_bodies: Final = msgspec.json.Decoder(AnswerBody)
_parts: Final = msgspec.json.Decoder(list[Part])
_usages: Final = msgspec.json.Decoder(UsageBody | None)
_errors: Final = msgspec.json.Decoder(ErrorBody | None)
_strings: Final = msgspec.json.Decoder(str | None)
_details: Final = msgspec.json.Decoder(IncompleteDetails | None)
_NO_DETAILS: Final = TokenDetails()


class Said(Struct, frozen=True, gc=False):
    """The part of an answer that has to be looked for."""

    text: str
    finish_reason: str | None


def read_body(raw: bytes) -> Answer | LineError:
    """What the body of an endpoint's answer with the status 200 says, of a line or of a live request."""
    try:
        body = _bodies.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the answer cannot be read: {error}"), 200)
    judged = judge(body)
    usage = usage_of(optional(_usages, body.usage), optional(_strings, body.service_tier))
    if isinstance(judged, LineError):
        return judged if usage is None else replace(judged, usage=usage)
    return Answer(judged.text, usage, judged.finish_reason, optional(_strings, body.model), raw)


def judge(body: AnswerBody) -> Said | LineError:
    """What an answer's body says, or why there is no answer in it."""
    if body.status == "failed":
        return provider_error(optional(_errors, body.error), "failed", "the response failed", 200)
    if body.output is not None:
        return _judge_output(body.output, body)
    if body.choices:
        return _judge_choice(body.choices[0])
    if _is_list(body.data) or _is_list(body.results):
        return Said("", None)
    return LineError(UNREADABLE, "the body has nothing in it that an answer has", 200)


def provider_error(said: ErrorBody | None, otherwise: str, why: str, status: int | None) -> LineError:
    """The provider's code, which may be a number or missing, then its type; `otherwise` where there is neither."""
    said = said or ErrorBody()
    code = said.code if said.code not in (None, "") else said.type
    return LineError(str(code or otherwise), shortened(said.message or why), status)


def _judge_output(items: Sequence[OutputItem], body: AnswerBody) -> Said | LineError:
    parts: list[Part] = []
    for item in items:
        if item.type == "message":
            try:
                parts.extend(_parts.decode(item.content))
            except DECODE_ERRORS as error:
                return LineError(UNREADABLE, shortened(f"a message of the response cannot be read: {error}"), 200)
    details = optional(_details, body.incomplete_details)
    return _say(parts, (details.reason if details is not None else None) or body.status)


def _judge_choice(choice: Choice) -> Said | LineError:
    message = choice.message
    if message is None:
        if choice.text is None:
            return LineError(UNREADABLE, "the first choice has neither a message nor a text", 200)
        return Said(choice.text, choice.finish_reason)
    content = message.content
    parts = [Part("text", content)] if isinstance(content, str) else list(content or ())
    if message.refusal:
        parts.append(Part("refusal", refusal=message.refusal))
    return _say(parts, choice.finish_reason)


def _say(parts: Sequence[Part], finish_reason: str | None) -> Said:
    text = "".join(part.text for part in parts if part.type in ("output_text", "text") and part.text)
    refusal = "".join(part.refusal for part in parts if part.type == "refusal" and part.refusal)
    return Said(refusal, "refusal") if refusal and not text else Said(text, finish_reason)


def usage_of(said: UsageBody | None, service_tier: str | None = None) -> Usage | None:
    """What the provider counted, None where it reported nothing."""
    if said is None:
        return None
    read = said.input_tokens_details or said.prompt_tokens_details or _NO_DETAILS
    written = said.output_tokens_details or said.completion_tokens_details or _NO_DETAILS
    return Usage(
        input_tokens=said.prompt_tokens if said.input_tokens is None else said.input_tokens,
        output_tokens=said.completion_tokens if said.output_tokens is None else said.output_tokens,
        total_tokens=said.total_tokens,
        cached_tokens=read.cached_tokens,
        reasoning_tokens=written.reasoning_tokens,
        cache_write_tokens=read.cache_write_tokens,
        audio_input_tokens=read.audio_tokens,
        audio_output_tokens=written.audio_tokens,
        image_input_tokens=read.image_tokens,
        image_output_tokens=written.image_tokens,
        service_tier=service_tier,
        cost_ticks=reported_cost(said.cost_in_usd_ticks, said.cost),
    )


def _is_list(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["
