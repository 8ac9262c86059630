"""The lines of output: seven fields, always all of them, null where there is nothing to say."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from perdure.events.requests import Line, LineError, Usage


class ResultLine(Struct, frozen=True, gc=False):
    """One line of output. `index` counts from 0 in the order of the input; `response` is the provider's own body."""

    custom_id: str
    index: int
    status: Literal["ok", "error"]
    text: str | None
    usage: Usage | None
    response: Raw | None
    error: LineError | None


_encode = msgspec.json.Encoder().encode


def encode_line(line: Line) -> bytes:
    """A line as JSON, newline included."""
    answer = line.answer
    if answer is None:
        result = ResultLine(line.custom_id, line.index, "error", None, None, None, line.error)
    else:
        result = ResultLine(line.custom_id, line.index, "ok", answer.text, answer.usage, Raw(answer.raw), None)
    return _encode(result) + b"\n"
