"""The lines of output: seven fields, always all of them, null where there is nothing to say; and what they come to."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.terminal import Terminal
from perdure.events.requests import Line, LineError, Usage

ALL_ERRORS: Final = -1
"""`--allow-errors` without a number."""


class ResultLine(Struct, frozen=True, gc=False):
    """One line of output. `index` counts from 0 in the order of the input; `response` is the provider's own body."""

    custom_id: str
    index: int
    status: Literal["ok", "error"]
    text: str | None
    usage: Usage | None
    response: Raw | None
    error: LineError | None


class CursorLine(ResultLine, frozen=True, gc=False):
    """A line of output that says how to go on behind it."""

    cursor: int


_encode = msgspec.json.Encoder().encode


def encode_line(line: Line) -> bytes:
    """A line as JSON, newline included."""
    return _encode(ResultLine(*_fields(line))) + b"\n"


def encode_line_with_cursor(line: Line) -> bytes:
    """A line and its cursor as JSON, newline included."""
    return _encode(CursorLine(*_fields(line), line.cursor)) + b"\n"


class Tally:
    """Counts the lines that were given out, and judges them."""

    def __init__(self) -> None:
        self.ok = 0
        self.errors = 0
        self._first_error: Line | None = None

    def add(self, line: Line) -> None:
        """One more line."""
        if line.ok:
            self.ok += 1
            return
        self.errors += 1
        self._first_error = self._first_error or line

    def code(self, terminal: Terminal, allowed: int) -> ExitCode:
        """What the command ends with, when `allowed` lines may have an error, or any (`ALL_ERRORS`); says why."""
        if self._first_error is None or allowed == ALL_ERRORS or self.errors <= allowed:
            return ExitCode.DONE
        error = self._first_error.error or LineError("", "")
        terminal.complain(
            f"{self.errors} of {self.ok + self.errors} lines have an error, first {self._first_error.custom_id!r} "
            f"(line {self._first_error.index + 1}): {error.code}: {error.message.rstrip('.')}; "
            "see the output's lines with an error, or --allow-errors"
        )
        return ExitCode.FAILED


_Fields: TypeAlias = tuple[str, int, Literal["ok", "error"], str | None, Usage | None, Raw | None, LineError | None]


def _fields(line: Line) -> _Fields:
    answer = line.answer
    if answer is None:
        return line.custom_id, line.index, "error", None, None, None, line.error
    return line.custom_id, line.index, "ok", answer.text, answer.usage, Raw(answer.raw), None
