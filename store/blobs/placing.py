"""One turn of work on the blob folders: what the sweep removes, then what was put, all that waits in one hop.

The order is what makes a blob durable: every file is synced under a temporary name, then all are renamed, then every
folder that got a name is synced once, then what is small is committed, all of it at once, and only then is anybody
told. Turns never overlap, so within a turn no blob comes or goes but by this module. Everything here blocks.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from perdure.events.errors import PerdureError
from perdure.store.blobs.checking import Damaged, StoredFile, StoredRow, check
from perdure.store.blobs.descriptors import Descriptors
from perdure.store.blobs.layout import (
    FOLDER_MODE,
    HEADER_BYTES,
    encode_header,
    folder_of,
    path_of,
    sync_file,
    sync_folder,
)
from perdure.store.blobs.pins import Pins
from perdure.store.blobs.recent import Recent
from perdure.store.blobs.refusals import lost, not_stored
from perdure.store.blobs.scratch import Draft, Scratch
from perdure.store.blobs.small import SmallBlobWriter
from perdure.store.blobs.turns import Job
from perdure.store.crash_points import crash_point


class Content:
    """One thing to store: bytes in memory, or a draft on disk, or neither (then the blob must be there already)."""

    def __init__(
        self, digest: str | None = None, *, data: bytes | None = None, draft: Draft | None = None, key_id: int = 0
    ) -> None:
        self._digest = digest
        self.data = data
        self.draft = draft
        self.key_id = key_id

    @property
    def digest(self) -> str:
        """The digest; of bytes in memory it is made when it is first asked for, which is inside a hop."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.data or b"").hexdigest()
        return self._digest

    @property
    def size_bytes(self) -> int | None:
        """The size of the content, None where only the digest is known."""
        if self.data is not None:
            return len(self.data)
        return None if self.draft is None else self.draft.size_bytes


class Storing(Job):
    """Stores all of `contents`, or none, and pins each once for each time it stands there; `pinned` lists the pins."""

    def __init__(self, contents: Sequence[Content]) -> None:
        super().__init__()
        self.contents = contents
        self.pinned: list[str] = []


class Removing(Job):
    """Removes what is in `claim` when the turn comes. `removed` and `removed_bytes` say what that was."""

    def __init__(self, claim: set[str]) -> None:
        super().__init__()
        self.claim = claim
        self.removed = 0
        self.removed_bytes = 0


