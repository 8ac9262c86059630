"""Google's models that answer at once: the `LiveProvider` of `:generateContent`.

Sources: `contracts/providers.md` section 3 (20 November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters.answers import created_answer
from perdure.adapters.google import reading, requests
from perdure.adapters.google.account import NAME
from perdure.events.requests import Answer, LineError, Prompt, RawRequest

ANSWER_S: Final = 600.0
"""How long an answer may take, in seconds: enough for long thinking. Ours; Google's client waits without a limit."""

_BYTES_A_TOKEN: Final = 4
"""What a token is taken for before Google has counted: its rule of thumb for English."""


class _AnyObject(Struct, frozen=True):
    """A JSON object, whatever is in it."""


_OBJECT: Final = msgspec.json.Decoder(_AnyObject)


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

    async def ask(self, fetch: Fetch, *, endpoint: str, model: str, body: bytes) -> bytes:
        """Buys. A 2xx answer that is no JSON object is `Unknown`: Google may have answered all the same."""
        request = HttpRequest(
            method="POST",
            path=endpoint,
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
