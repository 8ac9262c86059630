"""The rows of one transaction: what a group of appends adds, gathered first and written with few statements.

A `Ledger` knows the heads of streams and the numbers of event types that its transaction needs, hands out positions and
links the commit into the chain. It neither begins nor ends a transaction and decides nothing about failures; what it
remembers is true only once that transaction is committed, so its owner calls `forget` after any other end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from perdure.events.errors import VersionConflict
from perdure.events.event import EncodedEvent, Origin
from perdure.store.records import Append, Appended, CostRow, Holder, ItemRow, KeyTaken, Standing
from perdure.store.sqlite.chain import GENESIS, ChainRecord, link
from perdure.store.sqlite.rows import (
    DUE,
    PROGRESS,
    STREAM_COLUMNS,
    StandingFields,
    StreamFields,
    actor_row,
    standing_fields,
)

_Column: TypeAlias = int | str | bytes | None

Answer = Appended | VersionConflict | KeyTaken

HEADS_KEPT: Final = 20_000
"""How many streams' heads stay in memory (some 0.5 KiB each); the others are read from their row when needed."""

_ROWS_AT_ONCE: Final = (64, 8, 1)
"""Rows in one statement, as many as there are: little more than half as dear a row as one by one, and the lock of the
interpreter changes hands that much less often."""

_Statement: TypeAlias = Sequence[tuple[int, str]]
"""How many values one call takes and its text, for each of `_ROWS_AT_ONCE`."""


def _over_rows(statement: str, row: str) -> _Statement:
    """A statement with rows of values where `{}` stands."""
    return [(rows * row.count("?"), statement.format(", ".join([row] * rows))) for rows in _ROWS_AT_ONCE]


_INSERT_EVENTS: Final = _over_rows("INSERT INTO events VALUES {}", "(?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)")
_INSERT_STREAMS: Final = _over_rows("INSERT INTO streams VALUES {}", f"({', '.join('?' * 16)})")
_PROGRESS_ROWS: Final = _over_rows(
    "UPDATE streams SET version = moved.column1, updated_at = moved.column2, progress = moved.column3 "
    "FROM (VALUES {}) moved WHERE streams.id = moved.column4",
    "(?, ?, ?, ?)",
)
_POSTPONE_ROW: Final = "UPDATE streams SET version = ?, updated_at = ?, progress = ?, next_due = ? WHERE id = ?"
_RESTATE_ROW: Final = (
    'UPDATE streams SET status = ?, fold = ?, next_due = ?, terminal = ?, provider = ?, "group" = ?, tags = ?, '
    "progress = ?, version = ?, updated_at = ?, key = ? WHERE id = ?"
)
_UPSERT_ITEM: Final = (
    'INSERT INTO items (stream, number, name, status, blob, "offset", length, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?) '
    "ON CONFLICT (stream, number) DO UPDATE SET "
    'status = excluded.status, blob = excluded.blob, "offset" = excluded."offset", length = excluded.length'
)
_INSERT_COST: Final = f"INSERT INTO costs VALUES ({', '.join('?' * 13)})"
_UPSERT_NAMED_ITEM: Final = _UPSERT_ITEM + ", name = excluded.name"


class Head:
    """What the writer remembers of a stream: its number, version, and the actor row as it stands in the file."""

    __slots__ = (
        "actor",
        "created_at",
        "key",
        "key_moved",
        "kind",
        "said",
        "standing",
        "stream",
        "tenant",
        "updated_at",
        "version",
    )

    def __init__(self, stream: int, actor: str, kind: str, tenant: str, key: str | None, version: int) -> None:
        self.stream = stream
        self.actor = actor
        self.kind = kind
        self.tenant = tenant
        self.key = key
        self.key_moved = False
        self.version = version
        self.standing: StandingFields | None = None
        """The columns as they stand in the file, by value; None for a stream whose row is not written yet."""
        self.said: Standing | None = None
        """What `standing` was made from, if nobody can change it afterwards: it has no mapping in it."""
        self.created_at = 0
        self.updated_at = 0


