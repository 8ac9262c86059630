"""`perdure events`: the log itself. Nothing here takes its lock; all of it works beside a running writer."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import click
import msgspec

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import db_option
from perdure.adapters.cli.output import Column, encode, iso, show, show_one
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal
from perdure.events.errors import Corrupt

AFTER = click.option(
    "--after", default=0, type=click.IntRange(0), metavar="POSITION", help="Begin behind this position."
)


@command("tail", results=True)
@db_option
@AFTER
@click.option("--id", "name", metavar="ID", help="Only this operation; its id or key.")
@click.option("--type", "type_", metavar="TYPE", help="Only events of this type.")
@click.option("--no-follow", is_flag=True, help="End at the end of the log instead of waiting for more.")
def tail(terminal: Terminal, db: str, after: int, name: str | None, type_: str | None, no_follow: bool) -> int:
    """Follow the log as it grows.

    Shows what is there and then each record as it is committed, by whatever process. Give --after the last position
    that you have seen to go on from there. In a pipe it writes JSON Lines.

    \b
    Example:
      perdure events tail --db ./perdure.db --after 120 --no-follow
    """
    work = partial(_tail, terminal, db, after, name, type_, no_follow)
    return run(terminal, work, come_back=lambda: "go on with --after and the last position that you saw")


async def _tail(terminal: Terminal, db: str, after: int, name: str | None, type_: str | None, no_follow: bool) -> int:
    import perdure
    from perdure.adapters.cli.looking import RECORD_COLUMNS, brief, look_up, record_row

    table = terminal.result_format == "table"
    async with perdure.read(db) as reader:
        actor = None if name is None else (await look_up(reader, name)).id
        if no_follow:
            rows = [
                record_row(record)
                async for record in reader.log.read(after=after)
                if actor in (None, record.actor) and type_ in (None, record.type)
            ]
            show(terminal, rows, RECORD_COLUMNS)
            return ExitCode.DONE
        async for record in reader.log.tail(after=after, actor=actor):
            if type_ not in (None, record.type):
                continue
            row = record_row(record)
            if table:
                place = f"{record.position:>8}  {iso(row['at'])}  {record.actor}  {record.version:>5}"
                terminal.print(f"{place}  {record.type}  {brief(record.payload)}")
            elif terminal.result_format != "none":
                terminal.print(encode(row))
    return ExitCode.DONE


@command("show", results=True)
@click.argument("id")
@db_option
def show_(terminal: Terminal, id: str, db: str) -> int:
    """Show all that happened to one operation, in order.

    ID is an operation's id or key. Each line is one event with its version, its time and what it says; in a pipe it
    comes whole, as it is stored.

    \b
    Example:
      perdure events show my-key --db ./perdure.db
    """
    return run(terminal, partial(_show, terminal, id, db))


async def _show(terminal: Terminal, name: str, db: str) -> int:
    import perdure
    from perdure.adapters.cli.looking import RECORD_COLUMNS, look_up, record_row

    async with perdure.read(db) as reader:
        view = await look_up(reader, name)
        rows = [record_row(record) async for record in view.events(follow=False)]
    show(terminal, rows, RECORD_COLUMNS)
    return ExitCode.DONE


@command("export")
@db_option
@click.option(
    "-o",
    "--output",
    default="-",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="A file, which appears when it is whole; - is standard output.",
)
@AFTER
@click.option("--until", type=click.IntRange(0), metavar="POSITION", help="End with this position.")
def export(terminal: Terminal, db: str, output: Path, after: int, until: int | None) -> int:
    """Write the log as JSON Lines, with a checksum in the last line.

    One record a line, all its fields. The last line says how many there were and has the SHA-256 of all bytes before
    it, so that a copy that was cut off or changed shows.

    \b
    Example:
      perdure events export --db ./perdure.db --output ./log.jsonl
    """
    return run(terminal, partial(_export, terminal, db, output, after, until))


async def _export(terminal: Terminal, db: str, output: Path, after: int, until: int | None) -> int:
    import perdure
    from perdure.adapters.cli.destination import open_destination
    from perdure.adapters.cli.looking import record_row

    digest = hashlib.sha256()
    records = last = 0
    async with perdure.read(db) as reader:
        destination = open_destination(output, "export")
        try:
            async for record in reader.log.read(after=after, until=until):
                line = encode(record_row(record)).encode() + b"\n"
                digest.update(line)
                await destination.write(line)
                records, last = records + 1, record.position
            closing = {
                "checksum": "sha256",
                "digest": digest.hexdigest(),
                "records": records,
                "after": after,
                "last": last,
                "log_id": reader.log.id,
            }
            await destination.write(encode(closing).encode() + b"\n")
            await destination.commit()
        finally:
            destination.abandon()
    terminal.say(f"{records} records, sha256 {digest.hexdigest()}, in {destination.name}")
    return ExitCode.DONE


@command("verify", results=True)
@db_option
@click.option(
    "--kept-head", metavar="HEAD", help="A head that an earlier run printed: proves that nothing was cut off."
)
def verify(terminal: Terminal, db: str, kept_head: str | None) -> int:
    """Check that the log is what was written, record by record.

    Computes the chain of hashes over all commits anew, folds every actor and compares its rows. Prints the head: keep
    it elsewhere, and --kept-head proves later that the log still contains all of it. Ends with 5 and names the first
    bad record if there is one.

    \b
    Example:
      perdure events verify --db ./perdure.db
    """
    return run(terminal, partial(_verify, terminal, db, kept_head))


async def _verify(terminal: Terminal, db: str, kept_head: str | None) -> int:
    import perdure

    async with perdure.read(db) as reader:
        verified = await reader.log.verify(kept_head=kept_head)
    row = {"ok": verified.ok, **msgspec.to_builtins(verified)}
    columns = ["ok", "head", "commits", "records", "actors", "items", "outdated", "anomalies", "fault_count"]
    show_one(terminal, row, [Column(name) for name in columns])
    verified.raise_if_bad()
    return ExitCode.DONE


@command("replay", results=True)
@db_option
def replay(terminal: Terminal, db: str) -> int:
    """Fold the whole log with today's code and compare.

    Rebuilds the state of every actor from its events alone and compares it with the rows that lists and restarts read.
    Starts nothing and changes nothing. Ends with 5 and names the first actor that differs, if there is one.

    \b
    Example:
      perdure events replay --db ./perdure.db
    """
    return run(terminal, partial(_replay, terminal, db))


async def _replay(terminal: Terminal, db: str) -> int:
    import perdure

    async with perdure.read(db) as reader:
        replayed = await reader.log.replay()
    row = {"ok": replayed.ok, **msgspec.to_builtins(replayed)}
    columns = ["ok", "actors", "events", "outdated", "moved", "differing", "fold_s"]
    show_one(terminal, row, [Column(name) for name in columns])
    if replayed.differences:
        first = replayed.differences[0]
        raise Corrupt(
            f"{replayed.differing} actors differ, first {first.actor} at version {first.version}: {first.reason}; "
            "'perdure doctor --repair' writes the rows anew",
            reason=first.reason,
        )
    return ExitCode.DONE


events = group(
    "events",
    {
        "tail": "events:tail",
        "show": "events:show_",
        "export": "events:export",
        "verify": "events:verify",
        "replay": "events:replay",
    },
    """Read, check and replay the log.

    The log is everything: what is not in it did not happen. These commands only read, beside a running process too.

    \b
    Example:
      perdure events verify --db ./perdure.db
    """,
)
