"""What would be on the disk if the power had been cut: a replay of the trace that `shim.c` writes.

The model is as hard as POSIX allows. Content is durable once its file was synced; an entry of a folder is durable
once the folder was synced, and a file whose entry is not durable is gone, synced or not. Of what was not synced,
nothing need survive, or any part of it: writes in any order, cut at sectors of 512 bytes. SQLite's -shm files never
survive.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

_HEAD: Final = struct.Struct("<cQqII")
_SECTOR_BYTES: Final = 512

SAID: Final = "s"
STRUCK: Final = "!"
SYNCS: Final = frozenset({"S", "D"})


class Record(Struct, frozen=True):
    """One call that took effect. For `op` see `_Disk.apply`; `data` is what was written or said, or the new name."""

    op: str
    inode: int
    offset: int
    path: str
    data: bytes


def read_trace(path: Path) -> list[Record]:
    """The records of a trace, in order; one that a kill cut short is left out, its call was not heard of by anybody.

    Raises ValueError for a way of writing that cannot be replayed.
    """
    raw = path.read_bytes()
    records: list[Record] = []
    at = 0
    while at + _HEAD.size <= len(raw):
        op, inode, offset, path_length, data_length = _HEAD.unpack_from(raw, at)
        name_at = at + _HEAD.size
        data_at = name_at + path_length
        at = data_at + data_length
        if at > len(raw):
            break
        name = raw[name_at:data_at].decode()
        data = raw[data_at:at]
        if op == b"?":
            raise ValueError(f"{name} was changed by {data.decode()}, which the trace cannot describe")
        records.append(Record(op.decode(), inode, offset, name, data))
    return records


def said(records: Sequence[Record]) -> list[str]:
    """The whole lines that the process had written to standard output."""
    text = b"".join(record.data for record in records if record.op == SAID).decode()
    return text[: text.rfind("\n") + 1].splitlines()


def sync_boundaries(records: Sequence[Record]) -> list[int]:
    """Cuts right before and right after every sync that succeeded. A cut is the number of records before it."""
    cuts = {n + after for n, record in enumerate(records) if record.op in SYNCS for after in (0, 1)}
    return sorted(cuts)


def random_cuts(records: Sequence[Record], count: int, seed: int) -> list[int]:
    """`count` cuts anywhere."""
    choice = random.Random(seed)
    return sorted(choice.randrange(len(records) + 1) for _ in range(count))


def images(records: Sequence[Record], root: Path, cuts: Sequence[int]) -> Iterator[tuple[int, Image]]:
    """For each cut, in ascending order, the disk at that moment. `root` is the folder that was traced, empty at first.

    An image is good until the next one is asked for.
    """
    disk = _Disk(root)
    done = 0
    for cut in sorted(set(cuts)):
        for record in records[done:cut]:
            disk.apply(record)
        done = cut
        yield cut, Image(disk)


class Image:
    """The disk at one moment: durable things, and things that may or may not have reached it."""

    def __init__(self, disk: _Disk) -> None:
        self._disk = disk

    def write(self, target: Path, keep: random.Random | None = None) -> None:
        """Makes the folder `target` as it would be found after the cut. `keep` decides about each thing that was not
        synced; None: nothing of it survives."""
        _write_folder(self._disk.top, target, keep)


# ---------------------------------------------------------------- the model


class _File:
    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """Writes at an offset, and truncations to a length (None)."""

    def sync(self) -> None:
        for offset, data in self.pending:
            _change(self.durable, offset, data)
        self.pending.clear()

    def survivor(self, keep: random.Random | None) -> bytes:
        content = bytearray(self.durable)
        if keep is not None:
            for offset, data in self.pending:
                if keep.random() < 0.5:
                    continue
                if data is not None and len(data) > _SECTOR_BYTES and keep.random() < 0.3:
                    data = data[: keep.randrange(len(data) // _SECTOR_BYTES + 1) * _SECTOR_BYTES]
                _change(content, offset, data)
        return bytes(content)


class _Folder:
    def __init__(self) -> None:
        self.now: dict[str, _File | _Folder] = {}
        self.durable: dict[str, _File | _Folder] = {}
        self.pending: list[tuple[str, _File | _Folder | None]] = []
        """Entries that came, and that went (None)."""

    def put(self, name: str, entry: _File | _Folder) -> None:
        self.now[name] = entry
        self.pending.append((name, entry))

    def take(self, name: str) -> _File | _Folder:
        self.pending.append((name, None))
        return self.now.pop(name)

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.pending.clear()

    def survivors(self, keep: random.Random | None) -> dict[str, _File | _Folder]:
        entries = dict(self.durable)
        if keep is not None:
            for name, entry in self.pending:
                if keep.random() < 0.5:
                    continue
                if entry is None:
                    entries.pop(name, None)
                else:
                    entries[name] = entry
        return entries


class _Disk:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._inodes: dict[int, _File] = {}
        self.top = _Folder()

    def apply(self, record: Record) -> None:
        """Takes one record into account."""
        match record.op:
            case "c":
                file = self._inodes[record.inode] = _File()
                folder, name = self._find(record.path)
                folder.put(name, file)
            case "o":
                folder, name = self._find(record.path)
                entry = folder.now[name]
                assert isinstance(entry, _File)
                self._inodes[record.inode] = entry
            case "w":
                self._inodes[record.inode].pending.append((record.offset, record.data))
            case "t":
                self._inodes[record.inode].pending.append((record.offset, None))
            case "S":
                self._inodes[record.inode].sync()
            case "D":
                self._folder(record.path).sync()
            case "r":
                source, old = self._find(record.path)
                target, new = self._find(record.data.decode())
                target.put(new, source.take(old))
            case "u":
                folder, name = self._find(record.path)
                folder.take(name)
            case "m":
                folder, name = self._find(record.path)
                folder.put(name, _Folder())
            case _:
                assert record.op in (SAID, STRUCK), record.op

    def _find(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rpartition("/")
        return self._folder(parent), name

    def _folder(self, path: str) -> _Folder:
        folder = self.top
        for part in Path(path).relative_to(self._root).parts:
            entry = folder.now[part]
            assert isinstance(entry, _Folder)
            folder = entry
        return folder


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    else:
        content.extend(bytes(max(offset - len(content), 0)))
        content[offset : offset + len(data)] = data


def _write_folder(folder: _Folder, target: Path, keep: random.Random | None) -> None:
    target.mkdir(mode=0o700)
    for name, entry in folder.survivors(keep).items():
        if isinstance(entry, _Folder):
            _write_folder(entry, target / name, keep)
        elif not name.endswith("-shm"):
            (target / name).write_bytes(entry.survivor(keep))
            (target / name).chmod(0o600)