class Ledger:
    """Gathers and writes the rows of one transaction at a time on a connection that it does not own."""

    def __init__(self, connection: sqlite3.Connection, build: str) -> None:
        self._connection = connection
        self._build = build
        self._fresh = False
        self._data_version = -1
        self._heads: dict[str, Head] = {}
        self._types: dict[str, dict[str, tuple[int, int]]] = {}
        self._type_count = 0
        self._last_position = 0
        self._last_stream = 0
        self._chain = GENESIS
        self._clear()

    def _clear(self) -> None:
        self._next_position = self._last_position + 1
        self._events: list[_Column] = []
        """The columns of the gathered events, row after row."""
        self._records: list[ChainRecord] = []
        self._touched: dict[Head, Standing] = {}
        self._items: dict[tuple[int, int], ItemRow] = {}
        self._snapshots: list[tuple[int, int, int, bytes]] = []
        self._costs: list[tuple[_Column, ...]] = []
        self._line_costs: list[tuple[int, int, int]] = []
        self._absent: set[str] = set()

    # ------------------------------------------------------------ what is remembered

    def forget(self) -> None:
        """Drops all that is remembered: the transaction was not committed."""
        self._fresh = False

    def refresh(self) -> None:
        """Inside a transaction: reads again what is remembered, if it was dropped or if anybody else has written.

        Nobody else should: the lock file is ours. But whoever does, with whatever tool, must not make the chain fork.
        """
        data_version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if self._fresh and data_version == self._data_version:
            return
        self._data_version = data_version
        self._heads.clear()
        self._types.clear()
        execute = self._connection.execute
        for number, kind, name, schema in execute("SELECT number, kind, name, schema FROM event_types"):
            self._types.setdefault(kind, {})[name] = (number, schema)
        self._type_count = execute("SELECT coalesce(max(number), 0) FROM event_types").fetchone()[0]
        # The sequence remembers the highest position ever given out, also where the newest rows were taken away.
        self._last_position = execute(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'),"
            " (SELECT coalesce(max(last), 0) FROM commits))"
        ).fetchone()[0]
        self._last_stream = execute("SELECT coalesce(max(id), 0) FROM streams").fetchone()[0]
        row = execute("SELECT hash FROM commits ORDER BY last DESC LIMIT 1").fetchone()
        self._chain = GENESIS if row is None else row[0]
        self._clear()
        self._fresh = True

    # ------------------------------------------------------------ gathering

    def meet(self, actors: Iterable[str]) -> None:
        """Reads the heads of those actors that are not remembered, in one go: call it before `add` of a group."""
        unknown = [actor for actor in actors if actor not in self._heads]
        if not unknown:
            return
        found = self._connection.execute(
            f"SELECT id, {STREAM_COLUMNS} FROM streams WHERE actor IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(unknown).decode(),),
        )
        for stream, *fields in found:
            self._remember(stream, tuple(fields))
        self._absent.update(actor for actor in unknown if actor not in self._heads)

    def add(self, append: Append) -> Answer:
        """Judges one append on what is committed and gathered so far, and gathers its rows if it is accepted."""
        head = self.head(append.actor)
        found = 0 if head is None else head.version
        if found != append.expected_version:
            return VersionConflict(
                f"{append.actor} is at version {found}, its writer expected {append.expected_version}: fold it again",
                actor=append.actor,
                expected=append.expected_version,
                found=found,
            )
        if head is None:
            head = self._new_head(append.actor, append.kind, append.tenant, append.events[0].at)
        if append.key is not None or append.claims:
            taken = self._claim(head, append)
            if taken is not None:
                if head.standing is None:
                    del self._heads[append.actor]
                    self._absent.add(append.actor)
                return taken
        if append.release_key and head.key is not None:
            self._connection.execute("DELETE FROM keys WHERE tenant = ? AND key = ?", (head.tenant, head.key))
            head.key, head.key_moved = None, True
        first = self._next_position
        self.add_events(head, append.events, append.origin)
        self._touched[head] = append.standing
        for place, cost in append.costs:
            self._add_cost(head.stream, first + place, append.events[place].at, cost)
        if append.items:
            self._add_items(head.stream, append.items)
        if append.snapshot is not None:
            self._snapshots.append((head.stream, head.version, append.standing.fold, append.snapshot))
        if append.references:
            self._connection.executemany(
                "INSERT OR IGNORE INTO blob_references VALUES (?, ?)",
                [(digest, head.stream) for digest in append.references],
            )
        if append.known_as:
            self._connection.executemany(
                "INSERT OR IGNORE INTO known_as VALUES (?, ?)", [(name, head.stream) for name in append.known_as]
            )
        if append.released:
            self._connection.executemany(
                "DELETE FROM blob_references WHERE digest = ? AND stream = ?",
                [(digest, head.stream) for digest in append.released],
            )
        return Appended(self._next_position - 1, head.version)

    def add_events(self, head: Head, events: Sequence[EncodedEvent], origin: Origin) -> None:
        """Gathers events of one stream at the versions after its head."""
        actor, kind, tenant, stream, version = head.actor, head.kind, head.tenant, head.stream, head.version
        trace, causation, principal = origin.trace, origin.causation, origin.principal
        position = self._next_position
        gather = self._events.extend
        types = self._types.get(kind)
        if types is None:
            types = self._types[kind] = {}
        for event in events:
            version += 1
            name, schema, at, payload = event.type, event.schema, event.at, event.payload
            known = types.get(name)
            number = self._learn(kind, name, schema) if known is None or known[1] < schema else known[0]
            gather((position, stream, version, number, schema, at, trace, causation, principal, _as_text(payload)))
            self._records.append(
                (position, actor, kind, tenant, version, name, schema, at, trace, causation, principal, None, payload)
            )
            position += 1
        self._next_position = position
        head.version = version
        head.updated_at = events[-1].at

    def place(self, actor: str, kind: str, version: int, event: EncodedEvent, standing: Standing) -> int:
        """Gathers one event at a version of the caller's choice and gives its position.

        Whether the version is taken is judged by the file when it is written (`sqlite3.IntegrityError`).
        """
        head = self.head(actor)
        if head is None:
            head = self._new_head(actor, kind, "", event.at)
        highest = head.version if head in self._touched or head.standing is not None else version
        head.version = version - 1
        self.add_events(head, (event,), Origin())
        head.version = max(highest, version)
        self._touched[head] = standing
        return self._next_position - 1

    def head(self, actor: str) -> Head | None:
        """The head of an actor's stream as gathered so far, or None where there is no such actor."""
        head = self._heads.get(actor)
        if head is None and actor not in self._absent:
            self.meet((actor,))
            head = self._heads.get(actor)
        return head

    # ------------------------------------------------------------ writing

    def write(self, at: int) -> bool:
        """Writes what was gathered, and the commit's row dated `at`. False when there was nothing to write."""
        if not self._touched and not self._events:
            return False
        executemany = self._connection.executemany
        self._write_streams()
        self._write_rows(_INSERT_EVENTS, self._events)
        if self._items:
            rows = [
                (stream, number, item.name, item.status, item.blob, item.offset, item.length, item.tags)
                for (stream, number), item in self._items.items()
            ]
            executemany(_UPSERT_ITEM, [row for row in rows if not row[2]])
            executemany(_UPSERT_NAMED_ITEM, [row for row in rows if row[2]])
        if self._costs:
            executemany(_INSERT_COST, self._costs)
            executemany("INSERT INTO line_costs VALUES (?, ?, ?)", self._line_costs)
        if self._snapshots:
            executemany("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", self._snapshots)
        if self._records:
            first, last = self._last_position + 1, self._next_position - 1
            self._chain = link(self._chain, first, last, at, self._records)
            self._connection.execute("INSERT INTO commits VALUES (?, ?, ?, ?)", (last, first, at, self._chain))
            self._last_position = last
        self._clear()
        return True

    def move_due(self, hints: Mapping[str, int]) -> None:
        """Moves due times. An actor that asks for nothing has none, and a hint gives it none."""
        for actor in hints:
            self._heads.pop(actor, None)  # its row is about to say something else
        self._connection.executemany(
            "UPDATE streams SET next_due = ? WHERE actor = ? AND next_due IS NOT NULL",
            [(due, actor) for actor, due in hints.items()],
        )

    def restate(self, rows: Mapping[str, Standing]) -> None:
        """Rewrites the standing of actors at their present version; actors that do not exist are left out."""
        for actor, standing in rows.items():
            head = self.head(actor)
            if head is not None:
                head.standing, head.said = standing_fields(standing), None
                self._connection.execute(
                    'UPDATE streams SET status = ?, fold = ?, next_due = ?, terminal = ?, provider = ?, "group" = ?, '
                    "tags = ?, progress = ? WHERE id = ?",
                    (*head.standing, head.stream),
                )

    # ------------------------------------------------------------ helpers

    def _remember(self, stream: int, fields: StreamFields) -> None:
        read = actor_row(fields)
        head = Head(stream, read.actor, read.kind, read.tenant, read.key, read.version)
        head.standing = standing_fields(read.standing)
        self._make_room()
        self._heads[read.actor] = head

    def _new_head(self, actor: str, kind: str, tenant: str, at: int) -> Head:
        self._last_stream += 1
        head = Head(self._last_stream, actor, kind, tenant, None, 0)
        head.created_at = at
        self._make_room()
        self._heads[actor] = head
        self._absent.discard(actor)
        return head

    def _make_room(self) -> None:
        """Drops the quarter that was met first, once there are too many; not what this transaction has changed."""
        if len(self._heads) >= HEADS_KEPT:
            for actor in list(self._heads)[: HEADS_KEPT // 4]:
                if self._heads[actor] not in self._touched:
                    del self._heads[actor]

    def _claim(self, head: Head, append: Append) -> KeyTaken | None:
        """Claims the keys of an append for its stream, all or none; says which one is taken, None if all are ours."""
        wanted: dict[str, tuple[int | None, str]] = {claim.key: (claim.number, claim.digest) for claim in append.claims}
        if append.key is not None and append.key != head.key:
            wanted[append.key] = (None, "")
        if not wanted:
            return None
        found = self._connection.execute(
            "SELECT key, stream, number, digest FROM keys WHERE tenant = ? AND key IN (SELECT value FROM json_each(?))",
            (head.tenant, msgspec.json.encode(list(wanted)).decode()),
        ).fetchone()
        if found is not None:
            key, stream, number, digest = found
            return KeyTaken(key, Holder(self._actor_of(stream), number, digest))
        self._connection.executemany(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?)",
            [(head.tenant, key, head.stream, *item) for key, item in wanted.items()],
        )
        if append.key is not None and append.key != head.key:
            head.key, head.key_moved = append.key, True
        return None

    def _actor_of(self, stream: int) -> str:
        for gathered in self._touched:
            if gathered.stream == stream:
                return gathered.actor
        (actor,) = self._connection.execute("SELECT actor FROM streams WHERE id = ?", (stream,)).fetchone()
        return str(actor)

    def _add_items(self, stream: int, items: Sequence[ItemRow]) -> None:
        gathered = self._items
        for item in items:
            place = (stream, item.number)
            if not item.name:
                earlier = gathered.get(place)
                if earlier is not None and (earlier.name or earlier.tags):
                    item = ItemRow(
                        item.number, earlier.name, item.status, item.blob, item.offset, item.length, earlier.tags
                    )
            gathered[place] = item

    def _add_cost(self, stream: int, position: int, at: int, cost: CostRow) -> None:
        self._costs.append(
            (
                position,
                stream,
                at,
                cost.provider,
                cost.model,
                cost.credential,
                cost.tier,
                cost.source,
                cost.amount,
                cost.requests,
                cost.input_tokens,
                cost.output_tokens,
                len(cost.lines),
            )
        )
        self._line_costs.extend((position, number, amount) for number, amount in cost.lines)

    def _learn(self, kind: str, name: str, schema: int) -> int:
        """Records an event type, or a newer version of one, before the first event of it is written."""
        known = self._types[kind].get(name)
        if known is None:
            self._type_count += 1
            number = self._type_count
            self._connection.execute(
                "INSERT INTO event_types VALUES (?, ?, ?, ?, ?)", (number, kind, name, schema, self._build)
            )
        else:
            number = known[0]
            self._connection.execute(
                "UPDATE event_types SET schema = ?, build = ? WHERE number = ?", (schema, self._build, number)
            )
        self._types[kind][name] = (number, schema)
        return number

    def _write_rows(self, statement: _Statement, values: list[_Column]) -> None:
        """Runs a statement over all rows, whose values stand one behind the other, with as few calls as it can."""
        execute = self._connection.execute
        start = 0
        for size, text in statement:
            while len(values) - start >= size:
                execute(text, values[start : start + size])
                start += size

    def _write_streams(self) -> None:
        """One row write at most for each actor, whatever it appended, and none where its standing is the same: readers
        take version and time from the last event. Indexed columns are left alone where they did not change: SQLite
        rewrites the index entry of every column that an UPDATE names."""
        created: list[_Column] = []
        progressed: list[_Column] = []
        postponed: list[tuple[int | str | None, ...]] = []
        restated: list[tuple[int | str | None, ...]] = []
        for head, standing in self._touched.items():
            if standing == head.said and not head.key_moved:
                continue
            was, now = head.standing, standing_fields(standing)
            if was is None:
                created.extend(
                    (
                        head.stream,
                        head.actor,
                        head.kind,
                        head.tenant,
                        head.key,
                        head.version,
                        head.created_at,
                        head.updated_at,
                        *now,
                    )
                )
            elif head.key_moved or was[:DUE] != now[:DUE] or was[DUE + 1 : PROGRESS] != now[DUE + 1 : PROGRESS]:
                restated.append((*now, head.version, head.updated_at, head.key, head.stream))
            elif was[DUE] != now[DUE]:
                postponed.append((head.version, head.updated_at, now[PROGRESS], now[DUE], head.stream))
            elif was[PROGRESS] != now[PROGRESS]:
                progressed.extend((head.version, head.updated_at, now[PROGRESS], head.stream))
            head.standing, head.key_moved = now, False
            head.said = None if standing.tags else standing
        executemany = self._connection.executemany
        if created:
            self._write_rows(_INSERT_STREAMS, created)
        if progressed:
            self._write_rows(_PROGRESS_ROWS, progressed)
        if postponed:
            executemany(_POSTPONE_ROW, postponed)
        if restated:
            executemany(_RESTATE_ROW, restated)


def _as_text(payload: bytes) -> str | bytes:
    """A payload for its TEXT column; a cast in the statement costs more. What is no UTF-8 stays as it is."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload
