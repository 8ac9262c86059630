"""The tables of a log in SQLite, and how a connection to it is set up.

The one invariant: tables and columns are only added, each addition and each wider meaning of a column raises
`SCHEMA_VERSION`, and a build opens no file whose version is above its own.

Positions are an explicit AUTOINCREMENT key, because SQLite gives implicit row ids out again after the newest rows were
erased, and a follower that remembers a position would then skip or repeat. Actors and event types appear in `events` as
small integers: text keys make rows and their index about twice as large and appends half as fast.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

APPLICATION_ID: Final = 0x70726472
"""`prdr`, at byte 68 of the file header: what tells a log from any other SQLite database."""

SCHEMA_VERSION: Final = 4
"""At byte 60 of the file header (`PRAGMA user_version`). 2: a key may belong to one item of an actor. 3: an event that
leaves the standing alone does not write its actor's row, whose version may therefore be behind the actor's. 4: items
may have tags, and what events say that something cost has rows of its own."""

COSTS: Final = (
    # One row for each event that says what something cost, in ticks of 1e-10 US dollars; `lines` counts the rows of
    # `line_costs` that it is made up of.
    """CREATE TABLE costs (
        position INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        at INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        credential TEXT NOT NULL,
        tier TEXT NOT NULL,
        source TEXT NOT NULL,
        amount INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        input_tokens INTEGER,
        output_tokens INTEGER,
        lines INTEGER NOT NULL
    )""",
    "CREATE INDEX costs_by_stream ON costs (stream)",
    """CREATE TABLE line_costs (
        position INTEGER NOT NULL,
        number INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (position, number)
    ) WITHOUT ROWID""",
)

_TAGS_OF_OLD_LINES: Final = """
    UPDATE items SET tags = tagged.tags
    FROM (
        SELECT e.stream, note.value ->> 'number' AS number, note.value -> 'tags' AS tags
        FROM event_types t JOIN events e ON e.type = t.number, json_each(e.payload, '$.notes') note
        WHERE t.kind = 'batch' AND t.name = 'LinesCollected' AND note.value -> 'tags' <> '{}'
    ) tagged
    WHERE items.stream = tagged.stream AND items.number = tagged.number
