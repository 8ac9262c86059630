"""`perdure batches`: a file of requests as one job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

from perdure.adapters.cli.command import Command, group
from perdure.adapters.cli.options import Duration, Tag, db_option, file_argument, lock_option
from perdure.adapters.cli.terminal import Terminal
from perdure.events.purchase import OnUncertain


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


class RunCommand(Command):
    """Takes `--allow-errors` with or without a number; what follows it is never taken for one unless it is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        followers = [*args[1:], ""]
        return super().parse_args(
            ctx,
            [
                f"{argument}=all" if argument == "--allow-errors" and not _is_number(follower) else argument
                for argument, follower in zip(args, followers, strict=True)
            ],
        )


def _is_number(text: str) -> bool:
    return text == "all" or text.isdecimal()


@click.command("run", cls=RunCommand, results=True)
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
    "--allow-errors",
    type=Allowed(),
    default=0,
    metavar="[=N]",
    help="End with 0 even if lines (at most N) have an error.",
)
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
    from perdure.adapters.cli.running import run as run_under_trio

    if given["output"] is None and not (given["detach"] or given["dry_run"]):
        raise click.UsageError("say where the results go: --output FILE, or --output - for standard output")
    given["on_uncertain"] = cast("OnUncertain", given["on_uncertain"])
    options = JobOptions(input=input, tags=dict(tags), progress=not no_progress, **given)
    job = Job(options, terminal)
    return run_under_trio(terminal, job.run, come_back=job.come_back)


batches = group(
    "batches",
    {"run": "batches:run"},
    """Run many requests as one job.

    A batch costs less than the same requests one by one, takes up to a day, and survives this process.

    \b
    Example:
      perdure batches run in.jsonl --output out.jsonl --model gpt-6-astra
    """,
)
