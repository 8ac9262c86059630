"""`perdure`: the tree of commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import click

import perdure
from perdure.adapters.cli.command import Group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.terminal import Terminal
from perdure.events.errors import LogLocked, OutcomeUncertain, PerdureError

root = Group(
    "perdure",
    verbs={
        "batches": "batches:batches",
        "files": "files:files",
        "ops": "ops:ops",
        "events": "events:events",
        "audit": "audit:audit",
        "simulate": "simulate:simulate",
        "demo": "demo:demo",
        "doctor": "doctor:doctor",
        "config": "settings:config",
        "help": "topics:help_",
    },
    help="""Batches, videos and files that outlive your process.

    perdure writes what it is about to do into a log before it does it. Kill it at any moment and type the same
    command again: it goes on where it was, loses no answer and buys nothing twice.

    \b
    Example:
      perdure batches run in.jsonl --output out.jsonl --model gpt-6-astra
    """,
)
click.version_option(perdure.__version__, "-V", "--version", prog_name="perdure")(root)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with one of `ExitCode`."""
    terminal = Terminal()
    try:
        code = root.main(
            None if arguments is None else list(arguments), prog_name="perdure", standalone_mode=False, obj=terminal
        )
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_left()
    except (KeyboardInterrupt, click.Abort):
        terminal.say("interrupted: nothing was changed")
        code = ExitCode.INTERRUPTED
    except Exception as error:
        code = explain(terminal, error)
        if code is None:
            raise
    sys.exit(int(code or 0))


def explain(terminal: Terminal, error: Exception) -> int | None:
    """Tells a person what went wrong; the exit code for it, or None for a fault of ours, which needs its traceback."""
    leaves = list(_leaves(error))
    expected = [leaf for leaf in leaves if isinstance(leaf, (PerdureError, click.ClickException))]
    known = next(iter([*expected, *leaves]), error)
    match known:
        case click.exceptions.NoArgsIsHelpError():
            known.show()
            return int(ExitCode.USAGE)
        case click.UsageError():
            place = known.ctx.command_path if known.ctx else "perdure"
            terminal.complain(f"{known.format_message()}\nTry '{place} --help'.")
            return int(ExitCode.USAGE)
        case click.ClickException():
            terminal.complain(known.format_message())
            return known.exit_code
        case LogLocked():
            terminal.complain(str(known).replace("wait_for_lock_s", "--wait-for-lock SECONDS"))
            return known.exit_code
        case OutcomeUncertain():
            words = str(known).replace(
                "resubmit() or cancel()", f"perdure ops resubmit {known.id}, or perdure ops cancel"
            )
            terminal.complain(words)
            return known.exit_code
        case PerdureError():
            terminal.complain(str(known))
            return known.exit_code
        case BrokenPipeError():
            return _reader_left()
        case OSError():
            name = f"{known.filename}: " if known.filename else ""
            terminal.complain(f"{name}{known.strerror or known}; nothing recorded is lost, the same command goes on")
            return int(ExitCode.FAILED)
        case _:
            return None


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for part in cast("ExceptionGroup[Exception]", error).exceptions:
            yield from _leaves(part)
    else:
        yield error


def _reader_left() -> int:
    """Whoever read our output is gone, as `head` goes: no message, and nothing more to be flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.FAILED)
