"""xAI's endpoints that answer at once: responses and chat completions, as OpenAI has them.

xAI reports what an answer cost, in `usage.cost_in_usd_ticks` (1e-10 USD); it stays in the answer's `raw`.
"""

from __future__ import annotations

from perdure.actors.resolving import ProviderFacts
from perdure.adapters.openai_compatible import showing
from perdure.adapters.openai_compatible.content import CHAT, RESPONSES
from perdure.adapters.openai_compatible.live import CompatibleLive
from perdure.adapters.xai.account import NAME
from perdure.adapters.xai.remote_files import ACCEPTS, MAX_BYTES


def xai_shows(endpoint: str) -> ProviderFacts:
    """How requests can show files: documents that were uploaded, pictures in the request or by their address."""
    return showing.shows(endpoint, provider=NAME, documents=ACCEPTS, named_images=(), max_bytes=MAX_BYTES)


class XaiLive(CompatibleLive):
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        super().__init__(NAME, (RESPONSES, CHAT))

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `xai_shows`."""
        return xai_shows(endpoint)
