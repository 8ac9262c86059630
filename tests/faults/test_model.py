"""The instruments themselves: the shim sees and fails what it should, and the replay tells right from wrong."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.power_cut import Record, images, random_cuts, read_trace, said, sync_boundaries

pytestmark = pytest.mark.compiler


def trace_of(script: str, folder: Path, shim: Path, rule: str = "") -> list[Record]:
    """Runs a Python script under the shim in the folder `root`, whose path is its first argument."""
    root = folder / "root"
    root.mkdir()
    (folder / "control").write_text(rule)
    subprocess.run(
        [sys.executable, "-c", "import os, sqlite3, sys\nroot = sys.argv[1]\nos.chdir(root)\n" + script, str(root)],
        env={
            "LD_PRELOAD": str(shim),
            "PERDURE_SHIM_ROOT": str(root),
            "PERDURE_SHIM_TRACE": str(folder / "trace"),
            "PERDURE_SHIM_CONTROL": str(folder / "control"),
        },
        check=True,
    )
    return read_trace(folder / "trace")


def tree(folder: Path) -> dict[str, bytes]:
    """Path below the folder to content, of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def after_everything(records: Sequence[Record], folder: Path, keep: random.Random | None = None) -> dict[str, bytes]:
    """The files that survive a cut at the end of a trace."""
    ((_, image),) = images(records, folder / "root", [len(records)])
    image.write(folder / "image", keep)
    return tree(folder / "image")


CAREFUL = """
f = os.open("new", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(f, b"content"); os.fsync(f); os.rename("new", "kept")
d = os.open(".", os.O_RDONLY); os.fsync(d)
"""

SCRIPTS: dict[str, tuple[str, dict[str, bytes]]] = {
    "synced, renamed, folder synced": (CAREFUL, {"kept": b"content"}),
    "file never synced": (CAREFUL.replace("os.fsync(f)", "0"), {"kept": b""}),
    "folder never synced": (CAREFUL.replace("os.fsync(d)", "0"), {}),
    "folder synced before the rename": (
        CAREFUL.replace("os.rename(", "d = os.open('.', os.O_RDONLY); os.fsync(d); os.rename(").replace(
            "; os.fsync(d)\n", "\n"
        ),
        {"new": b"content"},
    ),
    "folder made, its own entry not synced": (
        "os.mkdir('sub'); os.chdir('sub')" + CAREFUL.replace("root", "root + '/sub'"),
        {},
    ),
    "folder made and its entry synced": (
        "os.mkdir('sub'); os.fsync(os.open('.', os.O_RDONLY)); os.chdir('sub')" + CAREFUL,
        {"sub/kept": b"content"},
    ),
    "removed, folder not synced": (CAREFUL + "os.unlink('kept')", {"kept": b"content"}),
    "removed, folder synced": (CAREFUL + "os.unlink('kept'); os.fsync(d)", {}),
    "changed in place, synced by data": (
        CAREFUL + "os.pwrite(f, b'CON', 0); os.ftruncate(f, 5); os.fdatasync(f)",
        {"kept": b"CONte"},
    ),
    "changed in place, not synced": (CAREFUL + "os.pwrite(f, b'CON', 0); os.ftruncate(f, 5)", {"kept": b"content"}),
    "written in parts and appended": (
        CAREFUL + "os.writev(f, [b'-', b'more']); open('kept', 'ab').write(b'+end'); os.fsync(f)",
        {"kept": b"content-more+end"},
    ),
    "grown by truncation": (CAREFUL + "os.ftruncate(f, 9); os.fsync(f)", {"kept": b"content" + bytes(2)}),
    "replaced": (
        CAREFUL + "g = os.open('b', os.O_WRONLY | os.O_CREAT); os.write(g, b'B'); os.fsync(g); os.rename('b', 'kept')",
        {"kept": b"content"},
    ),
}


