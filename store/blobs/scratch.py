"""Files being written, before they have the name of a blob.

Every writing store has a folder of its own under `tmp/` and keeps a lock on it (flock) while it lives. The lock goes
with the process, however that ends, so a folder whose lock can be taken belongs to a dead writer and its files to
nobody. Process ids would not do: in containers every writer is number 1.

Everything here blocks and runs inside a hop.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from perdure.store.blobs.layout import FILE_MODE, FOLDER_MODE, encode_header, sync_folder, write_all

FOLDER_NAME: Final = "tmp"


class Draft:
    """One file being written: header, then content as it comes, hashed on the way. One hop at a time uses it."""

    def __init__(self, path: Path, key_id: int) -> None:
        self.path = path
        self.key_id = key_id
        self.size_bytes = 0
        self.synced = False
        self._hash = hashlib.sha256()
        header = encode_header(key_id)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            write_all(self._descriptor, header)
        except OSError:
            self.discard()
            raise

    @property
    def digest(self) -> str:
        """The digest of the content so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends content. After an OSError the draft can only be discarded."""
        write_all(self._descriptor, data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def sync(self) -> None:
        """Makes the content durable and closes the file; its name is still a temporary one.

        After an OSError the draft can only be discarded: a second sync may report success for pages that the system
        has already given up.
        """
        if not self.synced:
            os.fsync(self._descriptor)
            self.synced = True
        self._close()

    def discard(self) -> None:
        """Removes the file and frees its space. Does nothing for a draft that was renamed."""
        self._close()
        with suppress(FileNotFoundError):
            self.path.unlink()

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Scratch:
    """The folder of one writer's drafts. Made when the first draft is. Several hops may begin drafts at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._opening = threading.Lock()
        self._lock = -1
        self._prepared = False
        self._made: list[Path] = []
        """Folders that were not there before us. Kept over a failed attempt: their entries are still to be synced."""

    def draft(self, key_id: int) -> Draft:
        """Begins a file. Raises OSError."""
        return Draft(self.path(), key_id)

    def path(self) -> Path:
        """Where a file may be made, under a name that is nobody's; its folder exists and is locked. Raises OSError."""
        with self._opening:
            if self._lock < 0:
                self._open()
        return self.root / FOLDER_NAME / self._name / str(next(self._numbers))

    def close(self) -> None:
        """Gives the folder up, with whatever is in it. The scratch can be used again."""
        if self._lock >= 0:
            _remove_folder(self.root / FOLDER_NAME / self._name)
            os.close(self._lock)
            self._lock = -1

    def remove_dead(self) -> int:
        """Removes the folders of writers that live no more; returns how many files were in them. Raises OSError."""
        removed = 0
        try:
            names = os.listdir(self.root / FOLDER_NAME)
        except FileNotFoundError:
            return 0
        for name in names:
            folder = self.root / FOLDER_NAME / name
            if name == self._name or not folder.is_dir():
                continue
            descriptor = _try_lock(folder)
            if descriptor is None:
                continue
            try:
                removed += _remove_folder(folder)
            finally:
                os.close(descriptor)
        return removed

    def _open(self) -> None:
        self._prepare_root()
        parent = self.root / FOLDER_NAME
        parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
        folder = parent / self._name
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        descriptor = _try_lock(folder)
        if descriptor is None:
            raise OSError(f"{folder} was just made and is locked by another process")
        self._lock = descriptor

    def _prepare_root(self) -> None:
        """Makes the root, and its entry in its parent, durable; once for each process. Raises OSError."""
        if self._prepared:
            return
        missing = [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            self._made.append(folder)
        for folder in self._made:
            sync_folder(folder.parent)
        if not self._made:
            # The process that made the root may have died before this sync. Where we may not even open the parent,
            # somebody else set the root up for us.
            with suppress(PermissionError):
                sync_folder(self.root.parent)
        self._prepared = True


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock of `folder`, or None while another process holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_folder(folder: Path) -> int:
    """Removes a folder of drafts; returns how many files there were."""
    removed = 0
    for entry in os.listdir(folder):
        (folder / entry).unlink(missing_ok=True)
        removed += 1
    folder.rmdir()
    return removed
