"""OpenAI's endpoints that answer at once: responses, chat completions and embeddings."""

from __future__ import annotations

from perdure.adapters.openai.account import NAME
from perdure.adapters.openai_compatible.live import CompatibleLive


class OpenAILive(CompatibleLive):
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        super().__init__(NAME)