@pytest.mark.parametrize(("script", "survives"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_only_what_was_synced_survives(tmp_path: Path, shim: Path, script: str, survives: dict[str, bytes]) -> None:
    records = trace_of(script, tmp_path, shim)
    assert after_everything(records, tmp_path) == survives


def test_with_everything_kept_the_image_is_the_folder(tmp_path: Path, shim: Path) -> None:
    class Everything(random.Random):
        def random(self) -> float:
            return 0.9

    script = """
    log = sqlite3.connect("log.db"); log.execute("PRAGMA journal_mode = WAL")
    log.execute("CREATE TABLE t (x)")
    for n in range(50): log.execute("INSERT INTO t VALUES (?)", ("x" * 500,)); log.commit()
    log.execute("PRAGMA wal_checkpoint(PASSIVE)")
    log.execute("INSERT INTO t VALUES (1)"); log.commit()
    os._exit(0)
    """
    records = trace_of("\n".join(map(str.strip, script.splitlines())), tmp_path, shim)
    there = {name: content for name, content in tree(tmp_path / "root").items() if not name.endswith("-shm")}
    assert after_everything(records, tmp_path, Everything()) == there


def test_what_is_said_stands_between_the_writes(tmp_path: Path, shim: Path) -> None:
    records = trace_of(
        "print('before', flush=True)" + CAREFUL + "print('after\\nhalf', end='', flush=True)", tmp_path, shim
    )
    assert said(records) == ["before", "after"]
    first_write = next(n for n, record in enumerate(records) if record.op == "w")
    assert said(records[:first_write]) == ["before"]


@pytest.mark.parametrize(
    "script",
    [
        "os.link('kept', 'other')",
        "import mmap; mmap.mmap(os.open('kept', os.O_RDWR), 7)",
        "os.posix_fallocate(f, 0, 99)",
    ],
    ids=["a link", "a mapping", "an allocation"],
)
def test_what_cannot_be_replayed_is_refused(tmp_path: Path, shim: Path, script: str) -> None:
    with pytest.raises(ValueError, match="cannot describe"):
        trace_of(CAREFUL + script, tmp_path, shim)


FAILS = """
def number(work, *arguments):
    try:
        return work(*arguments)
    except OSError as error:
        return error.errno
f = os.open("file", os.O_RDWR | os.O_CREAT, 0o600)
g = os.open("other", os.O_RDWR | os.O_CREAT, 0o600)
found = [number(os.write, g, b"12345678")]
for _ in range(3): found.append(number(os.write, f, b"12345678"))
for _ in range(3): found.append(number(os.fsync, f))
found.append(os.fstat(f).st_size)
print(*found, flush=True)
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("1 sync 2 once root/file", "8 8 8 8 None 5 None 24"),
        ("1 sync 2 lasting root/file", "8 8 8 8 None 5 5 24"),
        ("1 full 3 once root/file", "8 8 28 8 None None None 16"),
        ("1 full 1 once *", None),  # making a file needs room too
        ("1 half 2 once root/file", "8 8 5 8 None None None 20"),
        ("1 half 2 lasting root/file", "8 8 5 5 None None None 16"),
        ("1 short 3 once root/file", "8 8 8 4 None None None 20"),
    ],
)
def test_the_nth_call_fails_as_the_rule_says(tmp_path: Path, shim: Path, rule: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(subprocess.CalledProcessError):
            trace_of(FAILS, tmp_path, shim, rule + "\n")
    else:
        assert said(trace_of(FAILS, tmp_path, shim, rule + "\n")) == [expected]


@pytest.mark.parametrize("broken", ["PRAGMA synchronous = OFF", "PRAGMA synchronous = NORMAL"], ids=["off", "normal"])
def test_the_replay_finds_a_log_that_does_not_sync(tmp_path: Path, shim: Path, broken: str) -> None:
    """What a log loses that acknowledges without a sync. A judge that never condemns would be none."""
    script = f"""
log = sqlite3.connect("log.db", isolation_level=None)
log.execute("PRAGMA journal_mode = WAL"); log.execute("{broken}"); log.execute("CREATE TABLE t (x)")
for n in range(20):
    log.execute("INSERT INTO t VALUES (?)", (n,))
    print("ack", n, flush=True)
os._exit(0)
"""
    records = trace_of(script, tmp_path, shim)
    assert len(said(records)) == 20
    assert lost_in_some_cut(records, tmp_path)


def test_the_replay_finds_nothing_in_a_log_that_syncs(tmp_path: Path, shim: Path) -> None:
    script = """
log = sqlite3.connect("log.db", isolation_level=None)
log.execute("PRAGMA journal_mode = WAL"); log.execute("PRAGMA synchronous = FULL"); log.execute("CREATE TABLE t (x)")
os.fsync(os.open(".", os.O_RDONLY))
for n in range(20):
    log.execute("INSERT INTO t VALUES (?)", (n,))
    print("ack", n, flush=True)
os._exit(0)
"""
    records = trace_of(script, tmp_path, shim)
    assert len(said(records)) == 20
    assert not lost_in_some_cut(records, tmp_path)


def lost_in_some_cut(records: Sequence[Record], folder: Path) -> bool:
    """Whether there is a cut after which a row that was said is not there."""
    cuts = [*sync_boundaries(records), *random_cuts(records, 30, 1), len(records)]
    for cut, image in images(records, folder / "root", cuts):
        acknowledged = said(records[:cut])
        if not acknowledged:
            continue
        target = folder / f"cut {cut}"
        image.write(target)
        with closing(sqlite3.connect(target / "log.db")) as log:
            try:
                found = {row[0] for row in log.execute("SELECT x FROM t")}
            except sqlite3.Error:
                return True
        if not {int(line.removeprefix("ack ")) for line in acknowledged} <= found:
            return True
    return False
