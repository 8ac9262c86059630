"""Google's models that answer at once: the `LiveProvider` of `:generateContent`.

Sources: `contracts/providers.md` section 3 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.actors.fetch import Fetch
from perdure.actors.resolving import ProviderFacts
from perdure.adapters.asking import ask_json
from perdure.adapters.google import reading, requests
from perdure.adapters.google.account import NAME
from perdure.adapters.google.showing import SHOWS
from perdure.events.requests import Answer, LineError, Prompt, RawRequest


class GoogleLive:
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.live_endpoints: Sequence[str] = requests.ENDPOINTS

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `requests.render`. Raises `Unsupported`, `InvalidRequest`."""
        return requests.render(prompt, endpoint)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a request's URL names, "" when it names none."""
        return requests.model_of(endpoint)

    def shows(self, endpoint: str) -> ProviderFacts:
        """See `showing`."""
        return SHOWS

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """See `asking.ask_json`."""
        return await ask_json(fetch, path=endpoint, model=model, body=body)

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `reading.read_body`."""
        return reading.read_body(body)
