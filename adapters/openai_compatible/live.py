"""Endpoints that answer at once: the `LiveProvider` of whoever speaks OpenAI's responses and chat completions.

Sources: `contracts/providers.md` sections 1 and 4 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters.answers import created_answer
from perdure.adapters.openai_compatible import bodies, reading
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ANSWER_S: Final = 600.0
"""How long an answer may take, in seconds: what OpenAI's SDK waits (section 1), enough for long reasoning."""

_BYTES_A_TOKEN: Final = 4
"""What a token is taken for before the provider has counted: OpenAI's rule of thumb for English."""


class _AnyObject(Struct, frozen=True):
    """A JSON object, whatever is in it."""


_OBJECT: Final = msgspec.json.Decoder(_AnyObject)


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

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """Buys. A 2xx answer that is no JSON object is `Unknown`: the provider may have answered all the same."""
        request = HttpRequest(
            method="POST",
            path=endpoint.removeprefix("/v1"),
            safety="create",
            headers={"content-type": "application/json"},
            body=body,
            deadline_s=ANSWER_S,
            idle_s=ANSWER_S,
            model=model,
            estimated_tokens=len(body) // _BYTES_A_TOKEN,
        )
        answer = await fetch(request)
        created_answer(answer, _OBJECT)
        return answer.body

    def read(self, endpoint: str, body: bytes) -> Answer | LineError:
        """See `reading.read_body`."""
        return reading.read_body(body)
