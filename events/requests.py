"""What applications ask for and what they get: requests, answers and lines, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from perdure.events.messages import Message


class _Content(Struct, frozen=True):
    content: str | Sequence[Message]


class Prompt(_Content, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question in neutral words; the provider's adapter turns it into the provider's own body.

    `content`: the words of one user's turn, or the turns of a conversation, oldest first, with files in them.
    `extra` is merged into that body as it is. `custom_id` names the request within a batch, 1 to 256 characters.
    """

    model: str
    custom_id: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    extra: Mapping[str, Any] = {}


class _Wire(Struct, frozen=True):
    url: str
    body: Mapping[str, Any] | msgspec.Raw


class RawRequest(_Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request on the provider's own wire: `url` is the endpoint's path, such as `/v1/responses`."""

    custom_id: str | None = None


class Usage(Struct, frozen=True, omit_defaults=True):
    """What the provider counted, in tokens. None means "not reported", which is not zero.

    What came from a cache or went into one, and what is audio or pictures, is part of the input; reasoning, audio and
    pictures that were made are part of the output. `cache_write_1h_tokens` are those of `cache_write_tokens` that are
    kept for an hour. `service_tier` is the provider's word for how fast it worked, `cost_ticks` what it says that the
    answer cost, in 1e-10 US dollars.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    service_tier: str | None = None
    cost_ticks: int | None = None


class Answer(Struct, frozen=True):
    """A provider's answer. `raw` is the provider's JSON body; `body()` decodes it."""

    text: str
    usage: Usage | None
    finish_reason: str | None
    model: str | None
    raw: bytes

    def body(self) -> Any:
        """The provider's body as plain values."""
        return msgspec.json.decode(self.raw)


class LineError(Struct, frozen=True, omit_defaults=True):
    """Why one line of a batch has no answer. `status` is the provider's HTTP status for it, None when there was none.

    Codes of ours: `batch_item_missing`, `batch_failed`, `batch_expired`, `batch_cancelled`, `batch_uncertain`,
    `unreadable_answer`. All others are the provider's. `usage` is what was counted all the same, where that was told.
    """

    code: str
    message: str
    status: int | None = None
    usage: Usage | None = None


class Line(Struct, frozen=True):
    """One line of a batch: an answer or an error, never an exception. `index` counts from 0 in input order.

    `cursor` resumes `results(after=cursor)` behind this line.
    """

    index: int
    custom_id: str
    ok: bool
    answer: Answer | None
    error: LineError | None
    cursor: int


class BatchSummary(Struct, frozen=True):
    """What a finished batch comes to: how many lines there were, and how many have an answer or an error."""

    id: str
    lines: int
    ok: int
    failed: int
