"""Batches as commands see them: found by id or key, and as rows with their parts. Only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from perdure.actors.batch.state import BatchState, PartState
from perdure.actors.batch.views import BatchView
from perdure.actors.service import Reader, Service
from perdure.actors.views import View, moment
from perdure.adapters.cli.output import Column, Row
from perdure.events.errors import NotFound

PART_COLUMNS: Final = [
    Column("part"),
    Column("phase"),
    Column("lines"),
    Column("round"),
    Column("provider_batch", "batch there"),
    Column("provider_status", "status there"),
    Column("completed", "ok there"),
    Column("failed", "failed there"),
    Column("submitted_at", "submitted"),
    Column("overdue_since", "overdue"),
    Column("trouble"),
]


async def find_batch(log: Reader | Service, name: str) -> BatchView:
    """The batch with this id or key. Raises `NotFound`, also for what is no batch."""
    view: View[Any] | None
    try:
        view = await log.get(name)
    except NotFound:
        view = await log.find(name)
    if view is None:
        raise NotFound(
            f"no batch has the id or key {name[:80]!r}: 'perdure batches list' shows what there is", id=name[:80]
        )
    if not isinstance(view, BatchView):
        raise NotFound(f"{view.id} is no batch but a {view.kind}: 'perdure ops show {view.id}' shows it", id=view.id)
    return view


async def row_of(reader: Reader, view: BatchView) -> Row:
    """A batch as a row: what was asked, how it stands, what it cost so far, and its parts.

    `lines` are all of them, `waiting` those without an answer or an error. `cost_usd` is None where nothing is on
    record, and `unpriced` counts the answers for which no price was known. `live`: its lines go one by one.
    """
    state: BatchState = await view.state()
    opened = state.opened
    spent = next((one for one in (await reader.audit.costs("operation")).groups if one.group == view.id), None)
    return {
        "id": view.id,
        "key": view.key,
        "status": view.status,
        "note": view.progress.note,
        "provider": view.provider,
        "endpoint": opened and opened.endpoint,
        "model": opened and opened.model,
        "credential": opened and opened.credential,
        "lines": state.lines,
        "ok": state.ok,
        "failed": state.failed,
        "waiting": state.open,
        "cost_usd": spent and f"{spent.amount_usd:f}",
        "unpriced": spent.unpriced if spent else 0,
        "overdue": any(part.overdue_at and part.phase == "submitted" for part in state.parts),
        "on_uncertain": opened and opened.on_uncertain,
        "resubmit": opened.resubmit if opened else 0,
        "created_at": view.created_at,
        "deadline_at": _moment(opened.deadline_at if opened else 0),
        "tags": dict(view.tags),
        "live": state.direct is not None,
        "parts": [_part_row(part) for part in state.parts],
    }


def alarms(row: Row) -> Sequence[str]:
    """What somebody should hear of: parts that their provider has not ended in time."""
    parts: Sequence[Row] = row["parts"] if row["overdue"] else ()
    return [
        f"{row['provider']} is late: it has not ended {part['provider_batch']} within its window (BatchOverdue); it is "
        "cancelled there, and what it has done by then is delivered"
        for part in parts
        if part["overdue_since"] and part["phase"] == "submitted"
    ]


def _part_row(part: PartState) -> Mapping[str, Any]:
    """A part as a row. `round` counts how often its unfinished lines were bought again, `deferrals` how often there was
    no room for it; `past_batches` are what it was at the provider before."""
    end = part.end
    return {
        "part": part.number,
        "phase": part.phase,
        "first": part.part.first,
        "lines": part.part.last - part.part.first + 1,
        "size_bytes": part.part.size_bytes,
        "provider_batch": part.provider_batch or None,
        "provider_status": (end.status if end is not None else part.status) or None,
        "total": part.total,
        "completed": part.completed,
        "failed": part.failed,
        "round": part.round,
        "deferrals": part.deferrals,
        "past_batches": part.past,
        "submitted_at": _moment(part.submitted_at),
        "overdue_since": _moment(part.overdue_at),
        "trouble": part.blocked or part.trouble or None,
    }


def _moment(at_us: int) -> datetime | None:
    return moment(at_us) if at_us else None
