"""`perdure batches`: a file of requests as one job, and batches that are in the log: seen, cancelled, given out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import click

from perdure.adapters.cli.command import Command, command, group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import Duration, OperationStatus, Tag, db_option, file_argument, lock_option
from perdure.adapters.cli.output import Column, show, show_one
from perdure.adapters.cli.running import run as run_under_trio
from perdure.adapters.cli.terminal import Terminal
from perdure.events.purchase import OnUncertain

LONGEST_CURSOR: Final = 18
"""Digits of a cursor: more than any has, and fewer than SQLite can count."""


class Allowed(click.ParamType[int]):
    """How many lines may have an error: a number, or `all`."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; -1 for any."""
        if isinstance(value, int):
            return value
        if value == "all":
            return -1
        if not str(value).isdecimal():
            self.fail(f"{value!r} is no number of lines: give one, or 'all'", param, ctx)
        return int(value)


class Cursor(click.ParamType[int]):
    """The `cursor` of a line that was given out."""

    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_CURSOR):
            self.fail(f"{text[:80]!r} is no cursor: give the 'cursor' of the last line that you have", param, ctx)
        return int(text)


class AllowingCommand(Command):
    """Takes `--allow-errors` with or without a number; what follows it is never taken for one unless it is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        followers = [*args[1:], ""][: len(args)]
        return super().parse_args(
            ctx,
            [
                f"{argument}=all" if argument == "--allow-errors" and not _is_number(follower) else argument
                for argument, follower in zip(args, followers, strict=True)
            ],
        )


def _is_number(text: str) -> bool:
    return text == "all" or text.isdecimal()


allow_errors_option = click.option(
    "--allow-errors",
    type=Allowed(),
    default=0,
    metavar="[=N]",
    help="End with 0 even if lines (at most N) have an error.",
)


@click.command("run", cls=AllowingCommand, results=True)
@file_argument("input")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="OUTPUT",
    help="A file, which appears when it is whole and has the input's order; - is standard output, as lines arrive.",
)
@click.option("--provider", default="openai", metavar="NAME", help="Who answers.")
@click.option("--base-url", metavar="URL", help="The provider's address, if it is not the usual one.")
@click.option("--model", metavar="NAME", help="The model that answers lines with a prompt.")
@click.option("--endpoint", metavar="PATH", help="Where lines with a prompt go.  [default: /v1/responses]")
@click.option("--credential", default="default", metavar="NAME", help="Which credential; a name, never a secret.")
@db_option
@click.option("--key", metavar="KEY", help="The job's name.  [default: a digest of what is asked of whom]")
@click.option("--tag", "tags", type=Tag(), multiple=True, metavar="K=V", help="A tag for lists; may be repeated.")
@click.option("--deadline", "deadline_s", type=Duration(), metavar="TIME", help="Give up after this time: 90m, 24h.")
@click.option(
    "--poll",
    "poll_s",
    type=Duration(),
    metavar="SECONDS",
    help="First poll and interval.  [default: the provider's hint, else by size]",
)
@click.option(
    "--on-uncertain",
    type=click.Choice(["fail", "resubmit"]),
    default="fail",
    help="When it cannot be told whether the provider took it.",
)
@click.option(
    "--resubmit",
    type=int,
    default=0,
    metavar="N",
    help="Buy what the provider left unfinished again, up to N times.",
)
@allow_errors_option
@click.option("--detach", is_flag=True, help="Print the id and leave once the provider has it.")
@click.option("--dry-run", is_flag=True, help="Judge the input and say what would be done.")
@lock_option
@click.option("--no-progress", is_flag=True, help="Show no progress on standard error.")
def run(
    terminal: Terminal,
    input: Path,
    tags: Sequence[tuple[str, str]],
    no_progress: bool,
    **given: Any,
) -> int:
    """Run a file of requests as a batch, whatever happens meanwhile.

    INPUT has one JSON object a line: a batch line as OpenAI documents it (custom_id, method, url, body), or custom_id
    and prompt together with --model. All of it is judged before anything is submitted. Interrupt it in any way, and
    the same command goes on; it never submits twice. The provider's key comes from its usual environment variable.

    Each line of output has custom_id, index, status ("ok" or "error"), text, usage, response and error.

    Exit codes: 0 every line is ok, 1 some are not, 2 the input is wrong, 4 another process writes the log,
    6 the provider or its key; the rest is in 'perdure help exit-codes'.

    \b
    Example:
      perdure batches run in.jsonl --output out.jsonl --model gpt-6-astra
    """
    from perdure.adapters.cli.job import Job, JobOptions

    if given["output"] is None and not (given["detach"] or given["dry_run"]):
        raise click.UsageError("say where the results go: --output FILE, or --output - for standard output")
    given["on_uncertain"] = cast("OnUncertain", given["on_uncertain"])
    options = JobOptions(input=input, tags=dict(tags), progress=not no_progress, **given)
    job = Job(options, terminal)
    return run_under_trio(terminal, job.run, come_back=job.come_back)


@command("list", results=True)
@db_option
@click.option("--status", type=OperationStatus(), metavar="STATUS", help="Only this status, such as running.")
@click.option("--provider", metavar="NAME", help="Only at this provider.")
@click.option("--tag", type=Tag(), metavar="K=V", help="Only with this tag.")
@click.option("--limit", default=100, type=click.IntRange(1), metavar="N", help="At most so many, newest first.")
def list_(terminal: Terminal, db: str, limit: int, **filters: Any) -> int:
    """List batches, newest first.

    Reads the log without its lock, so it works while another process writes it. Filters add up. --format json gives all
    fields, tags included.

    \b
    Example:
      perdure batches list --db ./perdure.db --status running
    """
    from perdure.adapters.cli.ops import list_operations

    return run_under_trio(terminal, partial(list_operations, terminal, db, {**filters, "kind": "batch"}, limit))


@command("show", results=True)
@click.argument("id")
@db_option
def show_(terminal: Terminal, id: str, db: str) -> int:
    """Show one batch: how it stands, what it cost, and its parts at the provider.

    ID is a batch's id or key. Each part has its provider's id and counts, how often its unfinished lines were bought
    again (round), and since when the provider is late (overdue), if it is.

    \b
    Example:
      perdure batches show my-key --db ./perdure.db
    """
    return run_under_trio(terminal, partial(_show, terminal, id, db))


async def _show(terminal: Terminal, name: str, db: str) -> int:
    import perdure
    from perdure.adapters.cli.submitted import PART_COLUMNS, alarms, find_batch, row_of

    async with perdure.read(db) as reader:
        row = await row_of(reader, await find_batch(reader, name))
    table = terminal.result_format == "table"
    show_one(terminal, row, [Column(field) for field in row if not (table and field == "parts")])
    if table and row["parts"]:
        terminal.print()
        show(terminal, row["parts"], PART_COLUMNS)
    for alarm in alarms(row):
        terminal.say(alarm)
    return ExitCode.DONE


@command("cancel", results=True)
@click.argument("id")
@db_option
@click.option("--wait", "wait_", is_flag=True, help="Return once it has come to its end.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be cancelled, and cancel nothing.")
@lock_option
def cancel(terminal: Terminal, id: str, db: str, wait_: bool, yes: bool, dry_run: bool, wait_for_lock_s: float) -> int:
    """Cancel a batch, at its provider too.

    ID is a batch's id or key. What was finished until then is kept, paid for, and among the results. Asking again
    changes nothing. Ends with 0 also where the provider has not agreed yet, with 1 if the batch had ended before.

    \b
    Example:
      perdure batches cancel my-key --db ./perdure.db --yes --wait
    """
    from perdure.adapters.cli.ops import CANCEL_GOES_ON, act
    from perdure.adapters.cli.submitted import find_batch

    work = partial(act, terminal, "cancel", id, db, yes, dry_run, wait_for_lock_s, wait=wait_, find=find_batch)
    return run_under_trio(terminal, work, come_back=lambda: CANCEL_GOES_ON)


@click.command("results", cls=AllowingCommand)
@click.argument("id")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    show_default=False,
    metavar="FILE",
    help="A file, which appears when it is whole.  [default: -, standard output, as lines arrive]",
)
@click.option("--follow", is_flag=True, help="Wait for lines that are not there yet, until the batch ends.")
@click.option(
    "--after",
    type=Cursor(),
    default=0,
    show_default=False,
    metavar="CURSOR",
    help="Only what comes behind the line with this cursor.",
)
@click.option(
    "--order",
    type=click.Choice(["arrival", "input"]),
    default="arrival",
    help="In which order; each has cursors of its own.",
)
@allow_errors_option
@db_option
def results(terminal: Terminal, id: str, **given: Any) -> int:
    """Give out a batch's results, with --follow as they arrive.

    ID is a batch's id or key. Without --follow it gives what is there. Lines are those of 'perdure batches run', each
    with its cursor. Reads the log without its lock while another process writes it; with --follow and a batch that goes
    on it opens the log itself once nobody else writes it, and all that is in it goes on.

    Ends with 0 if all lines that it gave are ok, 1 if some are not, 6 if the batch waits for somebody to mend a key.

    \b
    Example:
      perdure batches results my-key --follow --db ./perdure.db
    """
    from perdure.adapters.cli.delivery import Delivery, DeliveryOptions

    delivery = Delivery(DeliveryOptions(name=id, **given), terminal)
    return run_under_trio(terminal, delivery.run, come_back=delivery.come_back)


batches = group(
    "batches",
    {
        "run": "batches:run",
        "list": "batches:list_",
        "show": "batches:show_",
        "cancel": "batches:cancel",
        "results": "batches:results",
    },
    """Run many requests as one job.

    A batch costs less than the same requests one by one, takes up to a day, and survives this process.

    \b
    Example:
      perdure batches run in.jsonl --output out.jsonl --model gpt-6-astra
    """,
)
