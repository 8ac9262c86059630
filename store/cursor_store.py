"""Where a subscriber keeps how far it came.

The invariant: what `load` gives is what was last handed to `save`, whole, or an earlier one; a crash never mixes two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from perdure.events.errors import DiskFull, Unavailable
from perdure.store.disk import Disk, ThreadDisk


class CursorStore(Protocol):
    """Keeps one subscriber's cursor. Implement it to keep cursors in a place of your own."""

    async def load(self) -> str | None:
        """The cursor that was saved last; None if none ever was."""
        ...

    async def save(self, cursor: str) -> None:
        """Keeps `cursor` in place of the one before. Durable on return."""
        ...


class FileCursor:
    """Keeps a cursor in a file of its own, for processes that read a log and may not write it.

    The file holds one line and is replaced whole: after a crash it is the old one or the new one. It belongs to one
    subscriber. `disk` is where the blocking work runs, by default a thread.
    """

    def __init__(self, path: str | os.PathLike[str], *, disk: Disk | None = None) -> None:
        self.path = Path(path)
        self._disk = disk or ThreadDisk()

    async def load(self) -> str | None:
        """See `CursorStore.load`. Raises `Unavailable` where the file is there and cannot be read."""
        return await self._disk.run(self._load)

    async def save(self, cursor: str) -> None:
        """See `CursorStore.save`. Raises `DiskFull`, also where the folder is missing or may not be written."""
        await self._disk.run(lambda: self._save(cursor))

    def _load(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"the cursor in {self.path} cannot be read: {error}") from error

    def _save(self, cursor: str) -> None:
        draft = self.path.with_name(self.path.name + ".new")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(cursor + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            # The rename is durable with the folder; before that a power cut may bring the old cursor back.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DiskFull(f"the cursor in {self.path} was not saved: {error.strerror}") from error
