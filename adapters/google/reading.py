"""What the body of an answer of `:generateContent` says. Pure, and never raises.

Sources: `contracts/providers.md` section 3 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from perdure.adapters.answers import DECODE_ERRORS
from perdure.adapters.google.wire import Candidate, GenerateAnswer, ModalityCount, PromptFeedback, UsageMetadata
from perdure.adapters.reading import UNREADABLE, optional, shortened
from perdure.events.requests import Answer, LineError, Usage

_answers: Final = msgspec.json.Decoder(GenerateAnswer)
_usages: Final = msgspec.json.Decoder(UsageMetadata | None)
_strings: Final = msgspec.json.Decoder(str | None)


def read_body(raw: bytes) -> Answer | LineError:
    """What a body with the status 200 says.

    `text`: of the first candidate, all its parts joined but for its thoughts; "" where the candidate was stopped before
    it said anything, which `finish_reason` (Google's word, such as `STOP` or `SAFETY`) then tells. A prompt that was
    blocked has no candidate: it is an error with the reason as its code (`SAFETY`, `PROHIBITED_CONTENT`, …).
    """
    try:
        body = _answers.decode(raw)
    except DECODE_ERRORS as error:
        return LineError(UNREADABLE, shortened(f"the answer cannot be read: {error}"), 200)
    usage = _usage(optional(_usages, body.usage_metadata))
    if not body.candidates:
        return _without_candidates(body.prompt_feedback, usage)
    candidate = body.candidates[0]
    return Answer(_text(candidate), usage, candidate.finish_reason, optional(_strings, body.model_version), raw)


def _without_candidates(feedback: PromptFeedback | None, usage: Usage | None) -> LineError:
    if feedback is None or not feedback.block_reason:
        return LineError(UNREADABLE, "the answer has no candidates", 200, usage)
    why = feedback.block_reason_message or f"the prompt was blocked: {feedback.block_reason}"
    return LineError(feedback.block_reason, shortened(why), 200, usage)


def _text(candidate: Candidate) -> str:
    parts = (candidate.content.parts if candidate.content is not None else None) or ()
    return "".join(part.text for part in parts if part.text and not part.thought)


def _usage(said: UsageMetadata | None) -> Usage | None:
    """Tokens in our words, in which thoughts are part of the output and a tool's results part of the input."""
    if said is None:
        return None
    return Usage(
        input_tokens=_sum(said.prompt_token_count, said.tool_use_prompt_token_count),
        output_tokens=_sum(said.candidates_token_count, said.thoughts_token_count),
        total_tokens=said.total_token_count,
        cached_tokens=said.cached_content_token_count,
        reasoning_tokens=said.thoughts_token_count,
        audio_input_tokens=_of("AUDIO", said.prompt_tokens_details),
        audio_output_tokens=_of("AUDIO", said.candidates_tokens_details),
        image_input_tokens=_of("IMAGE", said.prompt_tokens_details),
        image_output_tokens=_of("IMAGE", said.candidates_tokens_details),
        service_tier=said.service_tier,
    )


def _of(modality: str, counts: Sequence[ModalityCount] | None) -> int | None:
    """How many tokens are of one modality, None where that was not told."""
    return None if counts is None else _sum(*(said.token_count for said in counts if said.modality == modality)) or 0


def _sum(*counts: int | None) -> int | None:
    """The sum of what was reported, None where nothing was."""
    reported = [count for count in counts if count is not None]
    return sum(reported) if reported else None
