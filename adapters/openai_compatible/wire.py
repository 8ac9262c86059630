"""Objects that OpenAI and those who speak its wire have in common, as they come: only what is used, and lenient.

Unknown fields and words are let pass and missing ones have defaults, for the provider is the author. Times are whole
seconds since 1970. Shapes: `contracts/providers.md` sections 1 and 4, read in OpenAI's Python SDK 3.52 (20 November
2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Protocol, TypeVar

from msgspec import Meta, Raw, Struct

Id = Annotated[str, Meta(min_length=1)]


class FileObject(Struct, frozen=True, kw_only=True):
    """A file. `bytes` is its size."""

    id: Id
    filename: str | None = None
    bytes: int | None = None
    created_at: int | float | None = None
    expires_at: int | float | None = None
    status: str | None = None
    status_details: str | None = None
    mime_type: str | None = None


class Listed(Protocol):
    """What paging needs of an object in a list."""

    @property
    def id(self) -> str:
        """The cursor that goes on behind it."""
        ...

    @property
    def created_at(self) -> int | float | None:
        """Seconds since 1970."""
        ...


Item = TypeVar("Item", bound=Listed)


class Page(Struct, Generic[Item], frozen=True):
    """One page of a list. `pagination_token` is xAI's way to say that there is another page, and which."""

    data: Sequence[Item]
    has_more: bool | None = None
    pagination_token: str | None = None


class ErrorBody(Struct, frozen=True):
    """Inside of `{"error": …}`. `code` may be a number or null."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class ErrorAnswer(Struct, frozen=True):
    """The body of a refusal: `{"error": {…}}`, or xAI's other form, `{"code": "…", "error": "text"}`."""

    error: ErrorBody | str | None = None
    code: str | int | None = None


class Part(Struct, frozen=True):
    """A piece of a message: `text` in an `output_text`, `refusal` in a `refusal`."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class OutputItem(Struct, frozen=True):
    """An item of a response. `content` is a list of `Part` where `type` is `message`, something else elsewhere."""

    type: str = ""
    content: Raw = Raw()


class Message(Struct, frozen=True):
    """The message of a choice. `content` is null where the model refused or called a tool."""

    content: str | Sequence[Part] | None = None
    refusal: str | None = None


class Choice(Struct, frozen=True):
    """One of the answers of a chat completion (`message`) or of a completion (`text`)."""

    message: Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class IncompleteDetails(Struct, frozen=True):
    """Why a response ended before it was complete: `max_output_tokens`, `content_filter`."""

    reason: str | None = None


class AnswerBody(Struct, frozen=True, kw_only=True):
    """The body of an endpoint's answer: `output` of responses, `choices` of (chat) completions, `data` of embeddings
    and images, `results` of moderations. What is only passed on stays raw, so that vectors and images are skipped."""

    output: Sequence[OutputItem] | None = None
    choices: Sequence[Choice] | None = None
    data: Raw = Raw()
    results: Raw = Raw()
    status: str | None = None
    error: Raw = Raw()
    incomplete_details: Raw = Raw()
    model: Raw = Raw()
    usage: Raw = Raw()
    service_tier: Raw = Raw()


class TokenDetails(Struct, frozen=True):
    """Which of the tokens came from a cache or went into one, which went into reasoning, and which are no text."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class UsageBody(Struct, frozen=True, kw_only=True):
    """Tokens, in the spelling of responses (`input`, `output`) and in that of chat (`prompt`, `completion`).

    `cost_in_usd_ticks` (1e-10 US dollars) is xAI's own price of the answer, `cost` (US dollars) OpenRouter's.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    cost_in_usd_ticks: Raw = Raw()
    cost: Raw = Raw()


class Deleted(Struct, frozen=True):
    """The answer to a deletion."""

    deleted: bool | None = None
