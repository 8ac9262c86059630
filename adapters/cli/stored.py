"""Files as the commands that only read find them: by id or key, beside whoever writes the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from perdure.actors.file.state import KIND, FileState, life_at
from perdure.actors.file.views import info_of, over
from perdure.actors.service import Reader, Service
from perdure.actors.views import View
from perdure.adapters.cli.output import Column, Row
from perdure.events.errors import NotFound
from perdure.events.files import FileInfo, ProviderCopy, RemoteOrphan, SweptOrphan
from perdure.events.ids import now_us

ENDS: Final = {"expired": "expired", "cancelled": "deleted"}
"""What the status of a file's row says of its life where that is over."""


class StoredFile(Struct, frozen=True):
    """A file: what is known of it, its `life` (`kept`, `expired` or `deleted`), the digest of its content."""

    info: FileInfo
    life: str
    key: str | None
    digest: str


COLUMNS: Final = [
    Column("id"),
    Column("filename"),
    Column("mime_type", "type"),
    Column("size_bytes", "bytes"),
    Column("status"),
    Column("expires_at", "expires"),
    Column("copies", "at", lambda copies: ", ".join(f"{copy['provider']} {copy['status']}" for copy in copies)),
    Column("created_at", "created"),
    Column("key"),
]
ORPHAN_COLUMNS: Final = [
    Column("id"),
    Column("filename"),
    Column("why"),
    Column("size_bytes", "bytes"),
    Column("created_at", "created"),
]
SWEPT_COLUMNS: Final = [*ORPHAN_COLUMNS, Column("status"), Column("reason")]
COPY_COLUMNS: Final = [Column(name) for name in ProviderCopy.__struct_fields__]


async def find(log: Reader | Service, name: str) -> StoredFile:
    """The file with this id or key. Raises `NotFound`, and `FileExpired` or `FileDeleted` for one that is over."""
    file = await find_any(log, name)
    if file.life != "kept":
        raise over(file.info.id, file.life)
    return file


async def find_any(log: Reader | Service, name: str) -> StoredFile:
    """The file with this id or key, whatever its life. Raises `NotFound`."""
    view: View[Any] | None
    try:
        view = await log.get(name)
    except NotFound:
        view = await log.find(name, kind=KIND)
    file = None if view is None or view.kind != KIND else await look_at(view)
    if file is None:
        raise NotFound(
            f"no file has the id or key {name[:80]!r}: 'perdure files list' shows what there is", id=name[:80]
        )
    return file


async def listed(
    reader: Reader, *, status: str, provider: str | None, tag: tuple[str, str] | None
) -> AsyncGenerator[StoredFile]:
    """The files whose life is `status`, newest first, that have been wanted at `provider`."""
    async with aclosing(reader.list(kind=KIND, tag=tag)) as summaries:
        async for summary in summaries:
            if ENDS.get(summary.status, status) != status:
                continue
            file = await look_at(await reader.get(summary.id))
            if file is None or file.life != status:
                continue
            if provider is None or any(copy.provider == provider for copy in file.info.copies):
                yield file


async def look_at(view: View[Any]) -> StoredFile | None:
    """The file behind `view`, whatever its life; None where it was never created."""
    state: FileState = await view.state()
    if state.created is None:
        return None
    now = now_us()
    return StoredFile(info_of(state, now), life_at(state, now), view.key, state.created.blob)


def row_of(file: StoredFile) -> Row:
    """A file as a row."""
    fields: Mapping[str, Any] = msgspec.to_builtins(file.info, builtin_types=(datetime,))
    return {"id": file.info.id, "key": file.key, "status": file.life, **fields}


def orphan_row(orphan: RemoteOrphan) -> Row:
    """A file at a provider that nothing needs, as a row."""
    fields: Mapping[str, Any] = msgspec.to_builtins(orphan, builtin_types=(datetime,))
    return fields


def swept_row(swept: SweptOrphan) -> Row:
    """What became of one, as a row."""
    status = "deleted" if swept.deleted else "left"
    return {**orphan_row(swept.orphan), "status": status, "reason": swept.reason, "at": swept.at}
