"""OpenAI's endpoints that answer at once: the `LiveProvider` of responses, chat completions and embeddings.

Sources: `contracts/providers.md` section 1 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters.openai import lines, requests
from perdure.adapters.openai.account import NAME
from perdure.adapters.openai.answers import created_answer
from perdure.adapters.openai.content import CHAT, RESPONSES
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ENDPOINTS: Final[Sequence[str]] = (RESPONSES, CHAT, requests.EMBEDDINGS)

ANSWER_S: Final = 600.0
"""How long an answer may take, in seconds: what the SDK waits (section 1), enough for long reasoning."""

_BYTES_A_TOKEN: Final = 4
"""What a token is taken for before the provider has counted: OpenAI's rule of thumb for English."""


class _AnyObject(Struct, frozen=True):
    """A JSON object, whatever is in it."""


_OBJECT: Final = msgspec.json.Decoder(_AnyObject)


class OpenAILive:
    """Implements `perdure.actors.live.LiveProvider`; holds no state."""

    def __init__(self) -> None:
        self.name: str = NAME
        self.live_endpoints: Sequence[str] = ENDPOINTS

    def render(self, prompt: Prompt, endpoint: str) -> RawRequest:
        """See `requests.render`. Raises `Unsupported`."""
        return requests.render(prompt, endpoint)

    def model_of(self, endpoint: str, body: Mapping[str, object]) -> str:
        """The model that a body asks for, "" when it names none."""
        return requests.model_of(body)

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """Buys. A 2xx answer that is no JSON object is `Unknown`: OpenAI may have answered all the same."""
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
        """See `lines.read_body`."""
        return lines.read_body(body)
