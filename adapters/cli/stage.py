"""How the demonstration is shown: chapters, claims that were checked, small tables. In a pipe it is plain text."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from perdure.adapters.cli.terminal import Terminal, is_terminal

PIPE_WIDTH: Final = 240
INDENT: Final = 3


class Broken(Exception):
    """A claim did not hold: `claim`, and what was found instead."""

    def __init__(self, claim: str, found: str) -> None:
        super().__init__(f"{claim}: {found}")
        self.claim = claim
        self.found = found


class Stage:
    """Where the demonstration is shown: standard output."""

    def __init__(self, terminal: Terminal) -> None:
        colored = terminal.colored(sys.stdout)
        self._live = is_terminal(sys.stdout) and terminal.live
        self._console = Console(
            file=sys.stdout,
            force_terminal=colored,
            no_color=not colored,
            width=None if is_terminal(sys.stdout) else PIPE_WIDTH,
            highlight=False,
            emoji=False,
            markup=False,
        )
        plain = "utf" not in (sys.stdout.encoding or "").lower()
        self._yes, self._no, self._point = ("ok", "FAILED", "-") if plain else ("✓", "✗", "·")
        self._chapters = 0
        self.claims = 0

    def title(self, text: str, facts: Sequence[tuple[str, str]]) -> None:
        """The first lines."""
        self._console.print(Text(text, style="bold"))
        self.facts(facts)

    def chapter(self, text: str) -> None:
        """A new part of the story."""
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters}  {text}", style="bold cyan"))

    def say(self, text: str) -> None:
        """What happens now."""
        self._indented(Text(text))

    def alarm(self, text: str) -> None:
        """Something is killed."""
        self._indented(Text(text, style="bold red"))

    def claim(self, text: str, held: bool, found: object = "it is not so") -> None:
        """Something that must be so. Raises `Broken` when it is not."""
        if not held:
            self._indented(Text(f"{self._no} {text}", style="bold red"))
            raise Broken(text, str(found))
        self.claims += 1
        self._indented(Text.assemble((f"{self._yes} ", "bold green"), text))

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and values under each other."""
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            self._indented(Text.assemble((f"{name:<{width}}  ", "dim"), value))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, marked: Sequence[int] = ()) -> None:
        """A small table; `marked` rows stand out."""
        table = Table(box=SIMPLE, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for number, row in enumerate(rows):
            style = "bold red" if number in marked else ""
            table.add_row(*(Text(cell, style=style) for cell in row))
        self._indented(table)

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """Shows that something takes its time."""
        if self._live:
            with self._console.status(Text(text)):
                yield
        else:
            self._indented(Text(f"{self._point} {text}", style="dim"))
            yield

    def last_word(self, text: str, *, good: bool) -> None:
        """The last line."""
        self._console.print()
        self._console.print(Text(text, style="bold green" if good else "bold red"))

    def _indented(self, what: RenderableType) -> None:
        self._console.print(Padding(what, (0, 0, 0, INDENT), expand=False))
