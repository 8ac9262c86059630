"""What a command knows of the terminal it runs on: colour, silence, and who reads its results.

Decided once, here, for everything that is written: results go to standard output, all else to standard error.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

import click

Color = Literal["auto", "always", "never"]
Format = Literal["table", "json", "jsonl", "csv", "none"]
TimeStyle = Literal["relative", "iso"]

COLORS = ("auto", "always", "never")
FORMATS = ("table", "json", "jsonl", "csv", "none")
TIME_STYLES = ("relative", "iso")

PIPE_COLUMNS = 10_000
"""The width of what is not a terminal: nothing in a pipe is ever cut or wrapped."""


class Terminal:
    """The two streams and what was asked about them. Options set the attributes before the command runs."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        self.color: Color = "auto"
        self.quiet = False
        self.verbose = False
        self.format: Format | None = None
        self.time: TimeStyle | None = None

    def colored(self, stream: TextIO) -> bool:
        """Whether `stream` gets colour: `--color`, then FORCE_COLOR, then NO_COLOR and TERM=dumb, then a terminal."""
        if self.color != "auto":
            return self.color == "always"
        if self.environ.get("FORCE_COLOR"):
            return True
        if self.environ.get("NO_COLOR") or self.environ.get("TERM") == "dumb":
            return False
        return is_terminal(stream)

    @property
    def live(self) -> bool:
        """Whether standard error is a terminal whose lines may be drawn over."""
        return is_terminal(sys.stderr) and self.environ.get("TERM") != "dumb"

    @property
    def result_format(self) -> Format:
        """How results are written: as asked, else a table for people and JSON Lines for programs."""
        return self.format or ("table" if is_terminal(sys.stdout) else "jsonl")

    @property
    def time_style(self) -> TimeStyle:
        """How tables show times: as asked, else relative on a terminal."""
        return self.time or ("relative" if is_terminal(sys.stdout) else "iso")

    def columns(self, stream: TextIO) -> int:
        """How many characters a line of `stream` may have."""
        return shutil.get_terminal_size().columns if is_terminal(stream) else PIPE_COLUMNS

    def say(self, text: str) -> None:
        """Tells a person something, on standard error; silenced by `--quiet`."""
        if not self.quiet:
            click.echo(text, err=True, color=self.colored(sys.stderr))

    def complain(self, text: str) -> None:
        """Tells a person what went wrong, on standard error, always."""
        click.echo(click.style("Error: ", fg="red", bold=True) + text, err=True, color=self.colored(sys.stderr))

    def ask(self, question: str) -> None:
        """Returns when a person says yes. Raises `Abort` for no, `UsageError` where nobody can be asked."""
        if not is_terminal(sys.stdin):
            raise click.UsageError(f"{question} There is nobody to ask here: say --yes")
        click.confirm(question, abort=True, err=True)

    def print(self, text: str = "", *, newline: bool = True) -> None:
        """Writes a result to standard output."""
        click.echo(text, nl=newline, color=self.colored(sys.stdout))

    def start_logging(self) -> None:
        """Shows the `perdure` logger on standard error: all of it with `--verbose`, else nothing but alarms."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("perdure")
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if self.verbose else logging.CRITICAL)
        logger.propagate = False


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads `stream`."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False
