"""`perdure ops`: operations of any kind. `list`, `show` and `state` only read; `wait` works where nobody does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import click
import msgspec

from perdure.adapters.cli.command import command, group
from perdure.adapters.cli.exit_codes import ExitCode
from perdure.adapters.cli.options import Duration, Tag, db_option, lock_option
from perdure.adapters.cli.output import Column, show, show_one
from perdure.adapters.cli.running import run
from perdure.adapters.cli.terminal import Terminal
from perdure.events.errors import LogLocked, Timeout

if TYPE_CHECKING:
    from perdure.actors.service import Reader, Service
    from perdure.actors.views import Handle, View

    Find = Callable[[Reader | Service, str], Awaitable[View[Any]]]

CANCEL_GOES_ON = "what was asked for is in the log if it got there, and goes on when the log is next opened"


@command("list", results=True)
@db_option
@click.option("--kind", metavar="KIND", help="Only this kind, such as batch.")
@click.option("--status", metavar="STATUS", help="Only this status, such as running.")
@click.option("--provider", metavar="NAME", help="Only at this provider.")
@click.option("--tag", type=Tag(), metavar="K=V", help="Only with this tag.")
@click.option("--limit", default=100, type=click.IntRange(1), metavar="N", help="At most so many, newest first.")
def list_(
    terminal: Terminal,
    db: str,
    kind: str | None,
    status: str | None,
    provider: str | None,
    tag: tuple[str, str] | None,
    limit: int,
) -> int:
    """List operations, newest first.

    Reads the log without its lock, so it works while another process writes it. Filters add up.

    \b
    Example:
      perdure ops list --db ./perdure.db --status running
    """
    filters = {"kind": kind, "status": status, "provider": provider, "tag": tag}
    return run(terminal, partial(list_operations, terminal, db, filters, limit))


async def list_operations(terminal: Terminal, db: str, filters: Mapping[str, Any], limit: int) -> int:
    """Shows the newest `limit` operations that fit `filters`, the parameters of `Reader.list`."""
    import perdure
    from perdure.adapters.cli.looking import SUMMARY_COLUMNS, summary_row

    rows: list[Mapping[str, Any]] = []
    async with perdure.read(db) as reader, aclosing(reader.list(**filters)) as summaries:
        async for summary in summaries:
            rows.append(summary_row(summary))
            if len(rows) == limit:
                break
    show(terminal, rows, SUMMARY_COLUMNS)
    return ExitCode.DONE


@command("show", results=True)
@click.argument("id")
@db_option
def show_(terminal: Terminal, id: str, db: str) -> int:
    """Show one operation: how it stands and why.

    ID is an operation's id or key. 'perdure events show ID' has its whole history.

    \b
    Example:
      perdure ops show my-key --db ./perdure.db
    """
    return run(terminal, partial(_show, terminal, id, db))


async def _show(terminal: Terminal, name: str, db: str) -> int:
    import perdure
    from perdure.adapters.cli.looking import look_up

    async with perdure.read(db) as reader:
        row = _row_of(await look_up(reader, name))
    show_one(terminal, row, [Column(field) for field in row])
    return ExitCode.DONE


@command("state", results=True)
@click.argument("id")
@db_option
@click.option("--at", "version", type=click.IntRange(0), metavar="N", help="As it was after version N.")
@click.option("--at-time", metavar="TIME", help="As it was at a time, ISO 8601.")
@click.option("--diff", type=click.IntRange(0), metavar="M", help="Only what changed since version M.")
def state(terminal: Terminal, id: str, db: str, version: int | None, at_time: str | None, diff: int | None) -> int:
    """Show an operation's state as it is, or as it was.

    The state is folded from the events, so any version of it can be had, and what changed between two.

    \b
    Example:
      perdure ops state my-key --db ./perdure.db --at 7 --diff 6
    """
    from perdure.adapters.cli.looking import Moment

    if version is not None and at_time is not None:
        raise click.UsageError("give --at or --at-time, not both")
    at: int | datetime | None = version if at_time is None else Moment().convert(at_time, None, None)
    return run(terminal, partial(_state, terminal, id, db, at, diff))


async def _state(terminal: Terminal, name: str, db: str, at: int | datetime | None, diff: int | None) -> int:
    import perdure
    from perdure.adapters.cli.looking import look_up

    async with perdure.read(db) as reader:
        view = await look_up(reader, name)
        version, now = await reader.log.folded(view.id, at)
        after = flat(msgspec.to_builtins(now))
        if diff is None:
            row = {"id": view.id, "kind": view.kind, "version": version, "state": msgspec.to_builtins(now)}
            if terminal.result_format == "table":
                row = {"id": view.id, "kind": view.kind, "version": version, **after}
            show_one(terminal, row, [Column(field) for field in row])
            return ExitCode.DONE
        _, then = await reader.log.folded(view.id, diff)
    before = flat(msgspec.to_builtins(then))
    rows = [
        {"field": field, "before": before.get(field), "after": after.get(field)}
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    ]
    show(terminal, rows, [Column("field"), Column("before"), Column("after")])
    return ExitCode.DONE


@command("wait", results=True)
@click.argument("id")
@db_option
@click.option("--timeout", "timeout_s", type=Duration(), metavar="TIME", help="Wait no longer than this: 90s, 2h.")
@lock_option
def wait(terminal: Terminal, id: str, db: str, timeout_s: float | None, wait_for_lock_s: float) -> int:
    """Wait until an operation has come to its end.

    If another process writes the log, this one looks on; else it opens the log itself and lets the work go on. Ends
    with 0 if the operation succeeded, 1 if it did not, 6 if it waits for somebody to mend a key, 7 after --timeout.

    \b
    Example:
      perdure ops wait my-key --db ./perdure.db --timeout 2h
    """
    work = partial(_wait, terminal, id, db, timeout_s, wait_for_lock_s)
    return run(
        terminal, work, come_back=lambda: "the operation goes on at the provider; wait for it with the same command"
    )


async def _wait(terminal: Terminal, name: str, db: str, timeout_s: float | None, wait_for_lock_s: float) -> int:
    import perdure
    from perdure.adapters.cli.looking import look_up

    async with perdure.read(db) as reader:
        await look_up(reader, name)  # before a lock is taken for a name that there is not
    try:
        async with perdure.open(db, wait_for_lock_s=wait_for_lock_s) as service:
            return await _wait_in(terminal, service, name, timeout_s)
    except LogLocked as locked:
        terminal.say(f"process {locked.pid} on {locked.host} writes the log; waiting for what it does")
    async with perdure.read(db) as reader:
        return await _wait_in(terminal, reader, name, timeout_s)


async def _wait_in(terminal: Terminal, log: Reader | Service, name: str, timeout_s: float | None) -> int:
    import trio

    from perdure.adapters.cli.job import blocked
    from perdure.adapters.cli.looking import look_up
    from perdure.adapters.cli.progress import follow, meter_for

    view = await look_up(log, name)
    with trio.move_on_after(float("inf") if timeout_s is None else timeout_s) as scope:
        last = await follow(view.progress_updates(), meter_for(terminal, wanted=True))
        if last.status == "blocked":
            raise blocked(view.provider, last.note)
    if scope.cancelled_caught:
        raise Timeout(f"{view.id} is {view.status} after {timeout_s:g} s and goes on: wait for it again")
    row = _row_of(view)
    show_one(terminal, row, [Column(field) for field in row])
    await view.result()
    return ExitCode.DONE


@command("cancel", results=True)
@click.argument("id")
@db_option
@click.option("--wait", "wait_", is_flag=True, help="Return once it has come to its end.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be cancelled, and cancel nothing.")
@lock_option
def cancel(terminal: Terminal, id: str, db: str, wait_: bool, yes: bool, dry_run: bool, wait_for_lock_s: float) -> int:
    """Cancel an operation, at its provider too.

    What the provider has done until then is kept. Asking again changes nothing.

    \b
    Example:
      perdure ops cancel my-key --db ./perdure.db --yes --wait
    """
    work = partial(act, terminal, "cancel", id, db, yes, dry_run, wait_for_lock_s, wait=wait_)
    return run(terminal, work, come_back=lambda: CANCEL_GOES_ON)


@command("resubmit", results=True)
@click.argument("id")
@db_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be submitted again, and do nothing.")
@lock_option
def resubmit(terminal: Terminal, id: str, db: str, yes: bool, dry_run: bool, wait_for_lock_s: float) -> int:
    """Buy again what is uncertain, or revive what is parked.

    For an operation whose status is uncertain: look at the provider first, because it may have been bought. The new
    attempt is on record; 'perdure ops wait' or the original command goes on with it.

    \b
    Example:
      perdure ops resubmit my-key --db ./perdure.db --yes
    """
    return run(terminal, partial(act, terminal, "resubmit", id, db, yes, dry_run, wait_for_lock_s, wait=False))


async def act(
    terminal: Terminal,
    verb: Literal["cancel", "resubmit"],
    name: str,
    db: str,
    yes: bool,
    dry_run: bool,
    wait_for_lock_s: float,
    *,
    wait: bool,
    find: Find | None = None,
) -> int:
    """Cancels or resubmits an operation, which `find` looks up by its id or key, and shows how it stands then."""
    import perdure
    from perdure.adapters.cli.looking import look_up

    async with perdure.read(db) as reader:
        view = await (find or look_up)(reader, name)
        row = _row_of(view)
    if dry_run:
        terminal.say(f"would {verb} {view.id}, which is {view.status}")
        show_one(terminal, row, [Column(field) for field in row])
        return ExitCode.DONE
    if not yes:
        terminal.ask(f"{verb} {view.id}, which is {view.status}?")
    async with perdure.open(db, wait_for_lock_s=wait_for_lock_s) as service:
        handle: Handle[Any] = await service.get(view.id)
        if verb == "cancel":
            said = await _cancel(terminal, handle, wait=wait)
        else:
            await handle.resubmit()
            said = "requested"
        await handle.refresh()
        row = {"answer": said, **_row_of(handle)}
    show_one(terminal, row, [Column(field) for field in row])
    return ExitCode.FAILED if said == "too_late" else ExitCode.DONE


async def _cancel(terminal: Terminal, handle: Handle[Any], *, wait: bool) -> str:
    """What became of it. With `wait`, raises `ProviderError` where somebody has to mend a key first."""
    from perdure.adapters.cli.job import blocked
    from perdure.adapters.cli.progress import follow, meter_for

    said: str = await handle.cancel()
    if not wait or said != "requested":
        return said
    if await handle.refresh() == "blocked":
        await handle.resume()  # the reason may have been put right since
    async with aclosing(handle.progress_updates()) as updates:
        last = await follow(updates, meter_for(terminal, wanted=True))
    if last.status == "blocked":
        raise blocked(handle.provider, last.note)
    if last.status == "cancelled":
        return "cancelled"
    return "too_late" if last.status in ("succeeded", "failed", "expired") else "requested"


def _row_of(view: Any) -> Mapping[str, Any]:
    progress = view.progress
    return {
        "id": view.id,
        "kind": view.kind,
        "key": view.key,
        "provider": view.provider,
        "status": view.status,
        "done": progress.done,
        "total": progress.total,
        "note": progress.note,
        "created_at": view.created_at,
        "tags": dict(view.tags),
    }


def flat(value: Any, name: str = "") -> Mapping[str, Any]:
    """A tree as `{path: leaf}`, such as `parts[0].purchase.phase`."""
    if isinstance(value, Mapping) and value:
        fields = cast("Mapping[str, Any]", value)
        parts = [(f"{name}.{field}" if name else field, part) for field, part in fields.items()]
    elif isinstance(value, (list, tuple)) and value:
        parts = [(f"{name}[{place}]", part) for place, part in enumerate(cast("Sequence[Any]", value))]
    else:
        return {name: value}
    return {path: leaf for place, part in parts for path, leaf in flat(part, place).items()}


ops = group(
    "ops",
    {
        "list": "ops:list_",
        "show": "ops:show_",
        "state": "ops:state",
        "wait": "ops:wait",
        "cancel": "ops:cancel",
        "resubmit": "ops:resubmit",
    },
    """Look at operations, wait for them, cancel them.

    An operation is named by its id or by the key that it was given.

    \b
    Example:
      perdure ops list --db ./perdure.db --status running
    """,
)
