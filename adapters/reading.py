"""What the readers of all providers' answers share. Pure, and never raises."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from perdure.adapters.answers import DECODE_ERRORS
from perdure.events.cost import TICKS_A_DOLLAR

UNREADABLE: Final = "unreadable_answer"
"""Our code for an answer in which none can be read."""

_MESSAGE_CHARACTERS: Final = 2_000
"""How much of a provider's message is kept; what they write is a sentence or two."""

_MOST_DOLLARS: Final = 900_000_000
"""What 64 bits of ticks hold; a price above that is none."""

_ticks: Final = msgspec.json.Decoder(int | None)
_dollars: Final = msgspec.json.Decoder(float | None)

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


def reported_cost(ticks: Raw, dollars: Raw) -> int | None:
    """What the provider says that its answer cost, in 1e-10 US dollars; None where it says nothing, or no such number.

    `ticks` is a whole number of them, `dollars` a number of US dollars.
    """
    said = optional(_ticks, ticks)
    if said is None and len(dollars):
        amount = optional(_dollars, dollars)
        if amount is not None and 0 <= amount <= _MOST_DOLLARS:
            return round(Decimal(repr(amount)) * TICKS_A_DOLLAR)
    return said if said is not None and 0 <= said <= _MOST_DOLLARS * TICKS_A_DOLLAR else None
