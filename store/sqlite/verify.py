"""Verification: is this log what was written, and do its rows say what its events say?

Two passes over one snapshot, both in bounded memory. The first goes through the commits from the first record on and
computes the chain anew; the second folds each actor and compares its row, items and blob references with what the fold
says. What the chain cannot see is a tail that was cut off together with its commits: give `verify` a head that was kept
elsewhere (`Verified.head` of an earlier run) and it proves that the log still contains it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from perdure.events.errors import Corrupt
from perdure.store.disk import Disk, ThreadDisk
from perdure.store.records import ActorRow, Claim, CostRow, ItemRow, Standing
from perdure.store.replay import CountsAnomalies, Foldable, KeepsSnapshots, by_kind
from perdure.store.sqlite.chain import GENESIS, link
from perdure.store.sqlite.connections import Connections
from perdure.store.sqlite.faults import is_damage
from perdure.store.sqlite.rows import STREAM_COLUMNS, actor_row
from perdure.store.sqlite.schema import has_costs, has_snapshots

FAULTS_KEPT: Final = 100
"""How many faults are described; all are counted."""

_Found: TypeAlias = tuple[int, str | None, str, str, int, str | None, int, int, str, str, str, str | None, bytes]
"""A `ChainRecord` as it was found: actor and type are None where their rows are gone."""

_STEP: Final = 1_000
"""Records, or actors, between two reports of progress."""


class Fault(Struct, frozen=True):
    """Something that is wrong. `position`, `actor` and `version` name the record, as far as it can be told."""

    reason: str
    position: int | None = None
    actor: str | None = None
    version: int | None = None


class Progress(Struct, frozen=True):
    """How far a verification is: records of the chain, then actors folded."""

    phase: Literal["chain", "fold"]
    done: int
    total: int


class Verified(Struct, frozen=True, kw_only=True):
    """What a verification found.

    `head` is `<position>:<hash in hexadecimal>` of the last commit, `0:` for an empty log. `outdated` counts rows that
    were written under another fold number and are therefore not compared, `anomalies` the events that folds could not
    place, `unfolded` the actors of each kind that nothing here folds. `faults` holds the first `FAULTS_KEPT`.
    """

    head: str
    commits: int
    records: int
    actors: int
    items: int
    outdated: int
    anomalies: int
    unfolded: Mapping[str, int]
    faults: Sequence[Fault]
    fault_count: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault_count == 0

    def raise_if_bad(self) -> None:
        """Raises `Corrupt` that names the first bad record, if there is one."""
        if self.faults:
            first = self.faults[0]
            where = ", ".join(
                text
                for text, value in (
                    (f"position {first.position}", first.position),
                    (f"actor {first.actor}", first.actor),
                    (f"version {first.version}", first.version),
                )
                if value is not None
            )
            raise Corrupt(
                f"the log does not verify: {where or 'the file'}: {first.reason}; restore it from a copy",
                position=first.position,
                reason=first.reason,
            )


async def verify(
    connections: Connections,
    folds: Iterable[Foldable[Any]] = (),
    *,
    kept_head: str | None = None,
    disk: Disk | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Verified:
    """Runs `verify_steps` behind `disk`, one hop for each step, and gives its result."""
    hop = disk or ThreadDisk(1)
    steps = connections.iterate(partial(verify_steps, folds=folds, kept_head=kept_head))

    def step() -> Progress | Verified:
        try:
            return next(steps)
        except StopIteration as end:
            verified: Verified = end.value
            return verified

    try:
        while isinstance(said := await hop.run(step), Progress):
            if progress is not None:
                progress(said)
        return said
    finally:
        steps.close()


def verify_steps(
    connection: sqlite3.Connection, folds: Iterable[Foldable[Any]] = (), kept_head: str | None = None
) -> Generator[Progress, None, Verified]:
    """Verifies step by step on a connection that is inside a transaction; the generator's value is the result."""
    return (yield from _Verification(connection, by_kind(folds), kept_head).run())