"""

MIGRATIONS: Final[Mapping[int, Sequence[str]]] = {
    2: ("ALTER TABLE keys ADD COLUMN number INTEGER", "ALTER TABLE keys ADD COLUMN digest TEXT NOT NULL DEFAULT ''"),
    3: (),
    4: (*COSTS, "ALTER TABLE items ADD COLUMN tags TEXT NOT NULL DEFAULT ''", _TAGS_OF_OLD_LINES),
}
"""What brings a file to a version from the one before it."""

Synchronous = Literal["FULL", "NORMAL"]
"""FULL: an append is on the disk when it returns. NORMAL: it survives the death of the process, but a power cut may
lose the last appends that were acknowledged."""

CACHES: Final = (
    # The newest folded state of a long stream. It may be dropped at any time; older logs get it when they are opened.
    """CREATE TABLE IF NOT EXISTS snapshots (
        stream INTEGER PRIMARY KEY,
        version INTEGER NOT NULL,
        fold INTEGER NOT NULL,
        payload BLOB NOT NULL
    )""",
    # Names that something outside has for an actor. Nobody checks them: a name that is lost, as those that an older
    # build did not write are, is a hint that is not understood.
    """CREATE TABLE IF NOT EXISTS known_as (
        name TEXT NOT NULL,
        stream INTEGER NOT NULL,
        PRIMARY KEY (name, stream)
    ) WITHOUT ROWID""",
)

DDL: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # One row for each actor: its stream's identity, and where the actor stands after its last event. `version` and
    # `updated_at` are those of the last write of the row, which an event that leaves the standing alone does not need:
    # the stream may be further on.
    """CREATE TABLE streams (
        id INTEGER PRIMARY KEY,
        actor TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        tenant TEXT NOT NULL,
        key TEXT,
        version INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        fold INTEGER NOT NULL,
        next_due INTEGER,
        terminal INTEGER NOT NULL,
        provider TEXT NOT NULL,
        "group" TEXT NOT NULL,
        tags TEXT NOT NULL,
        progress TEXT NOT NULL
    )""",
    "CREATE INDEX streams_by_kind ON streams (kind, status)",
    "CREATE INDEX streams_by_fold ON streams (kind, fold, terminal)",
    "CREATE INDEX streams_by_due ON streams (next_due) WHERE next_due IS NOT NULL",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        stream INTEGER NOT NULL,
        version INTEGER NOT NULL,
        type INTEGER NOT NULL,
        schema INTEGER NOT NULL,
        at INTEGER NOT NULL,
        trace TEXT NOT NULL,
        causation TEXT NOT NULL,
        principal TEXT NOT NULL,
        key_id TEXT,
        payload TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX events_by_stream ON events (stream, version)",
    # `schema` is the newest version ever written under this name, `build` the first build that wrote that version.
    """CREATE TABLE event_types (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        schema INTEGER NOT NULL,
        build TEXT NOT NULL,
        UNIQUE (kind, name)
    )""",
    "CREATE TABLE commits (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, at INTEGER NOT NULL, hash BLOB NOT NULL)",
    """CREATE TABLE items (
        stream INTEGER NOT NULL,
        number INTEGER NOT NULL,
        name TEXT NOT NULL,
        status TEXT NOT NULL,
        blob TEXT NOT NULL,
        "offset" INTEGER NOT NULL,
        length INTEGER NOT NULL,
        tags TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (stream, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX items_by_name ON items (stream, name) WHERE name <> ''",
    """CREATE TABLE keys (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        stream INTEGER NOT NULL,
        number INTEGER,
        digest TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE blob_references (
        digest TEXT NOT NULL,
        stream INTEGER NOT NULL,
        PRIMARY KEY (digest, stream)
    ) WITHOUT ROWID""",
    *COSTS,
    *CACHES,
    "CREATE TABLE tracking (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE fence (only INTEGER PRIMARY KEY CHECK (only = 1), number INTEGER NOT NULL, at INTEGER NOT NULL)",
)

BUSY_TIMEOUT_MS: Final = 5_000
"""How long a statement waits for a foreign lock, such as that of somebody's `sqlite3` shell."""

WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 2_048
"""For each reading connection: pages read once, in order, mostly; what is wanted again is in the system's cache."""

AUTOCHECKPOINT_PAGES: Final = 8_000
"""The writer checkpoints by itself only past this many pages of WAL (32 MiB): a connection of its own does it before,
outside of any commit."""


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """The connection that writes. The file must exist. Raises `sqlite3.Error`."""
    connection = _connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_checkpointer(path: Path) -> sqlite3.Connection:
    """The second connection of a writing process: it moves the WAL into the database file and writes nothing else.

    Its busy timeout is zero: a checkpoint that cannot go on now is tried again after a later commit.
    """
    connection = _connect(path, "rw")
    connection.execute("PRAGMA busy_timeout = 0")
    return connection


def open_for_reading(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that can change nothing. `immutable`: create no files, take no locks, believe that nobody writes."""
    connection = _connect(path, "ro", "&immutable=1" if immutable else "")
    connection.execute("PRAGMA query_only = 1")
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    return connection


def create_tables(connection: sqlite3.Connection, log_id: str, created_at: int) -> None:
    """Makes an empty log, all or nothing. Raises `sqlite3.Error`."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in DDL:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('log_id', ?), ('created_at', ?)", (log_id, str(created_at)))
    connection.execute("INSERT INTO fence VALUES (1, 0, ?)", (created_at,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a log that an older build wrote to today's tables, all or nothing. Raises `sqlite3.Error`."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("BEGIN IMMEDIATE")
    for statement in CACHES:
        connection.execute(statement)
    for version in range(found + 1, SCHEMA_VERSION + 1):
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
    if found < SCHEMA_VERSION:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def has_snapshots(connection: sqlite3.Connection) -> bool:
    """Whether the log has the table of snapshots: one that no newer build has opened for writing has not."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'snapshots'").fetchone()
    return found is not None


def has_costs(connection: sqlite3.Connection) -> bool:
    """Whether the log has rows of costs and tags of items: one that no newer build has opened for writing has not."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'costs'").fetchone()
    return found is not None


def _connect(path: Path, mode: Literal["rw", "ro"], options: str = "") -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}{options}",
        uri=True,
        isolation_level=None,  # transactions are begun and ended in the open, never by the driver
        check_same_thread=False,  # the hop may land on any worker thread; one owner at a time is what we keep
        timeout=BUSY_TIMEOUT_MS / 1_000,
        cached_statements=256,
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection
