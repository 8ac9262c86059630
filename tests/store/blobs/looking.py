"""What lies in a folder of blobs, whatever the store says of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def in_rows(root: Path) -> set[str]:
    """The digests of the blobs that have no file of their own."""
    if not (root / "small.db").exists():
        return set()
    with closing(sqlite3.connect(root / "small.db")) as connection:
        found = [digest for (digest,) in connection.execute("SELECT digest FROM blobs")]
    assert len(found) == len(set(found))
    return set(found)


def in_files(root: Path) -> set[str]:
    """The names of all files but the database's: blobs, and drafts that were left behind."""
    return {path.name for path in root.rglob("*") if path.is_file() and not path.name.startswith("small.db")}


def lose(root: Path, digest: str) -> None:
    """Takes a blob away, as nobody but a broken disk does. The store must not be open, or must be closed next."""
    for path in root.rglob(digest):
        path.unlink()
    if (root / "small.db").exists():
        with closing(sqlite3.connect(root / "small.db", isolation_level=None)) as connection:
            connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))


def stored(root: Path) -> set[str]:
    """All of them."""
    return in_rows(root) | in_files(root)