class _Verification:
    """One run, with what it has found so far."""

    def __init__(
        self, connection: sqlite3.Connection, folds: Mapping[str, Foldable[Any]], kept_head: str | None
    ) -> None:
        self._connection = connection
        self._folds = folds
        self._kept_head = kept_head
        self._has_snapshots = has_snapshots(connection)
        self._has_costs = has_costs(connection)
        self._head = "0:"
        self._commits = self._records = self._actors = self._items = self._outdated = self._anomalies = 0
        self._unfolded: dict[str, int] = {}
        self._faults: list[Fault] = []
        self._fault_count = 0

    def run(self) -> Generator[Progress, None, Verified]:
        try:
            yield from self._chain()
            yield from self._fold()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._fault(f"SQLite cannot read the file: {error}")
        return Verified(
            head=self._head,
            commits=self._commits,
            records=self._records,
            actors=self._actors,
            items=self._items,
            outdated=self._outdated,
            anomalies=self._anomalies,
            unfolded=self._unfolded,
            faults=self._faults,
            fault_count=self._fault_count,
        )

    def _fault(
        self, reason: str, position: int | None = None, actor: str | None = None, version: int | None = None
    ) -> None:
        self._fault_count += 1
        if len(self._faults) < FAULTS_KEPT:
            self._faults.append(Fault(reason, position, actor, version))

    # ------------------------------------------------------------ the chain

    def _chain(self) -> Generator[Progress, None, None]:
        (total,) = self._connection.execute("SELECT count(*) FROM events").fetchone()
        kept_position, kept_hash = _parse_head(self._kept_head)
        previous, end, reported = GENESIS, 0, 0
        commits = self._connection.execute("SELECT first, last, at, hash FROM commits ORDER BY last")
        for first, last, at, stored in commits:
            if first != end + 1:
                self._stray(end + 1, first - 1, "between two commits")
            records = self._records_between(first, last)
            if link(previous, first, last, at, records) != stored:
                self._broken(first, last, records)
            previous, end = stored, last
            self._commits += 1
            self._records += len(records)
            if last == kept_position and stored.hex() != kept_hash:
                self._fault("the chain leads to another hash than the head that was kept: history was rewritten", last)
            if self._records - reported >= _STEP:
                reported = self._records
                yield Progress("chain", self._records, total)
        self._stray(end + 1, None, "after the last commit")
        if end:
            self._head = f"{end}:{previous.hex()}"
        self._judge_end(end, kept_position)

    def _judge_end(self, end: int, kept_position: int) -> None:
        if kept_position > end:
            self._fault(
                f"the log ends here, and a head was kept from position {kept_position}: its end is cut off", end
            )
        elif kept_position:
            found = self._connection.execute("SELECT 1 FROM commits WHERE last = ?", (kept_position,)).fetchone()
            if found is None:
                self._fault("the commit whose head was kept is not there: history was rewritten", kept_position)
        given = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        if given is not None and given[0] > end:
            self._fault(f"the log ends here, and position {given[0]} was given out once: its end is cut off", end)

    def _records_between(self, first: int, last: int) -> list[_Found]:
        return self._connection.execute(
            "SELECT e.position, s.actor, s.kind, s.tenant, e.version, t.name, e.schema, e.at, e.trace, e.causation, "
            "e.principal, e.key_id, CAST(e.payload AS BLOB) FROM events e LEFT JOIN streams s ON s.id = e.stream "
            "LEFT JOIN event_types t ON t.number = e.type WHERE e.position BETWEEN ? AND ? ORDER BY e.position",
            (first, last),
        ).fetchall()

    def _stray(self, first: int, last: int | None, where: str) -> None:
        """Records that no commit covers."""
        found = self._connection.execute(
            "SELECT e.position, s.actor, e.version FROM events e LEFT JOIN streams s ON s.id = e.stream "
            "WHERE e.position >= ? AND e.position <= ? ORDER BY e.position LIMIT 1",
            (first, (1 << 62) if last is None else last),
        ).fetchone()
        if found is not None:
            self._fault(f"a record that no commit wrote, {where}", *found)

    def _broken(self, first: int, last: int, records: Sequence[_Found]) -> None:
        """The hash of a commit does not fit. One hash cannot say which of its records it was; what is missing can."""
        expected = first
        for position, actor, _, _, version, event_type, *_ in records:
            if position != expected:
                break
            if actor is None or event_type is None:
                self._fault("the row of its actor or of its event type is missing", position, None, version)
                return
            expected += 1
        if expected <= last:
            self._fault(f"a record of the commit of positions {first} to {last} is missing", expected)
            return
        _, actor, _, _, version, *_ = records[0]
        which = "this record" if first == last else f"one of the records of positions {first} to {last}"
        self._fault(
            f"{which}, the commit's own row, or one before it was changed: the chain breaks here", first, actor, version
        )

    # ------------------------------------------------------------ the fold

    def _fold(self) -> Generator[Progress, None, None]:
        (total,) = self._connection.execute("SELECT count(*) FROM streams").fetchone()
        if total == 0:
            return
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(f"SELECT id, version, {STREAM_COLUMNS} FROM streams ORDER BY id")
            for stream, written_at, *fields in cursor:
                row = actor_row(tuple(fields))
                self._actors += 1
                fold = self._folds.get(row.kind)
                if fold is None:
                    self._unfolded[row.kind] = self._unfolded.get(row.kind, 0) + 1
                    self._count_versions(stream, row, written_at)
                else:
                    self._fold_actor(stream, row, fold, written_at)
                if self._actors % _STEP == 0:
                    yield Progress("fold", self._actors, total)

    def _events(self, stream: int) -> Iterator[tuple[int, int, int, bytes]]:
        return self._connection.execute(
            "SELECT position, version, at, CAST(payload AS BLOB) FROM events WHERE stream = ? ORDER BY version",
            (stream,),
        )

    def _count_versions(self, stream: int, row: ActorRow, written_at: int) -> None:
        lowest, highest, count = self._connection.execute(
            "SELECT min(version), max(version), count(*) FROM events WHERE stream = ?", (stream,)
        ).fetchone()
        if (highest or 0) < written_at or (count and highest - lowest + 1 != count):
            self._fault(f"the row was written at version {written_at}, there are {count} events", actor=row.actor)

    def _fold_actor(self, stream: int, row: ActorRow, fold: Foldable[Any], written_at: int) -> None:
        state = fold.initial(row.actor, row.tenant)
        items: dict[int, ItemRow] = {}
        references: dict[str, bool] = {}
        claims: list[Claim] = []
        costs: dict[int, CostRow] = {}
        folded = 0
        kept_at, kept = self._snapshot(stream, fold)
        for position, version, at, payload in self._events(stream):
            if version != folded + 1:
                self._fault(f"version {folded + 1} is missing before it", position, row.actor, version)
                return
            try:
                event = fold.codec.decode(payload)
            except Corrupt as error:
                self._fault(error.reason, position, row.actor, version)
                return
            state = fold.evolve(state, event, at)
            index = fold.index(event)
            for item in index.items:
                items[item.number] = _over(items.get(item.number), item)
            references.update(dict.fromkeys(index.references, True))
            references.update(dict.fromkeys(index.released, False))
            claims.extend(index.claims)
            if index.cost is not None:
                costs[position] = index.cost
            folded = version
            if version == kept_at and isinstance(fold, KeepsSnapshots) and fold.snapshot(state) != kept:
                self._fault("the snapshot says otherwise than the events up to it", position, row.actor, version)
        if folded < written_at:
            self._fault(f"the row was written at version {written_at}, the events end at {folded}", actor=row.actor)
            return
        if isinstance(fold, CountsAnomalies):
            self._anomalies += fold.anomalies(state)
        if row.standing.fold != fold.fold:
            self._outdated += 1
            return
        difference = _difference(row.standing, fold.standing(state))
        if difference:
            self._fault(f"the row says otherwise than its events: {difference}", actor=row.actor, version=folded)
        self._compare_items(stream, row, items)
        self._compare_references(stream, row, references)
        self._compare_claims(stream, row, claims)
        if self._has_costs:
            self._compare_costs(stream, row, costs)

    def _snapshot(self, stream: int, fold: Foldable[Any]) -> tuple[int, bytes]:
        """The version and payload of a stream's snapshot, if it is of today's fold; else version 0."""
        if not self._has_snapshots:
            return 0, b""
        found = self._connection.execute(
            "SELECT version, payload FROM snapshots WHERE stream = ? AND fold = ?", (stream, fold.fold)
        ).fetchone()
        return (0, b"") if found is None else (int(found[0]), bytes(found[1]))

    def _compare_items(self, stream: int, row: ActorRow, items: Mapping[int, ItemRow]) -> None:
        tags = "tags" if self._has_costs else "''"
        found = self._connection.execute(
            f'SELECT number, name, status, blob, "offset", length, {tags} FROM items WHERE stream = ? ORDER BY number',
            (stream,),
        )
        count = 0
        for fields in found:
            count += 1
            expected = items.get(fields[0])
            if not self._has_costs and expected is not None:
                expected = msgspec.structs.replace(expected, tags="")
            if expected != ItemRow(*fields):
                self._fault(f"item {fields[0]} says otherwise than the events", actor=row.actor)
                return
        self._items += count
        if count != len(items):
            self._fault(f"{count} items where the events give {len(items)}", actor=row.actor)

    def _compare_references(self, stream: int, row: ActorRow, references: Mapping[str, bool]) -> None:
        """`references`: every digest that the events name or release, with what the last of them said."""
        if not references:
            return
        found = {
            digest
            for (digest,) in self._connection.execute(
                "SELECT digest FROM blob_references WHERE stream = ? AND digest IN (SELECT value FROM json_each(?))",
                (stream, msgspec.json.encode(list(references)).decode()),
            )
        }
        missing = sum(named and digest not in found for digest, named in references.items())
        if missing:
            self._fault(f"{missing} blobs that events name are not referenced", actor=row.actor)
        kept = sum(not references[digest] for digest in found)
        if kept:
            self._fault(f"{kept} blobs that events release are still referenced", actor=row.actor)

    def _compare_claims(self, stream: int, row: ActorRow, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        wanted = msgspec.json.encode([claim.key for claim in claims]).decode()
        found = {
            Claim(key, number, digest)
            for key, number, digest in self._connection.execute(
                "SELECT key, number, digest FROM keys "
                "WHERE tenant = ? AND stream = ? AND key IN (SELECT value FROM json_each(?))",
                (row.tenant, stream, wanted),
            )
        }
        missing = [claim for claim in claims if claim not in found]
        if missing:
            self._fault(f"the key of item {missing[0].number} says otherwise than the events", actor=row.actor)

    def _compare_costs(self, stream: int, row: ActorRow, costs: Mapping[int, CostRow]) -> None:
        """`costs`: what the events say that something cost, by their positions."""
        found: dict[int, CostRow] = {}
        for position, *fields, lines in self._connection.execute(
            "SELECT position, provider, model, credential, tier, source, amount, requests, input_tokens, "
            "output_tokens, lines FROM costs WHERE stream = ?",
            (stream,),
        ):
            parts = self._connection.execute(
                "SELECT number, amount FROM line_costs WHERE position = ? ORDER BY number", (position,)
            ).fetchall()
            names = CostRow.__struct_fields__[: len(fields)]
            if len(parts) == lines:
                found[position] = CostRow(**dict(zip(names, fields, strict=True)), lines=parts)
        for position, cost in costs.items():
            if found.get(position) != msgspec.structs.replace(cost, lines=sorted(cost.lines)):
                self._fault("what it cost says otherwise than the event", position, row.actor)
                return
        if len(found) != len(costs):
            self._fault(f"{len(found)} costs where the events give {len(costs)}", actor=row.actor)


def _over(earlier: ItemRow | None, item: ItemRow) -> ItemRow:
    if earlier is None:
        return item
    return msgspec.structs.replace(item, name=item.name or earlier.name, tags=earlier.tags)


def _difference(found: Standing, expected: Standing) -> str:
    """What differs, in words. A due time may have been moved by a hint: only whether there is one is compared."""
    fields = [name for name in Standing.__struct_fields__ if name != "next_due"]
    parts = [
        f"{name} is {getattr(found, name)!r}, not {getattr(expected, name)!r}"
        for name in fields
        if getattr(found, name) != getattr(expected, name)
    ]
    if (found.next_due is None) != (expected.next_due is None):
        parts.append(f"next_due is {found.next_due}, not {expected.next_due}")
    return "; ".join(parts)


def _parse_head(head: str | None) -> tuple[int, str]:
    if not head or head == "0:":
        return 0, ""
    position, _, digest = head.partition(":")
    return int(position), digest
