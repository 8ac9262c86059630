"""`perdure files orphans`: what this log left at a provider and needs no more, listed and swept."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Any

import click

from perdure.adapters.cli.command import command
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import db_option, lock_option
from perdure.adapters.cli.output import Row, show
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal
from perdure.events.errors import OperationFailed


@command("orphans", results=True)
@click.argument("provider")
@click.option("--credential", default="default", metavar="NAME", help="Which credential; a name, never a secret.")
@click.option("--sweep", is_flag=True, help="Delete them there, and say what became of each.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@db_option
@lock_option
def orphans(terminal: Terminal, provider: str, db: str, **given: Any) -> int:
    """List what this log left at a provider and needs no more.

    Copies that were lost or replaced, the input of batches that have ended, copies of files that were over two days
    ago, and what the log does not know although its name says that it comes from here. Nothing else is listed or
    deleted, least of all what other logs and programs put there. With --sweep each is deleted, on record.

    \b
    Example:
      perdure files orphans openai --sweep --yes --db ./perdure.db
    """
    come_back = "what was found is deleted when the log is next opened; the same command finds the rest"
    sweeping = given["sweep"]
    return run(
        terminal, partial(_orphans, terminal, provider, db, **given), come_back=lambda: come_back if sweeping else ""
    )


async def _orphans(
    terminal: Terminal, provider: str, db: str, *, credential: str, sweep: bool, yes: bool, wait_for_lock_s: float
) -> int:
    import perdure
    from perdure.adapters.cli.job import check_credential, check_no_secret
    from perdure.adapters.cli.stored import ORPHAN_COLUMNS, SWEPT_COLUMNS, orphan_row, swept_row

    check_no_secret("--credential", credential)
    async with perdure.read(db):
        pass  # a log that is not there is not made for this
    config = perdure.Config.load()
    check_credential(config, provider, credential)
    if sweep and not yes:
        terminal.ask(f"delete what this log needs no more at {provider}?")
    rows: list[Row] = []
    left = 0
    async with perdure.open(db, config=config, wait_for_lock_s=wait_for_lock_s) as service:
        if sweep:
            async with aclosing(service.files.sweep(provider=provider, credential=credential)) as swept:
                async for one in swept:
                    left += not one.deleted
                    rows.append(swept_row(one))
        else:
            async with aclosing(service.files.orphans(provider=provider, credential=credential)) as found:
                rows = [orphan_row(orphan) async for orphan in found]
    show(terminal, rows, SWEPT_COLUMNS if sweep else ORPHAN_COLUMNS)
    if left:
        raise OperationFailed(
            f"{left} of {len(rows)} could not be deleted at {provider}: the same command tries again",
            id=provider,
            cause="left at the provider",
        )
    return ExitCode.DONE
