"""Asking an endpoint that answers at once, in the one way that is common to all providers."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from perdure.actors.fetch import Fetch, HttpRequest
from perdure.adapters.answers import created_answer

ANSWER_S: Final = 600.0
"""How long an answer may take, in seconds: what OpenAI's and Anthropic's SDKs wait; Google's waits without a limit."""

_BYTES_A_TOKEN: Final = 4
"""What a token is taken for before the provider has counted: a rule of thumb for English."""


class _AnyObject(Struct, frozen=True):
    """A JSON object, whatever is in it."""


_OBJECT: Final = msgspec.json.Decoder(_AnyObject)


async def ask_json(fetch: Fetch, *, path: str, model: str, body: bytes) -> bytes:
    """Posts a JSON body, a purchase, and gives the whole answer.

    Raises what `fetch` raises; a 2xx answer that is no JSON object is `Unknown`: the provider may have answered all the
    same.
    """
    request = HttpRequest(
        method="POST",
        path=path,
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
