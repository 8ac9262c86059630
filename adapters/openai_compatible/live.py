"""Endpoints that answer at once: the `LiveProvider` of whoever speaks OpenAI's responses and chat completions.

Sources: `contracts/providers.md` sections 1 and 4 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.actors.fetch import Fetch
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.asking import ask_json
from perdure.adapters.openai_compatible import bodies, reading, showing
from perdure.events.requests import Answer, LineError, Prompt, RawRequest


class CompatibleLive:
    """Implements `perdure.actors.live.LiveProvider`; holds no state.

    `name`: the provider's. `endpoints`: which of `bodies.ENDPOINTS` it has; the first is where prompts go.
    """

    def __init__(self, name: str, endpoints: Sequence[str] = bodies.ENDPOINTS) -> None:
        self.name: str = name
        self.live_endpoints: Sequence[str] = endpoints

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `bodies.render`. Raises `Unsupported`, `InvalidRequest`."""
        return bodies.render(prompt, endpoint, provider=self.name, endpoints=self.live_endpoints)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return bodies.model_of(body)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing.shows`."""
        return showing.shows(endpoint, provider=self.name)

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """See `asking.ask_json`."""
        return await ask_json(fetch, path=endpoint.removeprefix("/v1"), model=model, body=body)

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `reading.read_body`."""
        return reading.read_body(body)
