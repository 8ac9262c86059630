"""What the reading commands share: finding an operation by id or key, and rows for operations and records."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from typing import Any, cast

import click
import msgspec
from msgspec import Raw

from perdure.actors.service import Reader, Service
from perdure.actors.views import Summary, View, moment
from perdure.adapters.cli.output import Column, Row
from perdure.events.errors import NotFound
from perdure.events.event import Recorded

RECORD_COLUMNS = [
    Column("position"),
    Column("at"),
    Column("id"),
    Column("version"),
    Column("type"),
    Column("payload", "says", lambda payload: brief(bytes(payload))),
]
SUMMARY_COLUMNS = [
    Column("id"),
    Column("kind"),
    Column("status"),
    Column("progress", "done", lambda progress: f"{progress['done']}/{progress['total']}"),
    Column("provider"),
    Column("created_at", "created"),
    Column("updated_at", "updated"),
    Column("key"),
]
LONGEST_BRIEF = 100


async def look_up(log: Reader | Service, name: str) -> View[Any]:
    """The operation with this id or this key. Raises `NotFound`."""
    try:
        return await log.get(name)
    except NotFound:
        view = await log.find(name)
    if view is None:
        raise NotFound(
            f"no operation has the id or key {name[:80]!r}: 'perdure ops list' shows what there is", id=name[:80]
        )
    return view


def summary_row(summary: Summary) -> Row:
    """An operation as a row."""
    row: Row = msgspec.to_builtins(summary, builtin_types=(datetime,))
    return row


def record_row(record: Recorded) -> Row:
    """A record of the log as a row; `payload` is the event as it is stored."""
    return {
        "position": record.position,
        "id": record.actor,
        "kind": record.kind,
        "tenant": record.tenant,
        "version": record.version,
        "type": record.type,
        "schema": record.schema,
        "at": moment(record.at),
        "trace": record.trace,
        "causation": record.causation,
        "principal": record.principal,
        "key_id": record.key_id,
        "payload": Raw(record.payload),
    }


def brief(payload: bytes) -> str:
    """The short values of an event, for people: what is long stands in the other formats."""
    parts: list[str] = []
    fields: Mapping[str, Any] = msgspec.json.decode(payload)
    for name, value in fields.items():
        if isinstance(value, (list, dict)):
            parts.append(f"{name}=({len(cast('Sized', value))})")
        elif name != "event" and len(str(value)) <= LONGEST_BRIEF:
            parts.append(f"{name}={value}")
    return " ".join(parts)


class Moment(click.ParamType[datetime]):
    """A time as ISO 8601; UTC where it does not say."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time, in UTC."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: write it like 2026-11-20T18:30:00Z", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
