"""What the body of an answer of `/v1/messages` says. Pure, and never raises.

Sources: `contracts/providers.md` section 2.3, Anthropic's Python SDK 2.11 (20 November 2026): `types/message.py`,
`types/usage.py`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.anthropic.wire import ErrorBody, MessageBody, UsageBody
from perdure.adapters.reading import UNREADABLE, optional, shortened
from perdure.events.requests import Answer, LineError, Usage

_bodies: Final = msgspec.json.Decoder(MessageBody)
_usages: Final = msgspec.json.Decoder(UsageBody | None)
_strings: Final = msgspec.json.Decoder(str | None)
_errors: Final = msgspec.json.Decoder(ErrorBody | None)


def read_body(raw: bytes) -> Answer | LineError:
    """What a body with the status 200 says.

    `text`: all texts joined; thoughts and calls of tools are none. `finish_reason`: Anthropic's `stop_reason`, which is
    `refusal` for an answer that was stopped by a policy.
    """
    try:
        body = _bodies.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the answer cannot be read: {error}"), 200)
    if body.type == "error":
        return provider_error(optional(_errors, body.error), 200)
    if body.content is None:
        return LineError(UNREADABLE, "the body has nothing in it that an answer has", 200)
    text = "".join(block.text for block in body.content if block.type == "text" and block.text)
    usage, model = optional(_usages, body.usage), optional(_strings, body.model)
    return Answer(text, _usage(usage), body.stop_reason, model, raw)


def provider_error(said: ErrorBody | None, status: int | None) -> LineError:
    """An error body as a line's error: the code that stays the same if there is one, else the type."""
    said = said or ErrorBody()
    code = (said.details.error_code if said.details is not None else None) or said.type or UNREADABLE
    return LineError(code, shortened(said.message or "the provider gave no reason"), status)


def _usage(said: UsageBody | None) -> Usage | None:
    """Tokens in our words: what came from the cache, and what went into it, is part of the input."""
    if said is None:
        return None
    read = (said.input_tokens, said.cache_creation_input_tokens, said.cache_read_input_tokens)
    input_tokens = None if said.input_tokens is None else sum(count or 0 for count in read)
    total = None if input_tokens is None or said.output_tokens is None else input_tokens + said.output_tokens
    return Usage(
        input_tokens=input_tokens,
        output_tokens=said.output_tokens,
        total_tokens=total,
        cached_tokens=said.cache_read_input_tokens,
        reasoning_tokens=None if said.output_tokens_details is None else said.output_tokens_details.thinking_tokens,
        cache_write_tokens=said.cache_creation_input_tokens,
        cache_write_1h_tokens=None if said.cache_creation is None else said.cache_creation.ephemeral_1h_input_tokens,
        service_tier=said.service_tier,
    )
