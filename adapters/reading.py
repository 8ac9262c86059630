"""What the readers of all providers' answers share. Pure, and never raises."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from perdure.adapters.answers import DECODE_ERRORS

UNREADABLE: Final = "unreadable_answer"
"""Our code for an answer in which none can be read."""

_MESSAGE_CHARACTERS: Final = 2_000
"""How much of a provider's message is kept; what they write is a sentence or two."""

_Value = TypeVar("_Value")


def shortened(message: str) -> str:
    """A message of a length that may be kept."""
    return message if len(message) <= _MESSAGE_CHARACTERS else message[: _MESSAGE_CHARACTERS - 1] + "…"


def optional(decoder: msgspec.json.Decoder[_Value], raw: Raw) -> _Value | None:
    """What an optional part says, None where it is absent or not what was expected: no answer fails for it."""
    if not len(raw):
        return None
    try:
        return decoder.decode(raw)
    except DECODE_ERRORS:
        return None
