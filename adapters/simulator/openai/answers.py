"""What OpenAI's simulated models answer: bodies that the seed and the request decide, live and in a batch alike."""

from __future__ import annotations

import hashlib
from array import array
from base64 import b64encode
from math import sqrt
from typing import Final, Literal, TypeAlias

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, json

from perdure.adapters.simulator.ids import digest
from perdure.adapters.simulator.openai.errors import ApiError, ErrorAnswer, invalid, missing, model_not_found
from perdure.adapters.simulator.openai.parts import HasFile, Part, read_part
from perdure.adapters.simulator.openai.wire import Usage
from perdure.adapters.simulator.speech import NO_MODEL, count_tokens, speak

MAX_DIMENSIONS: Final = 3072
"""The most dimensions of an embedding (OpenAI's largest embedding model)."""


class _Item(Struct, frozen=True):
    content: str | list[Part] | None = None


class _Asked(Struct, frozen=True):
    """What of a request decides its answer. All else in it is let pass."""

    model: str | None = None
    input: str | list[str | int | list[int] | _Item] | None = None
    messages: list[_Item] | None = None
    metadata: dict[str, str] | None = None
    n: int | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    stream: bool | None = None


class OutputText(Struct, frozen=True):
    """The text in a message of a response."""

    text: str
    annotations: tuple[()] = ()
    type: Literal["output_text"] = "output_text"


class OutputMessage(Struct, frozen=True):
    """A message of a response."""

    id: str
    content: tuple[OutputText, ...]
    role: Literal["assistant"] = "assistant"
    status: Literal["completed"] = "completed"
    type: Literal["message"] = "message"


class ResponseBody(Struct, frozen=True):
    """A response."""

    id: str
    created_at: int
    model: str
    output: tuple[OutputMessage, ...]
    usage: Usage
    metadata: dict[str, str]
    object: Literal["response"] = "response"
    status: Literal["completed"] = "completed"
    error: None = None
    incomplete_details: None = None
    instructions: None = None
    max_output_tokens: None = None
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    temperature: float = 1.0
    tool_choice: str = "auto"
    tools: tuple[()] = ()
    top_p: float = 1.0
    truncation: str = "disabled"


