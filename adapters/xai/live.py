"""xAI's endpoints that answer at once: responses and chat completions, as OpenAI has them.

xAI reports what an answer cost, in `usage.cost_in_usd_ticks` (1e-10 USD); it stays in the answer's `raw`.
"""

from __future__ import annotations

from perdure.adapters.openai_compatible.content import CHAT, RESPONSES
from perdure.adapters.openai_compatible.live import CompatibleLive
from perdure.adapters.xai.account import NAME


class XaiLive(CompatibleLive):
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        super().__init__(NAME, (RESPONSES, CHAT))
