"""Neutral prompts as bodies of responses, chat completions and embeddings. Pure.

Sources: `contracts/providers.md` section 1 (20 November 2026), the types of OpenAI's Python SDK 3.52.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from perdure.adapters.openai_compatible.content import CHAT, RESPONSES, chat_messages, response_input
from perdure.events.errors import Unsupported
from perdure.events.requests import Prompt, RawRequest

EMBEDDINGS: Final = "/v1/embeddings"
ENDPOINTS: Final[Sequence[str]] = (RESPONSES, CHAT, EMBEDDINGS)
"""The endpoints for which a body can be made of a prompt."""


def render(prompt: Prompt, endpoint: str, *, provider: str, endpoints: Sequence[str] = ENDPOINTS) -> RawRequest:
    """The request of `provider` for a neutral prompt; `extra` is laid over the body at the end, as it is.

    `endpoints`: which of `ENDPOINTS` this provider has.

    Responses and chat completions take every field, and the parts of messages that `content` lists. Embeddings take
    text alone. Raises `Unsupported` for another endpoint, for a field or part that an endpoint has no place for, and
    for `stream`: answers are kept whole. Raises `InvalidRequest` for a source that nobody resolved.
    """
    if prompt.extra.get("stream"):
        raise Unsupported("answers are not streamed here: leave out 'stream'", capability="stream")
    if endpoint not in endpoints:
        raise Unsupported(
            f"{provider} has no place for a prompt in {endpoint!r}: send a raw request, or name one of"
            f" {', '.join(endpoints)}",
            capability="prompt",
            parameter="endpoint",
        )
    body = _BODIES[endpoint](prompt, provider)
    return RawRequest(url=endpoint, body={**body, **prompt.extra}, custom_id=prompt.custom_id)


def model_of(body: Mapping[str, object]) -> str:
    """The model that a body asks for, "" when it names none."""
    model = body.get("model")
    return model if isinstance(model, str) else ""


def _responses_body(prompt: Prompt, provider: str) -> dict[str, object]:
    body: dict[str, object] = {"model": prompt.model, "input": response_input(prompt.content, provider)}
    if prompt.instructions is not None:
        body["instructions"] = prompt.instructions
    if prompt.max_output_tokens is not None:
        body["max_output_tokens"] = prompt.max_output_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    return body


def _chat_body(prompt: Prompt, provider: str) -> dict[str, object]:
    messages = chat_messages(prompt.content, provider)
    if prompt.instructions is not None:
        messages.insert(0, {"role": "system", "content": prompt.instructions})  # `system` is what every model takes
    body: dict[str, object] = {"model": prompt.model, "messages": messages}
    if prompt.max_output_tokens is not None:
        body["max_completion_tokens"] = prompt.max_output_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    return body


def _embeddings_body(prompt: Prompt, provider: str) -> dict[str, object]:
    for name, value in (
        ("instructions", prompt.instructions),
        ("max_output_tokens", prompt.max_output_tokens),
        ("temperature", prompt.temperature),
    ):
        if value is not None:
            raise Unsupported(f"{EMBEDDINGS} has no {name!r}: leave it out", capability=name, parameter=name)
    if not isinstance(prompt.content, str):
        raise Unsupported(f"{EMBEDDINGS} takes text alone, no messages", capability="messages", parameter="content")
    return {"model": prompt.model, "input": prompt.content}


_BODIES: Final[Mapping[str, Callable[[Prompt, str], dict[str, object]]]] = {
    RESPONSES: _responses_body,
    CHAT: _chat_body,
    EMBEDDINGS: _embeddings_body,
}
