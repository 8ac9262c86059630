"""`perdure files`: upload once, see where it is, fetch it back. `list`, `show` and `get` only read."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import Duration, Tag, db_option, lock_option
from perdure.adapters.cli.output import Column, Row, show, show_one
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal
from perdure.events.durations import parse_duration
from perdure.events.errors import InvalidRequest, OperationFailed, Timeout
from perdure.events.time_to_live import DEFAULT_S, TimeToLive, check_ttl

if TYPE_CHECKING:
    from perdure.adapters.cli.progress import Meter
    from perdure.events.files import ProviderFile

GOES_ON = "it is in the log and goes on when the log is next opened; the same command waits for it"

progress_option = click.option("--no-progress", is_flag=True, help="Show no progress on standard error.")


class LifeTime(click.ParamType[TimeToLive]):
    """How long a file lives: a length of time, or `persistent`."""

    name = "ttl"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TimeToLive:
        """Whole seconds, or `persistent`. Raises `InvalidRequest`."""
        if value == "persistent":
            return "persistent"
        try:
            seconds = parse_duration(value, field="--ttl")
            return check_ttl(int(seconds) if seconds.is_integer() else seconds, field="--ttl")
        except InvalidRequest as error:
            raise InvalidRequest(
                f"--ttl {str(value)[:80]!r} is not a time to live: write whole seconds from 60 on, or a number with m, "
                'h or d, up to 30d, or "persistent"',
                field="--ttl",
                limit=error.limit,
                value=value,
            ) from error


@command("put", results=True, unasked="the id alone")
@click.argument("source", metavar="PATH|URL|-")
@click.option("--filename", metavar="NAME", help="What it is called.  [default: the name that it has]")
@click.option("--mime-type", metavar="TYPE", help="What it is, if that cannot be told from its first bytes.")
@click.option(
    "--ttl",
    type=LifeTime(),
    default=DEFAULT_S,
    show_default=False,
    metavar="TIME",
    help="How long it is kept: 60 (seconds) to 30d, or persistent.  [default: 1d]",
)
@click.option("--key", metavar="KEY", help="A name; putting the same file under it again changes nothing.")
@db_option
@lock_option
@progress_option
def put(terminal: Terminal, source: str, db: str, no_progress: bool, **given: Any) -> int:
    """Store a file and print its id.

    The id is what the other commands here take, whichever provider the file goes to. The same content is stored once.
    - is standard input; a URL is fetched only if fetch_urls is set (PERDURE_FETCH_URLS=true). Nothing is stored unless
    all of it is.

    \b
    Example:
      perdure files put report.pdf --ttl 30d --key report
    """
    from perdure.adapters.cli.progress import meter_for

    meter = meter_for(terminal, wanted=not no_progress, unit="bytes")
    return run(terminal, partial(_put, terminal, source, db, meter, **given))


async def _put(
    terminal: Terminal,
    source: str,
    db: str,
    meter: Meter,
    *,
    filename: str | None,
    mime_type: str | None,
    ttl: TimeToLive,
    key: str | None,
    wait_for_lock_s: float,
) -> int:
    import perdure
    from perdure.adapters.cli.incoming import open_incoming
    from perdure.adapters.cli.stored import find, row_of
    from perdure.events.keys import check_key

    if key is not None:
        check_key(key)
    config = perdure.Config.load()
    async with (
        open_incoming(source, terminal, meter, fetching=config.fetch_urls) as incoming,
        perdure.open(db, config=config, wait_for_lock_s=wait_for_lock_s) as service,
    ):
        file = await service.files.upload(
            incoming.source, filename=filename or incoming.filename, mime_type=mime_type, ttl_s=ttl, key=key
        )
        row = row_of(await find(service, file.id))
    if terminal.format is None:
        terminal.print(file.id)
    else:
        show_one(terminal, row, [Column(field) for field in row])
    return ExitCode.DONE


@command("list", results=True)
@db_option
@click.option(
    "--status",
    type=click.Choice(["kept", "expired", "deleted"]),
    default="kept",
    help="Only those that are there, or only those that were.",
)
@click.option("--provider", metavar="NAME", help="Only those that were wanted at this provider.")
@click.option("--tag", type=Tag(), metavar="K=V", help="Only with this tag.")
@click.option("--limit", default=100, type=click.IntRange(1), metavar="N", help="At most so many, newest first.")
def list_(
    terminal: Terminal, db: str, status: str, provider: str | None, tag: tuple[str, str] | None, limit: int
) -> int:
    """List files, newest first.

    Reads the log without its lock, so it works while another process writes it. Filters add up.

    \b
    Example:
      perdure files list --db ./perdure.db --provider openai
    """
    return run(terminal, partial(_list, terminal, db, limit, status=status, provider=provider, tag=tag))


async def _list(terminal: Terminal, db: str, limit: int, **filters: Any) -> int:
    import perdure
    from perdure.adapters.cli.stored import COLUMNS, listed, row_of

    rows: list[Row] = []
    async with perdure.read(db) as reader, aclosing(listed(reader, **filters)) as files:
        async for file in files:
            rows.append(row_of(file))
            if len(rows) == limit:
                break
    show(terminal, rows, COLUMNS)
    return ExitCode.DONE


@command("show", results=True)
@click.argument("id")
@db_option
def show_(terminal: Terminal, id: str, db: str) -> int:
    """Show one file: what it is, and where it is until when.

    ID is a file's id or key. Each copy at a provider has its status, what requests there name it by, until when, and
    what went wrong.

    \b
    Example:
      perdure files show report --db ./perdure.db
    """
    return run(terminal, partial(_show, terminal, id, db))


async def _show(terminal: Terminal, name: str, db: str) -> int:
    import perdure
    from perdure.adapters.cli.stored import COPY_COLUMNS, find, row_of

    async with perdure.read(db) as reader:
        row = row_of(await find(reader, name))
    table = terminal.result_format == "table"
    show_one(terminal, row, [Column(field) for field in row if not (table and field == "copies")])
    if table and row["copies"]:
        terminal.print()
        show(terminal, row["copies"], COPY_COLUMNS)
    return ExitCode.DONE


@command("get")
@click.argument("id")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    metavar="FILE",
    help="Where it goes: a file, which appears when it is whole, or - for standard output.",
)
@db_option
@progress_option
def get(terminal: Terminal, id: str, output: Path, db: str, no_progress: bool) -> int:
    """Fetch a file back, as it was put.

    ID is a file's id or key. What comes out is compared with the digest of what went in before its first byte is
    written. Reads the log without its lock.

    \b
    Example:
      perdure files get report --output report.pdf --db ./perdure.db
    """
    from perdure.adapters.cli.progress import meter_for

    meter = meter_for(terminal, wanted=not no_progress, unit="bytes")
    return run(terminal, partial(_get, terminal, id, output, db, meter))


async def _get(terminal: Terminal, name: str, output: Path, db: str, meter: Meter) -> int:
    import trio

    import perdure
    from perdure.adapters.cli.destination import open_destination
    from perdure.adapters.cli.progress import counted
    from perdure.adapters.cli.stored import find
    from perdure.adapters.composition import blobs_beside, path_of
    from perdure.store.blobs import BlobReader
    from perdure.store.disk import ThreadDisk

    async with perdure.read(db) as reader:
        file = await find(reader, name)
    size = file.info.size_bytes
    destination = open_destination(output, file.info.id)
    try:
        async with (
            BlobReader(blobs_beside(path_of(db)), ThreadDisk()) as blobs,
            aclosing(blobs.chunks(file.digest)) as chunks,
            aclosing(counted(chunks, meter, words=("writing", "written"), size_bytes=size)) as counted_chunks,
            trio.open_nursery() as writing,
        ):
            writing.start_soon(destination.run)
            async for chunk in counted_chunks:
                await destination.write(chunk)
            writing.cancel_scope.cancel()
        await destination.commit()
    finally:
        destination.abandon()
    terminal.say(f"{file.info.id}: {size:,} bytes ({file.info.mime_type}) to {destination.name}")
    return ExitCode.DONE


@command("push", results=True, unasked="the provider's reference alone")
@click.argument("id")
@click.option("--provider", required=True, metavar="NAME", help="Where it is to be.")
@click.option("--credential", default="default", metavar="NAME", help="Which credential; a name, never a secret.")
@db_option
@lock_option
@progress_option
def push(terminal: Terminal, id: str, db: str, no_progress: bool, **given: Any) -> int:
    """Put a file at a provider, wait, and print its reference there.

    ID is a file's id or key. Where the provider has it already, nothing is sent. Interrupt it, and the same command
    goes on.

    \b
    Example:
      perdure files push report --provider openai --db ./perdure.db
    """
    from perdure.adapters.cli.progress import meter_for

    meter = meter_for(terminal, wanted=not no_progress, unit="copies")
    return run(terminal, partial(_push, terminal, id, db, meter, **given), come_back=lambda: GOES_ON)


async def _push(
    terminal: Terminal, name: str, db: str, meter: Meter, *, provider: str, credential: str, wait_for_lock_s: float
) -> int:
    import perdure
    from perdure.adapters.cli.job import blocked, check_credential, check_no_secret
    from perdure.adapters.cli.progress import follow
    from perdure.adapters.cli.stored import find

    check_no_secret("--credential", credential)
    async with perdure.read(db) as reader:
        file = await find(reader, name)  # before a lock is taken for a name that there is not
    config = perdure.Config.load()
    check_credential(config, provider, credential)
    async with perdure.open(db, config=config, wait_for_lock_s=wait_for_lock_s) as service:
        copy = await service.files.push(file.info.id, provider=provider, credential=credential)
        if copy.status == "blocked":
            await copy.resume()  # the reason may have been put right since
        last = await follow(copy.progress_updates(), meter)
        if last.status == "blocked":
            raise blocked(provider, last.note)
        there: ProviderFile = await copy.result()
    if terminal.format is None:
        terminal.print(there.reference)
    else:
        row = {
            "file": file.info.id,
            "provider": provider,
            "credential": credential,
            "id": there.id,
            "reference": there.reference,
            "expires_at": there.expires_at,
        }
        show_one(terminal, row, [Column(field) for field in row])
    return ExitCode.DONE


@command("rm", results=True)
@click.argument("id")
@click.option("--everywhere", is_flag=True, help="Delete its copies at providers too, and wait for that.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Duration(),
    default=60.0,
    show_default=False,
    metavar="TIME",
    help="How long to wait for the copies: 90s, 2h.  [default: 60s]",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@db_option
@lock_option
def rm(terminal: Terminal, id: str, db: str, yes: bool, dry_run: bool, **given: Any) -> int:
    """Delete a file, here or everywhere.

    ID is a file's id or key. Without --everywhere its copies at providers stay until their time there is over; with it
    they can still be deleted after the file itself expired or was deleted.

    \b
    Example:
      perdure files rm report --everywhere --yes --db ./perdure.db
    """
    come_back = "what was asked for goes on when the log is next opened"
    return run(terminal, partial(_rm, terminal, id, db, yes, dry_run, **given), come_back=lambda: come_back)


async def _rm(
    terminal: Terminal,
    name: str,
    db: str,
    yes: bool,
    dry_run: bool,
    *,
    everywhere: bool,
    timeout_s: float,
    wait_for_lock_s: float,
) -> int:
    import trio

    import perdure
    from perdure.adapters.cli.job import check_credential
    from perdure.adapters.cli.stored import find, find_any, look_at, row_of

    async with perdure.read(db) as reader:
        file = await (find_any if everywhere else find)(reader, name)
    info = file.info
    there = [copy for copy in info.copies if everywhere and copy.status not in ("expired", "deleted", "error")]
    places = ", ".join(sorted({copy.provider for copy in there})) or "its providers"
    what = f"{info.id} ({info.filename})" + (f" here and at {places}" if there else "")
    if dry_run:
        terminal.say(f"would delete {what}")
        row = row_of(file)
        show_one(terminal, row, [Column(field) for field in row])
        return ExitCode.DONE
    if not yes:
        terminal.ask(f"delete {what}?")
    config = perdure.Config.load()
    for copy in there:
        check_credential(config, copy.provider, copy.credential)
    async with perdure.open(db, config=config, wait_for_lock_s=wait_for_lock_s) as service:
        await service.files.delete(info.id, everywhere=everywhere)
        handle = await service.get(info.id)
        with trio.move_on_after(timeout_s) as waiting:
            if everywhere:
                async with aclosing(handle.events()) as events:
                    async for _ in events:
                        pass
        after = await look_at(handle)
    if after is None or waiting.cancelled_caught:
        raise Timeout(
            f"{info.id} is deleted here, and after {timeout_s:g} s not yet at {places}: that goes on when the log is "
            "next opened; the same command waits for it"
        )
    row = row_of(after)
    show_one(terminal, row, [Column(field) for field in row])
    left = [copy for copy in after.info.copies if everywhere and copy.status == "error" and copy.reference]
    if left:
        raise OperationFailed(
            f"{info.id} could not be deleted at {left[0].provider}: {left[0].error}; look there",
            id=info.id,
            cause=left[0].error,
        )
    return ExitCode.DONE


files = group(
    "files",
    {
        "put": "files:put",
        "list": "files:list_",
        "show": "files:show_",
        "get": "files:get",
        "push": "files:push",
        "rm": "files:rm",
        "orphans": "orphans:orphans",
    },
    """Keep files: one id, every provider.

    A file is named by its id or by the key that it was given. It is put into the log's store once, and sent from there
    to each provider that it is pushed to.

    \b
    Example:
      perdure files put report.pdf --key report
    """,
)
