"""`perdure doctor`: is this machine, this log and this environment fit for work, and what to do where it is not."""

from __future__ import annotations

from functools import partial

import click
import msgspec

from perdure.adapters.cli.command import command
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import db_option, lock_option
from perdure.adapters.cli.output import Column, show
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal


@command("doctor", results=True)
@db_option
@click.option("--repair", is_flag=True, help="Write the rows that lists and restarts read anew, from the events.")
@click.option("--adopt", is_flag=True, help="Give a copied log an id of its own, and repair it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what --repair or --adopt would do, and change nothing.")
@lock_option
def doctor(
    terminal: Terminal, db: str, repair: bool, adopt: bool, yes: bool, dry_run: bool, wait_for_lock_s: float
) -> int:
    """Check this machine, the log and the credentials.

    Looks at the configuration, the log and who writes it, the disk and how long a sync takes, the clock, and whether
    each provider's key is here (its name only, never its value). Ends with 1 if something must be put right.

    A log that was copied to be used beside its original needs --adopt: with the same id both would take each other's
    purchases for their own. Do not use it on a log that was moved or restored.

    \b
    Example:
      perdure doctor --db ./perdure.db
    """
    if repair or adopt:
        if not (yes or dry_run):
            terminal.ask("Give this log a new id?" if adopt else "Write the rows of this log anew?")
        return run(terminal, partial(_mend, terminal, db, adopt, dry_run, wait_for_lock_s))
    return run(terminal, partial(_examine, terminal, db))


async def _examine(terminal: Terminal, db: str) -> int:
    from perdure.adapters.cli.examination import examine

    checks = [check async for check in examine(db)]
    columns = [Column("check"), Column("status"), Column("found"), Column("advice")]
    show(terminal, [msgspec.to_builtins(check) for check in checks], columns)
    bad = [check.check for check in checks if check.status == "fail"]
    if bad:
        terminal.complain(f"put this right: {', '.join(bad)}")
        return ExitCode.FAILED
    return ExitCode.DONE


async def _mend(terminal: Terminal, db: str, adopt: bool, dry_run: bool, wait_for_lock_s: float) -> int:
    from perdure.adapters.cli.mending import mend

    mended = await mend(db, adopt=adopt, dry_run=dry_run, wait_for_lock_s=wait_for_lock_s)
    row = msgspec.to_builtins(mended)
    show(terminal, [row], [Column(field) for field in row])
    if dry_run:
        terminal.say("nothing was changed")
    elif adopt and mended.unfinished:
        terminal.say(
            f"{mended.unfinished} operations are not finished: from now on they go on here as well as in the original; "
            "cancel those that should not ('perdure ops cancel ID')"
        )
    return ExitCode.DONE
