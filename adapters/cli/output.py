"""Results: the same rows as a table, JSON, JSON Lines or CSV.

On a terminal a table fits the window and folds what is too long; in a pipe nothing is ever cut or wrapped. Ids are
never shortened anywhere. Field names are those of the HTTP API.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from perdure.adapters.cli.terminal import Terminal, is_terminal

Row = Mapping[str, Any]

_STYLES = {
    "succeeded": "green",
    "ok": "green",
    "running": "cyan",
    "pending": "cyan",
    "blocked": "yellow",
    "warn": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "fail": "red",
    "expired": "red",
    "uncertain": "red",
    "parked": "red",
}


class Column(Struct, frozen=True):
    """One column of a table: the field it shows, its heading (by default the field), and how a value is written."""

    field: str
    heading: str = ""
    write: Callable[[Any], str] | None = None


def show(terminal: Terminal, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """Writes `rows` to standard output in the terminal's format; a table has `columns`, all else every field."""
    match terminal.result_format:
        case "table":
            _table(terminal, list(rows), columns)
        case "json":
            terminal.print(_pretty(list(rows)))
        case "jsonl":
            for row in rows:
                terminal.print(encode(row))
        case "csv":
            _csv(terminal, list(rows), columns)
        case "none":
            for _ in rows:
                pass


def show_one(terminal: Terminal, row: Row, columns: Sequence[Column]) -> None:
    """Writes one thing: as a table, field by field under each other; else as `show` does, `json` without a list."""
    match terminal.result_format:
        case "table":
            width = max(len(column.heading or column.field) for column in columns)
            for column in columns:
                text = _text(terminal, column, row)
                terminal.print(f"{column.heading or column.field:<{width}}  {text}".rstrip())
        case "json":
            terminal.print(_pretty(row))
        case _:
            show(terminal, [row], columns)


def encode(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()


def _plain(value: Any) -> Any:
    return str(value)


def iso(at: datetime) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def relative(at: datetime, now: datetime | None = None) -> str:
    """How long ago a time was."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    ahead = seconds < 0
    seconds = abs(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            return f"in {int(seconds // size)}{unit}" if ahead else f"{int(seconds // size)}{unit} ago"
    return "now"


def _text(terminal: Terminal, column: Column, row: Row) -> str:
    value = row.get(column.field)
    if value is None:
        return ""
    if column.write is not None:
        return column.write(value)
    if isinstance(value, datetime):
        return relative(value) if terminal.time_style == "relative" else iso(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return encode(value) if isinstance(value, (dict, list, tuple)) else str(value)


def _table(terminal: Terminal, rows: Sequence[Row], columns: Sequence[Column]) -> None:
    headings = [column.heading or column.field for column in columns]
    cells = [[_text(terminal, column, row) for column in columns] for row in rows]
    if not is_terminal(sys.stdout):
        _aligned(terminal, [headings, *cells])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colored = terminal.colored(sys.stdout)
    console = Console(file=sys.stdout, force_terminal=colored, no_color=not colored, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in line))
    console.print(table)


def _aligned(terminal: Terminal, lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        terminal.print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _csv(terminal: Terminal, rows: Sequence[Row], columns: Sequence[Column]) -> None:
    fields = list(rows[0]) if rows else [column.field for column in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        writer.writerow([_cell(row.get(field)) for field in fields])
    terminal.print(text.getvalue(), newline=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    return value if isinstance(value, str) else encode(value)
