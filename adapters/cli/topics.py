"""`perdure help`: what holds for all commands."""

from __future__ import annotations

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.exit_codes import MEANINGS
from perdure.adapters.cli.output import Column, show
from perdure.adapters.cli.terminal import Terminal


@command("exit-codes", results=True)
def exit_codes(terminal: Terminal) -> int:
    """List what a command can end with.

    Scripts can rely on these numbers: they keep their meaning from release to release.

    \b
    Example:
      perdure help exit-codes --format table
    """
    rows = [{"code": int(code), "name": code.name.lower(), "meaning": text} for code, text in MEANINGS.items()]
    show(terminal, rows, [Column("code"), Column("name"), Column("meaning")])
    return 0


@command("completion")
def completion(terminal: Terminal) -> int:
    """Say how to have commands and options completed by the shell.

    Completion comes for bash, zsh and fish; each takes one line in the shell's own start-up file.

    \b
    Example:
      perdure help completion
    """
    terminal.print('bash, in ~/.bashrc:   eval "$(_PERDURE_COMPLETE=bash_source perdure)"')
    terminal.print('zsh, in ~/.zshrc:     eval "$(_PERDURE_COMPLETE=zsh_source perdure)"')
    terminal.print("fish, in ~/.config/fish/completions/perdure.fish:")
    terminal.print("                      _PERDURE_COMPLETE=fish_source perdure | source")
    return 0


help_ = group(
    "help",
    {"exit-codes": "topics:exit_codes", "completion": "topics:completion"},
    """Read about what holds for all commands.

    Each command explains itself with --help; here is what they have in common.

    \b
    Example:
      perdure help exit-codes
    """,
)
