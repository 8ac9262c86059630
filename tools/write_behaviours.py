"""Joins docs/behaviours.d/*.md into docs/behaviours.md, sorted by number.

    python tools/write_behaviours.py            writes the page
    python tools/write_behaviours.py --check    ends with 1 when the page is not what would be written

Each file in docs/behaviours.d/ is one area's table, kept by whoever works on the area: `| N-1 | wording | tests |`,
several tests separated by `<br>`, each as `tests/folder/test_file.py::test_name`. Text around the tables is for the
people who keep them and is not joined. A number may stand in several files; its rows follow one another.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "docs/behaviours.d"
PAGE = ROOT / "docs/behaviours.md"

_OPENING = """\
# Required behaviours

Every behaviour that perdure owes by its number, in perdure's words, with the tests that hold it to them. Written by
`make docs` from the tables in `docs/behaviours.d/`: change those.

| no. | behaviour | tests |
| --- | --- | --- |
"""

_CELL_END = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"([A-Z])-(\d+)")


class Row(NamedTuple):
    """One behaviour. `where` is the file and line it was read from."""

    letter: str
    ordinal: int
    wording: str
    tests: tuple[str, ...]
    where: str

    @property
    def number(self) -> str:
        """As the rows have it: `N-14`."""
        return f"{self.letter}-{self.ordinal}"


def read_rows(text: str, name: str) -> list[Row]:
    """The rows of the tables in `text`, in order. Raises `ValueError` for a numbered row without three cells."""
    rows: list[Row] = []
    for line_number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in _CELL_END.split(line.strip())]
        number = _NUMBER.fullmatch(cells[1].strip("*` ")) if len(cells) > 1 and cells[0] == "" else None
        if number is None:
            continue
        if len(cells) != 5:
            raise ValueError(f"{name}:{line_number}: a row has three cells, this one {len(cells) - 2}")
        tests = tuple(test.strip("` ") for test in re.split(r"<br ?/?>", cells[3]) if test.strip("` "))
        rows.append(Row(number[1], int(number[2]), cells[2], tests, f"{name}:{line_number}"))
    return rows


def all_rows() -> list[Row]:
    """The rows of every file in docs/behaviours.d/, sorted by letter and number."""
    rows = [
        row for path in sorted(SOURCES.glob("*.md")) for row in read_rows(path.read_text(encoding="utf-8"), path.name)
    ]
    return sorted(rows, key=lambda row: (row.letter, row.ordinal))


def page() -> str:
    """The whole of docs/behaviours.md."""
    lines = [
        f"| {row.number} | {row.wording} | {'<br>'.join(f'`{test}`' for test in row.tests)} |\n" for row in all_rows()
    ]
    return _OPENING + "".join(lines)


def main(arguments: list[str]) -> int:
    """Writes or checks the page; the exit code."""
    if arguments == ["--check"]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        if not current:
            sys.stderr.write("docs/behaviours.md is out of date: run `make docs` and commit it\n")
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
