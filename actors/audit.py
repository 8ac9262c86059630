"""Audit: what the log says was spent. It only adds up what was recorded; nothing is priced again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from msgspec import Struct

from perdure.events.cost import dollars
from perdure.events.errors import InvalidRequest
from perdure.store.sqlite.costs import GROUPS, TAG, SpentRow, spent_by
from perdure.store.sqlite.reader import SqliteReader


class Spent(Struct, frozen=True, kw_only=True):
    """What one group cost. `group` is "" for what has no such key, tag or name.

    `requests` counts answers that were paid for, whether or not anybody still wanted them; `unpriced` those of them for
    which no price was known: they stand in `amount_usd` as nothing. Tokens are None where none were reported, and in
    groups by key or tag, in which lines of shared windows count for themselves.
    """

    group: str
    amount_usd: Decimal
    requests: int
    unpriced: int
    input_tokens: int | None
    output_tokens: int | None


class Costs(Struct, frozen=True, kw_only=True):
    """Costs by group, the dearest first, and together. `unpriced_models` are `provider/model`, by name."""

    groups: Sequence[Spent]
    amount_usd: Decimal
    requests: int
    unpriced: int
    unpriced_models: Sequence[str]


class Audit:
    """Questions to a log as a whole."""

    def __init__(self, log: SqliteReader) -> None:
        self._log = log

    async def costs(
        self, group_by: str = "provider", *, since: datetime | None = None, until: datetime | None = None
    ) -> Costs:
        """What was paid for from `since` on and before `until`, as far as it was recorded; everything by default.

        `group_by`: `provider`, `model`, `credential`, `tier`, `source`, `tenant`, `key`, `kind`, `operation`, `day`
        (UTC) or `tag:NAME`. Raises `InvalidRequest` for another word, and for a time without a time zone.
        """
        if group_by not in (*GROUPS, "key") and not (group_by.startswith(TAG) and len(group_by) > len(TAG)):
            allowed = ", ".join([*GROUPS, "key"])
            raise InvalidRequest(
                f"costs cannot be grouped by {group_by!r}: one of {allowed} or tag:NAME",
                field="group_by",
                value=group_by,
            )
        first, end = _us(since, "since"), _us(until, "until")
        rows = await self._log.read(partial(spent_by, group_by=group_by, since=first, until=end))
        return Costs(
            groups=[_spent(row) for row in rows],
            amount_usd=dollars(sum(row.amount for row in rows)),
            requests=sum(row.requests for row in rows),
            unpriced=sum(row.unpriced for row in rows),
            unpriced_models=sorted({model for row in rows for model in row.unpriced_models}),
        )


def _spent(row: SpentRow) -> Spent:
    return Spent(
        group=row.group,
        amount_usd=dollars(row.amount),
        requests=row.requests,
        unpriced=row.unpriced,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
    )


def _us(moment: datetime | None, field: str) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidRequest(f"{field} has no time zone: give it one, such as datetime.UTC", field=field)
    return round(moment.timestamp() * 1_000_000)
