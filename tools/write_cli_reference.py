"""Writes docs/cli.md, the reference of the command line, from the help of each command.

python tools/write_cli_reference.py            writes the page
python tools/write_cli_reference.py --check    ends with 1 when the page is not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from perdure.adapters.cli.entry import root
from perdure.adapters.cli.exit_codes import MEANINGS

PAGE = Path(__file__).resolve().parent.parent / "docs/cli.md"

_OPENING = """\
# The command line

`perdure NOUN VERB`. Results go to standard output, as a table on a terminal and as JSON Lines in a pipe; all else goes
to standard error. `-h` after any command shows what stands here. Written by `make docs` from the help of each command.

| code | meaning |
| --- | --- |
"""


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """`(path, command)` of a command and of all below it, in the order of their help."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def help_of(command: click.Command, path: str) -> str:
    """The help as a terminal of 80 columns shows it."""
    with click.Context(command, info_name=path, terminal_width=80, max_content_width=80) as context:
        return command.get_help(context)


def page() -> str:
    """The whole page."""
    codes = "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in MEANINGS.items())
    parts = [f"## `{path}`\n\n```text\n{help_of(command, path)}\n```\n" for path, command in commands(root, "perdure")]
    return f"{_OPENING}{codes}\n" + "\n".join(parts)


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
