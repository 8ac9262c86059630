"""What the doctor looks at, check by check. Nothing is changed but a small file that is synced and removed."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import trio
from msgspec import Struct

import perdure
from perdure.actors.fetch import CredentialMissing
from perdure.actors.lane import Lane
from perdure.actors.views import moment
from perdure.adapters.cli.output import iso
from perdure.adapters.composition import ACCOUNTS, Resolver, path_of
from perdure.adapters.config import Config, ProviderConfig, config_files
from perdure.events.errors import NotFound, PerdureError
from perdure.store.sqlite.lock import lock_path, read_holder

SYNCS: Final = 20
SLOW_SYNC_MS: Final = 20.0
LITTLE_BYTES: Final = 100 << 20
ENOUGH_BYTES: Final = 1 << 30
CLOCK_SLACK_S: Final = 1.0

Verdict = Literal["ok", "warn", "fail"]


class Check(Struct, frozen=True):
    """One thing that was looked at. `advice` is what to do, empty where there is nothing to be done."""

    check: str
    status: Verdict
    found: str
    advice: str = ""


async def examine(db: str) -> AsyncIterator[Check]:
    """All checks, in an order in which the first that fails explains those after it."""
    yield Check("perdure", "ok", f"{perdure.__version__}, Python {platform.python_version()}, {sqlite3.sqlite_version}")
    try:
        config = Config.load()
    except PerdureError as error:
        yield Check("configuration", "fail", str(error), "correct it, or remove it")
        config = Config()
    else:
        found = [str(file) for file in config_files() if file.is_file()]
        yield Check("configuration", "ok", ", ".join(found) or "no files: defaults and environment")
    path = path_of(db).absolute()
    async for check in _log(path):
        yield check
    for look in (_writer, _disk, _sync):
        yield await trio.to_thread.run_sync(look, path)
    for check in _credentials(config):
        yield check


async def _log(path: Path) -> AsyncIterator[Check]:
    try:
        async with perdure.read(path) as reader:
            statuses = Counter([summary.status async for summary in reader.list()])
            head = await reader.log.head()
            last = [record async for record in reader.log.read(after=head - 1)]
            log_id = reader.log.id
    except NotFound:
        yield Check("log", "ok", f"none yet at {path}", "it is made by the first command that writes")
        return
    except PerdureError as error:
        yield Check("log", "fail", str(error), "see the message")
        return
    counted = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "no operations"
    waiting = [status for status in ("blocked", "uncertain", "parked") if statuses[status]]
    advice = f"'perdure ops list --status {waiting[0]}' shows what waits for somebody" if waiting else ""
    yield Check("log", "warn" if waiting else "ok", f"{path}, {log_id}, {head} records; {counted}", advice)
    yield _private(path)
    yield _clock(moment(last[-1].at) if last else None)


def _private(path: Path) -> Check:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        return Check("permissions", "warn", f"{mode:04o}: others may read the log", f"chmod 600 {path}")
    return Check("permissions", "ok", f"{mode:04o}")


def _clock(last: datetime | None) -> Check:
    now = datetime.now(UTC)
    if last is not None and (last - now).total_seconds() > CLOCK_SLACK_S:
        return Check("clock", "fail", f"it is {iso(now)}, the log's last record is of {iso(last)}", "set the clock")
    return Check("clock", "ok", iso(now))


def _writer(path: Path) -> Check:
    holder = read_holder(path)
    if not _is_locked(path):
        return Check("writer", "ok", "none")
    if holder is None:
        return Check("writer", "warn", "another process, which does not say who it is", "reading works all the same")
    since = iso(moment(holder.since))
    return Check(
        "writer", "warn", f"process {holder.pid} on {holder.host} since {since}", "reading works; writing must wait"
    )


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _disk(path: Path) -> Check:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        return Check("disk", "fail", f"{path.parent}: {error.strerror}", "create the directory, or name another --db")
    verdict: Verdict = "fail" if free < LITTLE_BYTES else "warn" if free < ENOUGH_BYTES else "ok"
    return Check("disk", verdict, f"{free / (1 << 30):.1f} GiB free", "" if verdict == "ok" else "make room")


def _sync(path: Path) -> Check:
    try:
        times = sorted(_sync_times(path.parent))
    except OSError as error:
        return Check("sync", "fail", f"{path.parent} cannot be written: {error.strerror}", "make it writable")
    median = statistics.median(times)
    found = f"{median:.2f} ms, at most {times[-1]:.2f} ms ({SYNCS} times)"
    if median > SLOW_SYNC_MS:
        return Check("sync", "warn", found, "each commit waits for one: put the log on a faster disk")
    return Check("sync", "ok", found)


def _sync_times(directory: Path) -> Iterator[float]:
    with tempfile.TemporaryFile(dir=directory, prefix=".perdure-doctor-") as file:
        for _ in range(SYNCS):
            file.write(bytes(4_096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            yield (time.perf_counter() - began) * 1_000


def _credentials(config: Config) -> Iterator[Check]:
    resolve = Resolver(config)
    for provider in ACCOUNTS:
        names = list(config.providers.get(provider, ProviderConfig()).credentials) or ["default"]
        for name in names:
            yield _credential(resolve, provider, name)


def _credential(resolve: Resolver, provider: str, name: str) -> Check:
    try:
        address = resolve(Lane("", provider, name, "batch")).base_url
    except CredentialMissing as missing:
        return Check(f"credential {provider}/{name}", "warn", str(missing), "batches there wait until it is set")
    return Check(f"credential {provider}/{name}", "ok", f"is here, for {address}")
