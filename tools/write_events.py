"""Writes docs/events.md, the list of events, from the event classes of every kind.

python tools/write_events.py            writes the page
python tools/write_events.py --check    ends with 1 when the page is not what would be written
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from pathlib import Path

from perdure.adapters.composition import folds
from perdure.events.codec import tag_of
from perdure.events.event import Event

PAGE = Path(__file__).resolve().parent.parent / "docs/events.md"

_OPENING = """\
# Events

Every event that is written today, by the kind of actor to which it happens. Each is a class that `perdure` exports:
`perdure.BatchFinished`. Its fields and what they mean are the class's own; [observing.md](observing.md) shows how to
follow them. Events of older releases come as the newest type. Fields are only ever added, and one that was not recorded
is None, zero or empty. Written by `make docs` from the code.
"""


def rows(events: list[type[Event]]) -> str:
    """A table of events: tag, fields, the first sentences of the docstring."""
    lines = ["| event | fields | what happened |", "| --- | --- | --- |"]
    for event_type in events:
        fields = ", ".join(f"`{name}`" for name in event_type.__struct_fields__)
        says = " ".join((inspect.getdoc(event_type) or "").partition("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| `{tag_of(event_type)}` | {fields} | {says} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    kinds = folds()
    uses = Counter(event_type for fold in kinds for event_type in fold.codec.current)
    parts = [_OPENING]
    for fold in kinds:
        own = [event_type for event_type in fold.codec.current if uses[event_type] == 1]
        parts.append(f"## Kind `{fold.name}`\n\n{rows(own)}")
    parts.append(f"## Of several kinds\n\n{rows([event_type for event_type in uses if uses[event_type] > 1])}")
    return "\n".join(parts)


def main() -> None:
    """Writes or checks the page."""
    wanted = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted:
            sys.exit(f"{PAGE.name} is out of date: run `make docs`")
        return
    PAGE.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
