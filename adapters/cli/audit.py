"""`perdure audit`: questions to a log as a whole. Reads without the lock."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import click

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import db_option
from perdure.adapters.cli.output import Column, show
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal


@command("costs", results=True)
@db_option
@click.option(
    "--by",
    "group_by",
    default="provider",
    metavar="WHAT",
    help="provider, model, credential, tier, source, tenant, key, kind, operation, day or tag:NAME.",
)
@click.option("--since", metavar="TIME", help="Only what was paid for from this time on, ISO 8601.")
@click.option("--until", metavar="TIME", help="Only what was paid for before this time, ISO 8601.")
def costs(terminal: Terminal, db: str, group_by: str, since: str | None, until: str | None) -> int:
    """Add up what was paid for.

    Each answer was priced when it arrived; this only adds up. Answers for which no price was known stand with an amount
    of 0 and are counted as unpriced. Amounts are exact, in US dollars.

    \b
    Example:
      perdure audit costs --db ./perdure.db --by model
    """
    from perdure.adapters.cli.looking import Moment

    first, end = (None if text is None else Moment().convert(text, None, None) for text in (since, until))
    return run(terminal, partial(_costs, terminal, db, group_by, first, end))


async def _costs(terminal: Terminal, db: str, group_by: str, since: datetime | None, until: datetime | None) -> int:
    import perdure

    async with perdure.read(db) as reader:
        spent = await reader.audit.costs(group_by, since=since, until=until)
    rows: list[dict[str, Any]] = [
        {
            "group": one.group,
            "amount_usd": f"{one.amount_usd:f}",
            "requests": one.requests,
            "unpriced": one.unpriced,
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
        }
        for one in spent.groups
    ]
    columns = ("amount_usd", "requests", "unpriced", "input_tokens", "output_tokens")
    show(terminal, rows, [Column("group", group_by), *(Column(name) for name in columns)])
    terminal.say(f"{spent.amount_usd:f} USD for {spent.requests} answers")
    if spent.unpriced:
        models = ", ".join(spent.unpriced_models)
        terminal.say(f"{spent.unpriced} of them could not be priced: {models}; name them in `prices`")
    return ExitCode.DONE


audit = group(
    "audit",
    {"costs": "audit:costs"},
    """Ask a log what it holds, as a whole.

    \b
    Example:
      perdure audit costs --by tag:team
    """,
)