class ChatMessage(Struct, frozen=True):
    """The message of a choice."""

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(Struct, frozen=True):
    """One of the answers."""

    index: int
    message: ChatMessage
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class ChatUsage(Struct, frozen=True):
    """Tokens, as chat completions report them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_in_usd_ticks: int | UnsetType = UNSET


class ChatBody(Struct, frozen=True):
    """A chat completion."""

    id: str
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: ChatUsage
    object: Literal["chat.completion"] = "chat.completion"


class EmbeddingItem(Struct, frozen=True):
    """One vector: floats, or the base64 of little-endian 32-bit floats."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(Struct, frozen=True):
    """Tokens, as embeddings report them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingBody(Struct, frozen=True):
    """A list of vectors."""

    data: tuple[EmbeddingItem, ...]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


AnswerBody: TypeAlias = ResponseBody | ChatBody | EmbeddingBody | ErrorAnswer


class Answer(Struct, frozen=True):
    """What an endpoint answers: the HTTP status, the body, and the tokens in one form for all endpoints."""

    status: int
    body: AnswerBody
    usage: Usage = Usage()
    identity: str = ""


_decoder = json.Decoder(_Asked)


def answer(endpoint: str, body: bytes, *, seed: int, name: str, at: int, has_file: HasFile, salt: str = "") -> Answer:
    """The answer of `endpoint` (one of `wire.PLAYED_ENDPOINTS`) to a request body.

    `name` makes the ids of this answer its own, `at` is when it is made (seconds since 1970), `salt` changes its text.
    `has_file` tells which files messages may name.
    Never raises: what is wrong with the request is an answer too.
    """
    try:
        asked = _decode(body)
        model = _model(asked)
        if endpoint == "/v1/embeddings":
            return _embed(asked, model, seed)
        prompt = _prompt(asked, "input" if endpoint == "/v1/responses" else "messages", has_file)
        text = speak(prompt, seed=seed, endpoint=endpoint, body=body, salt=salt)
        return _say(endpoint, asked, model, prompt, text, digest(seed, "answer", name)[:24], at)
    except ApiError as error:
        return Answer(error.status, error.answer)


def _decode(body: bytes) -> _Asked:
    try:
        return _decoder.decode(body)
    except ValidationError as error:
        raise ApiError(400, f"The body is wrong: {error}.", code="invalid_type") from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"The body is not JSON: {error}.") from error


def _model(asked: _Asked) -> str:
    if not asked.model:
        raise missing("model")
    if asked.model == NO_MODEL:
        raise model_not_found(asked.model)
    if asked.stream:
        raise invalid("This simulator does not stream answers.", "stream", "unsupported_value")
    return asked.model


def _identity(asked: _Asked) -> str:
    return (asked.metadata or {}).get("perdure_identity", "")


def _say(endpoint: str, asked: _Asked, model: str, prompt: str, text: str, name: str, at: int) -> Answer:
    read, said = count_tokens(prompt), count_tokens(text)
    if endpoint == "/v1/responses":
        usage = Usage(read, said, read + said)
        message = OutputMessage(f"msg_{name}", (OutputText(text),))
        return Answer(
            200,
            ResponseBody(f"resp_{name}", at, model, (message,), usage, asked.metadata or {}),
            usage,
            _identity(asked),
        )
    choices = asked.n or 1
    if not 1 <= choices <= 128:
        raise invalid(f"'n' must be between 1 and 128, not {choices}.", "n", "integer_out_of_range")
    texts = [text if n == 0 else f"{text} ({n + 1})" for n in range(choices)]
    said = sum(map(count_tokens, texts))
    body = ChatBody(
        f"chatcmpl-{name}",
        at,
        model,
        tuple(ChatChoice(n, ChatMessage(each)) for n, each in enumerate(texts)),
        ChatUsage(read, said, read + said),
    )
    return Answer(200, body, Usage(read, said, read + said), _identity(asked))


def _prompt(asked: _Asked, field: Literal["input", "messages"], has_file: HasFile) -> str:
    given = asked.input if field == "input" else asked.messages
    if given is None or not given:
        raise missing(field)
    if isinstance(given, str):
        return given
    pieces: list[str] = []
    for n, item in enumerate(given):
        if not isinstance(item, _Item):
            raise invalid(f"'{field}' must be text or a list of messages.", field, "invalid_type")
        if isinstance(item.content, str):
            pieces.append(item.content)
        else:
            pieces += [
                read_part(part, f"{field}[{n}].content[{m}]", chat=field == "messages", has_file=has_file)
                for m, part in enumerate(item.content or ())
            ]
    return "\n".join(pieces)


def _embed(asked: _Asked, model: str, seed: int) -> Answer:
    dimensions = asked.dimensions or (MAX_DIMENSIONS if "large" in model else MAX_DIMENSIONS // 2)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise invalid(f"'dimensions' must be between 1 and {MAX_DIMENSIONS}.", "dimensions", "integer_out_of_range")
    inputs = _embedding_inputs(asked)
    vectors = [_vector(f"{seed}\x1f{model}\x1f{text}", dimensions) for text, _ in inputs]
    if asked.encoding_format == "base64":
        encoded = [b64encode(array("f", vector).tobytes()).decode() for vector in vectors]
        items = tuple(EmbeddingItem(n, text) for n, text in enumerate(encoded))
    else:
        items = tuple(EmbeddingItem(n, vector) for n, vector in enumerate(vectors))
    tokens = sum(count for _, count in inputs)
    return Answer(200, EmbeddingBody(items, model, EmbeddingUsage(tokens, tokens)), Usage(tokens, 0, tokens))


def _embedding_inputs(asked: _Asked) -> list[tuple[str, int]]:
    """Each input as text, and its number of tokens."""
    given = asked.input
    if given is None or not given:
        raise missing("input")
    if isinstance(given, str):
        return [(given, count_tokens(given))]
    if all(isinstance(item, int) for item in given):
        return [(str(given), len(given))]
    inputs: list[tuple[str, int]] = []
    for item in given:
        if isinstance(item, str):
            inputs.append((item, count_tokens(item)))
        elif isinstance(item, list):
            inputs.append((str(item), len(item)))
        else:
            raise invalid("'input' must be text, tokens, or a list of either.", "input", "invalid_type")
    return inputs


def _vector(name: str, dimensions: int) -> list[float]:
    values = array("h", hashlib.shake_256(name.encode()).digest(2 * dimensions))
    length = sqrt(sum(value * value for value in values)) or 1.0
    return [round(value / length, 7) for value in values]
