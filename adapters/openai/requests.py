"""Requests as OpenAI wants them: bodies for neutral prompts, and the lines of a batch's input file. Pure.

Sources: `contracts/providers.md` section 1.2 (20 November 2026) for endpoints, limits and the line's form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from perdure.adapters.openai.account import NAME
from perdure.adapters.openai.content import CHAT, RESPONSES, chat_messages, response_input
from perdure.events.errors import Unsupported
from perdure.events.requests import Prompt, RawRequest

EMBEDDINGS: Final = "/v1/embeddings"

ENDPOINTS: Final[Sequence[str]] = (
    RESPONSES,
    CHAT,
    EMBEDDINGS,
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
)
"""The endpoints whose requests may be batched. `/v1/videos` is left out: its line answers with a job that somebody
would have to follow, which a batch's results do not do."""

MAX_LINES: Final = 50_000
"""The most lines of one batch (section 1.2). Embeddings count inputs, not lines; OpenAI checks that one."""

MAX_INPUT_BYTES: Final = 200_000_000
"""The largest input file of one batch, 200 MB (section 1.2), read as decimal: the smaller of the two readings."""

MAX_LINE_ID: Final = 64
"""The longest line id that is written, in characters. OpenAI states no limit for `custom_id`; ours are
`<operation>-<n>`, and 64 is what the strictest of the other providers takes."""


def render(prompt: Prompt, endpoint: str) -> RawRequest:
    """OpenAI's request for a neutral prompt; `extra` is laid over the body at the end, as it is.

    Responses and chat completions take every field, and the parts of messages that `content` lists. Embeddings take
    text alone. Raises `Unsupported` for another endpoint, for a field or part that an endpoint has no place for, and
    for `stream`: answers are kept whole. Raises `InvalidRequest` for a source that nobody resolved.
    """
    if prompt.extra.get("stream"):
        raise Unsupported("answers are not streamed here: leave out 'stream'", capability="stream")
    match endpoint:
        case "/v1/responses":
            body = _responses_body(prompt)
        case "/v1/chat/completions":
            body = _chat_body(prompt)
        case "/v1/embeddings":
            body = _embeddings_body(prompt)
        case _:
            raise Unsupported(
                f"{NAME} has no place for a prompt in {endpoint!r}: send a raw request, or name one of"
                f" {', '.join((RESPONSES, CHAT, EMBEDDINGS))}",
                capability="prompt",
                parameter="endpoint",
            )
    return RawRequest(url=endpoint, body={**body, **prompt.extra}, custom_id=prompt.custom_id)


def model_of(body: Mapping[str, object]) -> str:
    """The model that a body asks for, "" when it names none."""
    model = body.get("model")
    return model if isinstance(model, str) else ""


def encode_line(line_id: str, url: str, body: bytes) -> bytes:
    """One line of the input file, newline included.

    `body` is put in as it stands, but for the line ends that pretty-printed JSON has between its values: they become
    spaces (inside of strings JSON has none). Raises `ValueError` for a line id that is not 1 to `MAX_LINE_ID` printable
    ASCII characters: ids of lines are ours, so that is a fault of ours.
    """
    if not 1 <= len(line_id) <= MAX_LINE_ID or not line_id.isascii() or not line_id.isprintable():
        raise ValueError(f"a line id must have 1 to {MAX_LINE_ID} printable ASCII characters, not {line_id!r}")
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        msgspec.json.encode(line_id),
        msgspec.json.encode(url),
        body,
    )


class _Line(msgspec.Struct):
    body: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode


def body_of(line: bytes) -> bytes:
    """The body in a line that `encode_line` made."""
    return bytes(_decode_line(line).body)


def _responses_body(prompt: Prompt) -> dict[str, object]:
    body: dict[str, object] = {"model": prompt.model, "input": response_input(prompt.content, NAME)}
    if prompt.instructions is not None:
        body["instructions"] = prompt.instructions
    if prompt.max_output_tokens is not None:
        body["max_output_tokens"] = prompt.max_output_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    return body


def _chat_body(prompt: Prompt) -> dict[str, object]:
    messages = chat_messages(prompt.content, NAME)
    if prompt.instructions is not None:
        messages.insert(0, {"role": "system", "content": prompt.instructions})  # `system` is what every model takes
    body: dict[str, object] = {"model": prompt.model, "messages": messages}
    if prompt.max_output_tokens is not None:
        body["max_completion_tokens"] = prompt.max_output_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    return body


def _embeddings_body(prompt: Prompt) -> dict[str, object]:
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
