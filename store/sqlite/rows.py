"""Between rows of SQLite and the structs of `perdure.store.records`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from perdure.events.event import Recorded
from perdure.store.records import ActorRow, ItemRow, Standing

StreamFields: TypeAlias = tuple[str, str, str, str | None, int, int, int, str, int, int | None, int, str, str, str, str]
StandingFields: TypeAlias = tuple[str, int, int | None, int, str, str, str, str]
DUE: Final = 2
PROGRESS: Final = 7
"""Places of `next_due` and `progress` in `StandingFields`."""

RecordFields: TypeAlias = tuple[int, str, str, str, int, str, int, int, str, str, str, str | None, bytes]
ItemFields: TypeAlias = tuple[int, str, str, str, int, int]

VERSION: Final = "coalesce((SELECT max(version) FROM events WHERE stream = id), version)"
"""The version of a row of `streams`: that of its last event, which may be later than the last write of the row."""

STREAM_COLUMNS: Final = (
    f"actor, kind, tenant, key, {VERSION}, created_at, "
    "coalesce((SELECT at FROM events WHERE stream = id ORDER BY version DESC LIMIT 1), updated_at), "
    'status, fold, next_due, terminal, provider, "group", tags, progress'
)
RECORD_COLUMNS: Final = (
    "e.position, s.actor, s.kind, s.tenant, e.version, t.name, e.schema, e.at, e.trace, e.causation, e.principal, "
    "e.key_id, CAST(e.payload AS BLOB)"
)
"""Payloads are TEXT in the file, so that SQL can look inside, and bytes in Python, so that nothing is decoded twice."""

RECORD_SOURCE: Final = "events e JOIN streams s ON s.id = e.stream JOIN event_types t ON t.number = e.type"
ITEM_COLUMNS: Final = 'number, name, status, blob, "offset", length'

_NO_TAGS: Final[Mapping[str, str]] = {}
_tags_decoder = msgspec.json.Decoder(dict[str, str])
_tags_encoder = msgspec.json.Encoder(order="sorted")


def encode_tags(tags: Mapping[str, str]) -> str:
    """`tags` as the JSON object of the `tags` column, empty for none."""
    return _tags_encoder.encode(tags).decode() if tags else ""


def actor_row(fields: StreamFields) -> ActorRow:
    """The row of `STREAM_COLUMNS`."""
    (
        actor,
        kind,
        tenant,
        key,
        version,
        created,
        updated,
        status,
        fold,
        due,
        terminal,
        provider,
        group,
        tags,
        progress,
    ) = fields
    standing = Standing(
        status=status,
        fold=fold,
        next_due=due,
        terminal=bool(terminal),
        provider=provider,
        group=group,
        tags=_tags_decoder.decode(tags) if tags else _NO_TAGS,
        progress=progress,
    )
    return ActorRow(
        actor=actor,
        kind=kind,
        tenant=tenant,
        key=key,
        version=version,
        created_at=created,
        updated_at=updated,
        standing=standing,
    )


def standing_fields(standing: Standing) -> StandingFields:
    """The columns from `status` to `progress`, in the order of the table."""
    return (
        standing.status,
        standing.fold,
        standing.next_due,
        int(standing.terminal),
        standing.provider,
        standing.group,
        encode_tags(standing.tags),
        standing.progress,
    )


def recorded(fields: RecordFields) -> Recorded:
    """The record of `RECORD_COLUMNS`."""
    return Recorded(*fields)


def item_row(fields: ItemFields) -> ItemRow:
    """The item of `ITEM_COLUMNS`."""
    return ItemRow(*fields)
