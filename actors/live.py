"""The port for single requests: what a provider must be able to do to answer one now. Adapters implement it.

Used by the kind of live requests and by batches that are carried out line by line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from perdure.actors.fetch import Fetch
from perdure.actors.resolving.facts import ProviderFacts
from perdure.events.requests import Answer, LineError, Prompt, RawRequest


class LiveProvider(Protocol):
    """A provider's endpoints that answer at once."""

    name: str
    live_endpoints: Sequence[str]
    """The endpoints that may be asked; the first is the default for prompts. `{model}` in one stands for the name of a
    model, where that stands in the path; what is asked and recorded is the path with the name in it."""

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """The provider's request for a neutral prompt. Raises `Unsupported` for what it cannot express."""
        ...

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a request asks for, "" when it names none. `body` has at least the `model` of the body."""
        ...

    def shows(self, endpoint: str) -> ProviderFacts:
        """How requests for `endpoint`, one of `live_endpoints`, can show files."""
        ...

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """Sends one request, a purchase, and returns the provider's whole body, which `read` understands.

        Raises `Refused`, `NotSent`, `Unknown`. A 2xx answer that cannot be read at all (a web page, say) is `Unknown`;
        one that is readable and holds no answer is returned: `read` says what it is.
        """
        ...

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """What a body says. Never raises: what cannot be read is a `LineError`."""
        ...
