"""`perdure demo`: a real batch whose worker is killed twice, and every answer all the same, bought once.

Nothing in here is staged: the worker is the ordinary `perdure batches run`, SIGKILL is SIGKILL, and the moment between
the provider's acceptance and our log is found by having the simulator keep its answer back. Each claim is checked in
code when it is shown; the first that does not hold ends the demonstration with 1.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdure.adapters.cli.command import command
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@command("demo")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep log, answers and what the processes said in this new directory.",
)
def demo(terminal: Terminal, keep: Path | None) -> int:
    """Watch a batch being killed twice and losing nothing.

    Starts a simulated provider, runs a batch of 300 requests, kills its own worker with SIGKILL at the two worst
    moments, starts it again, and checks what came out: every answer once, one purchase, and a log that explains it.
    No key and no network; it takes about 20 seconds. Ends with 0 only if everything held.

    \b
    Example:
      perdure demo --keep ./perdure-demo
    """
    from perdure.adapters.cli.story import tell

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty: name a new directory for --keep")
    place: AbstractContextManager[str]
    if keep is None:
        place = tempfile.TemporaryDirectory(prefix="perdure-demo-")
    else:
        keep.mkdir(parents=True, exist_ok=True)
        place = nullcontext(str(keep.absolute()))
    with place as folder:
        return run(
            terminal,
            partial(tell, terminal, Path(folder), kept=keep is not None),
            come_back=lambda: "the demonstration was left; nothing of it goes on",
        )