class _Place:
    """What becomes of one digest in this turn."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.draft: Draft | None = None
        self.row: bytes | None = None
        """What is to be stored as a row."""
        self.bad_row = False
        """Whether there is a row that is damaged."""
        self.existed = False
        """Whether there was a file, or something else, under its name."""
        self.renamed = False
        self.unsynced = False
        self.error: OSError | sqlite3.Error | PerdureError | None = None


class Placer:
    """Does the turns. What it learns about blobs, it leaves in `durable` and `verified`.

    Contents in memory that are below `small_bytes` become rows of `small`.
    """

    def __init__(
        self,
        root: Path,
        *,
        scratch: Scratch,
        small: SmallBlobWriter,
        small_bytes: int,
        pins: Pins,
        durable: Recent,
        verified: Recent,
        descriptors: Descriptors,
    ) -> None:
        self._root = root
        self._scratch = scratch
        self._small = small
        self._small_bytes = small_bytes
        self._pins = pins
        self._durable = durable
        self._verified = verified
        self._descriptors = descriptors
        self._folders: set[str] = set()
        """Folders whose entry in the root is durable: 256 at most."""

    def turn(self, jobs: Sequence[Job]) -> None:
        """Does `jobs` and settles each. Removals come first: what is put in the same turn is there afterwards."""
        storing: list[Storing] = []
        for job in jobs:
            if isinstance(job, Removing):
                self._remove(job)
            elif isinstance(job, Storing):
                storing.append(job)
        places = self._stage(storing)
        self._sync_files([place for found in places for place in found])
        self._rename(self._agreed(places))
        self._sync_folders(self._agreed(places))
        self._commit_rows(self._agreed(places))
        self._settle(storing, places)

    def is_known(self, digest: str) -> bool:
        """Whether this process knows the blob to be whole and durable."""
        return digest in self._durable and digest in self._verified and path_of(self._root, digest).exists()

    # ------------------------------------------------------------ removing

    def _remove(self, job: Removing) -> None:
        try:
            for digest in sorted(job.claim):
                # Forgotten first: a put after this must not take the name for a blob.
                self._durable.discard(digest)
                self._verified.discard(digest)
                self._descriptors.forget(digest)
            sizes = self._small.remove(job.claim)
            for digest in sorted(job.claim):
                path = path_of(self._root, digest)
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    path.unlink()
                    sizes[digest] = max(size - HEADER_BYTES, 0)
            job.removed = len(sizes)
            job.removed_bytes = sum(sizes.values())
        except (OSError, sqlite3.Error) as error:
            job.settle(not_stored(error, self._root))
        else:
            job.settle(None)

    # ------------------------------------------------------------ storing

    def _stage(self, storing: Sequence[Storing]) -> list[list[_Place]]:
        """For each job the places of its contents, in order. Drafts exist and are written, not synced."""
        shared: dict[str, _Place] = {}
        places: list[list[_Place]] = []
        rows: Mapping[str, bytes] | OSError | sqlite3.Error
        try:
            rows = self._small.find({content.digest for job in storing for content in job.contents})
        except (OSError, sqlite3.Error) as error:
            rows = error
        for job in storing:
            found: list[_Place] = []
            for content in job.contents:
                place = shared.get(content.digest)
                if place is None or place.error is not None:
                    place = shared[content.digest] = self._stage_one(content, rows)
                if content.draft is not None and place.draft is not content.draft:
                    content.draft.discard()
                found.append(place)
            places.append(found)
        return places

    def _stage_one(self, content: Content, rows: Mapping[str, bytes] | OSError | sqlite3.Error) -> _Place:
        place = _Place(content.digest)
        if isinstance(rows, Exception):
            place.error = rows
            return place
        row = rows.get(content.digest)
        try:
            if row is not None:
                if self._is_whole_row(row, content):
                    return place
                place.bad_row = True
            if content.data is not None and len(content.data) < self._small_bytes:
                # A file of this content, from before or damaged, may be there: then the row counts.
                place.row = encode_header(content.key_id) + content.data
            elif self._is_whole(place, content):
                place.unsynced = content.digest not in self._durable
            elif content.draft is not None:
                place.draft = content.draft
            elif content.data is not None:
                place.draft = self._scratch.draft(content.key_id)
                place.draft.write(content.data)
                crash_point("blob.written")
            else:
                damaged = place.existed or place.bad_row
                place.error = lost(content.digest, self._root, "it is damaged" if damaged else "it is missing")
        except OSError as error:
            place.error = error
            if place.draft is not None:
                place.draft.discard()
        return place

    def _is_whole(self, place: _Place, content: Content) -> bool:
        """Whether the blob is there already, as it should be. Damaged ones are written anew over the old."""
        path = path_of(self._root, content.digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError:
            place.existed = True
            return False
        place.existed = True
        try:
            if content.digest in self._verified:
                size = os.fstat(descriptor).st_size - HEADER_BYTES
                return content.size_bytes in (None, size)
            if content.draft is not None and content.draft.synced:
                # Replacing costs a rename; making sure costs reading all of it.
                return False
            check(StoredFile(descriptor), content.digest)
        except (Damaged, OSError):
            return False
        finally:
            os.close(descriptor)
        self._verified.add(content.digest)
        return True

    def _is_whole_row(self, row: bytes, content: Content) -> bool:
        """Whether a row, which is durable, is as it should be."""
        try:
            check(StoredRow(row), content.digest)
        except Damaged:
            return False
        self._verified.add(content.digest)
        return True

    def _sync_files(self, places: Sequence[_Place]) -> None:
        # After all of them were written: the first sync then carries most of the others' blocks along.
        for place in dict.fromkeys(places):
            if place.error is not None:
                continue
            try:
                if place.draft is not None:
                    place.draft.sync()
                elif place.unsynced:
                    sync_file(path_of(self._root, place.digest))
            except OSError as error:
                place.error = error
                if place.draft is not None:
                    place.draft.discard()

    def _agreed(self, places: Sequence[Sequence[_Place]]) -> list[_Place]:
        """The places of the jobs in which nothing has failed, each once."""
        return list(dict.fromkeys(place for found in places if all(p.error is None for p in found) for place in found))

    def _rename(self, places: Sequence[_Place]) -> None:
        for place in places:
            if place.draft is None:
                continue
            folder = folder_of(self._root, place.digest)
            try:
                if folder.name not in self._folders:
                    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
                os.rename(place.draft.path, path_of(self._root, place.digest))
            except OSError as error:
                self._folders.discard(folder.name)
                place.error = error
                continue
            place.renamed = True
            place.unsynced = True
            if place.existed:
                self._descriptors.forget(place.digest)
            crash_point("blob.renamed")

    def _sync_folders(self, places: Sequence[_Place]) -> None:
        by_folder: dict[str, list[_Place]] = {}
        for place in places:
            if place.unsynced:
                by_folder.setdefault(place.digest[:2], []).append(place)
        for name, inside in by_folder.items():
            try:
                sync_folder(self._root / name)
            except OSError as error:
                for place in inside:
                    place.error = error
        new = by_folder.keys() - self._folders
        if new:
            try:
                sync_folder(self._root)
            except OSError as error:
                for name in new:
                    for place in by_folder[name]:
                        place.error = error
            else:
                self._folders |= new

    def _commit_rows(self, places: Sequence[_Place]) -> None:
        """Makes rows durable, and removes damaged ones that would count although there is a file now."""
        new = {place.digest: place.row for place in places if place.row is not None}
        bad = [place.digest for place in places if place.bad_row and place.row is None]
        try:
            if new:
                crash_point("blob.written")
                self._small.store(new)
            if bad:
                self._small.remove(bad)
        except (OSError, sqlite3.Error) as error:
            for place in places:
                if place.row is not None or place.bad_row:
                    place.error = error
        for digest in new:
            self._descriptors.forget(digest)

    def _settle(self, storing: Sequence[Storing], places: Sequence[Sequence[_Place]]) -> None:
        stored = set(self._agreed(places))
        for place in dict.fromkeys(place for found in places for place in found):
            if place in stored:
                self._durable.add(place.digest)
                self._verified.add(place.digest)
                crash_point("blob.durable")
            else:
                self._undo(place)
        for job, found in zip(storing, places, strict=True):
            error = next((place.error for place in found if place.error is not None), None)
            if error is None:
                for content in job.contents:
                    self._pins.add(content.digest)
                    job.pinned.append(content.digest)
                job.settle(None)
            elif isinstance(error, OSError | sqlite3.Error):
                job.settle(not_stored(error, self._root))
            else:
                job.settle(error)

    def _undo(self, place: _Place) -> None:
        """Leaves nothing behind of a place that nobody will be told about.

        A name that was there before stays, whatever happened to its folder's sync: records may point at it. A new name
        goes, so that the next attempt renames again: after a failed sync the system may hold the old rename for done.
        """
        if place.draft is None:
            return
        try:
            if not place.renamed:
                place.draft.discard()
            elif not place.existed:
                path_of(self._root, place.digest).unlink(missing_ok=True)
        except OSError as error:
            place.error = place.error or error
