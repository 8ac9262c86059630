"""Anthropic's models that answer at once: the `LiveProvider` of `/v1/messages`.

Sources: `contracts/providers.md` section 2 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.actors.fetch import Fetch
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.anthropic import reading, requests
from perdure.adapters.anthropic.account import NAME
from perdure.adapters.anthropic.showing import SHOWS
from perdure.adapters.asking import ask_json
from perdure.events.requests import Answer, LineError, Prompt, RawRequest


class AnthropicLive:
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.live_endpoints: Sequence[str] = requests.ENDPOINTS

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `requests.render`. Raises `Unsupported`, `InvalidRequest`."""
        return requests.render(prompt, endpoint)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return requests.model_of(body)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing`."""
        return SHOWS

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """See `asking.ask_json`."""
        return await ask_json(fetch, path=endpoint, model=model, body=body)

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `reading.read_body`."""
        return reading.read_body(body)
