"""What an answer cost: xAI says so itself, in the answer's usage."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from perdure.adapters.simulator.openai.answers import AnswerBody, ChatBody, ResponseBody

TICKS_A_TOKEN: Final = 20_000
"""What a token costs, in ticks of 1e-10 USD (xAI's unit): 2 USD for a million. Ours."""

BATCH_TICKS_A_TOKEN: Final = TICKS_A_TOKEN // 2
"""The same in a batch. xAI asks less there (`contracts/providers.md` section 5); half is ours."""


def priced(body: AnswerBody) -> AnswerBody:
    """The answer with `usage.cost_in_usd_ticks`."""
    if isinstance(body, ResponseBody):
        usage = body.usage
        return replace(body, usage=replace(usage, cost_in_usd_ticks=usage.total_tokens * TICKS_A_TOKEN))
    if isinstance(body, ChatBody):
        spent = body.usage
        return replace(body, usage=replace(spent, cost_in_usd_ticks=spent.total_tokens * TICKS_A_TOKEN))
    return body
