"""What was spent, added up by SQL over the rows that are written with the events. Nothing is priced here.

A row of `costs` is what one event says. Where it is made up of lines of a shared window, each of which has a caller of
its own, `line_costs` has what each of them cost: keys and tags go by those, all else by the whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from perdure.store.sqlite.queries import snapshot
from perdure.store.sqlite.schema import has_costs

TAG: Final = "tag:"

GROUPS: Final[Mapping[str, str]] = {
    "provider": "c.provider",
    "model": "c.model",
    "credential": "c.credential",
    "tier": "c.tier",
    "source": "c.source",
    "tenant": "s.tenant",
    "kind": "s.kind",
    "operation": "s.actor",
    "day": "date(c.at / 1000000, 'unixepoch')",
}
"""What costs may be grouped by, besides `key` and `tag:NAME`."""

_UNPRICED: Final = "c.source = 'unknown'"
_WHOLE: Final = "costs c JOIN streams s ON s.id = c.stream"

_PARTS: Final = """(
        SELECT c.*, NULL AS number FROM costs c WHERE c.lines = 0
        UNION ALL
        SELECT c.position, c.stream, c.at, c.provider, c.model, c.credential, c.tier, c.source, l.amount, 1,
            NULL, NULL, c.lines, l.number
        FROM costs c JOIN line_costs l ON l.position = c.position
    ) c JOIN streams s ON s.id = c.stream"""
"""The same costs with each line of a shared window by itself; the tokens of a line are not kept apart."""

_BY_KEY: Final = f"{_PARTS} LEFT JOIN keys k ON k.stream = c.stream AND k.number = c.number"
_KEY: Final = "coalesce(k.key, iif(c.number IS NULL, s.key, NULL), '')"

_BY_TAG: Final = f"{_PARTS} LEFT JOIN items i ON i.stream = c.stream AND i.number = c.number"


def _tag(parameter: str) -> str:
    """The value of a tag: the line's own, or its operation's."""
    own = f"(SELECT t.value FROM json_each(iif(i.tags <> '', i.tags, '{{}}')) t WHERE t.key = {parameter})"
    shared = f"(SELECT t.value FROM json_each(iif(s.tags <> '', s.tags, '{{}}')) t WHERE t.key = {parameter})"
    return f"coalesce({own}, {shared}, '')"


class SpentRow(Struct, frozen=True):
    """What one group cost, in ticks of 1e-10 US dollars, for so many requests, of which `unpriced` had no price.

    `group` is "" for what has no such thing. Tokens are None where none were told, or not by the line.
    """

    group: str
    amount: int
    requests: int
    unpriced: int
    input_tokens: int | None
    output_tokens: int | None
    unpriced_models: list[str]


class Scope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which costs are meant: all that fit every field that is set. `tag` is a name and the value it must have."""

    provider: str | None = None
    model: str | None = None
    credential: str | None = None
    tenant: str | None = None
    tag: tuple[str, str] | None = None


def spent_by(
    connection: sqlite3.Connection, group_by: str, *, since: int | None = None, until: int | None = None
) -> list[SpentRow]:
    """Costs recorded from `since` on and before `until` (µs since 1970 UTC), by one of `GROUPS`, `key` or `tag:NAME`.

    The dearest group comes first. Raises `KeyError` for another `group_by`.
    """
    values: dict[str, object] = {"since": since, "until": until}
    if group_by == "key":
        source, group = _BY_KEY, _KEY
    elif group_by.startswith(TAG):
        source, group = _BY_TAG, _tag(":tag")
        values["tag"] = group_by.removeprefix(TAG)
    else:
        source, group = _WHOLE, GROUPS[group_by]
    if not has_costs(connection):
        return []
    found = connection.execute(
        f"SELECT {group} AS grouped, sum(c.amount) AS spent, sum(c.requests), "
        f"coalesce(sum(c.requests) FILTER (WHERE {_UNPRICED}), 0), sum(c.input_tokens), sum(c.output_tokens), "
        f"json_group_array(DISTINCT c.provider || '/' || c.model) FILTER (WHERE {_UNPRICED}) "
        f"FROM {source} WHERE (:since IS NULL OR c.at >= :since) AND (:until IS NULL OR c.at < :until) "
        "GROUP BY grouped ORDER BY spent DESC, grouped",
        values,
    )
    return [
        SpentRow(grouped, amount, requests, unpriced, read, written, msgspec.json.decode(models, type=list[str]))
        for grouped, amount, requests, unpriced, read, written, models in found
    ]


def spent_in(connection: sqlite3.Connection, scope: Scope, *, after: int = 0) -> tuple[int, int]:
    """What a scope cost in ticks by events behind position `after`, and the last position that this takes in."""
    terms = ["c.position > :after"]
    values: dict[str, object] = {"after": after}
    source = _WHOLE
    columns = {"provider": "c.provider", "model": "c.model", "credential": "c.credential", "tenant": "s.tenant"}
    for name, column in columns.items():
        wanted = getattr(scope, name)
        if wanted is not None:
            terms.append(f"{column} = :{name}")
            values[name] = wanted
    if scope.tag is not None:
        source = _BY_TAG
        terms.append(f"{_tag(':tag')} = :tagged")
        values["tag"], values["tagged"] = scope.tag
    if not has_costs(connection):
        return 0, after
    with snapshot(connection):
        (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM costs").fetchone()
        (amount,) = connection.execute(
            f"SELECT coalesce(sum(c.amount), 0) FROM {source} WHERE {' AND '.join(terms)}", values
        ).fetchone()
    return amount, max(after, last)
