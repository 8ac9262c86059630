"""Writing a blob piece by piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from perdure.store.blobs.layout import Blob
from perdure.store.blobs.placing import Content, Placer
from perdure.store.blobs.refusals import not_stored
from perdure.store.blobs.scratch import Draft, Scratch
from perdure.store.crash_points import crash_point
from perdure.store.disk import Disk

DISCARD_WITHIN_S: Final = 10.0
"""How long a cancelled writer waits for a disk thread to remove its file; after that the next sweep does."""


class BlobWriter:
    """Collects content and becomes a blob at `commit`. Come by one through `BlobStore.open_writer`.

    For one task. Small pieces cost no hop: they are gathered, and a full buffer is written and hashed in one. After
    anything but a plain return from `write` or `commit` the writer can only be left.
    """

    def __init__(
        self,
        disk: Disk,
        scratch: Scratch,
        placer: Placer,
        store: Callable[[Content], Awaitable[Blob]],
        *,
        key_id: int,
        buffer_bytes: int,
    ) -> None:
        self._disk = disk
        self._scratch = scratch
        self._placer = placer
        self._store = store
        self._key_id = key_id
        self._buffer_bytes = buffer_bytes
        self._buffer = bytearray()
        self._offset = 0
        self._draft: Draft | None = None
        self._usable = True

    @property
    def offset(self) -> int:
        """Where in the content the next piece will begin: the bytes taken so far."""
        return self._offset

    async def write(self, data: bytes) -> int:
        """Appends `data`; returns the offset in the content where it begins. Nothing is durable yet.

        Does not checkpoint unless a full buffer goes to disk. Raises `DiskFull` and `Unavailable`: then the file is
        gone and its space free. Raises RuntimeError if the writer ended before.
        """
        self._check_usable()
        offset = self._offset
        self._offset += len(data)
        if len(self._buffer) + len(data) < self._buffer_bytes:
            self._buffer += data
        else:
            self._usable = False
            await self._disk.run(partial(self._flush, data))
            self._usable = True
        return offset

    async def commit(self) -> Blob:
        """Makes all that was written a blob, durable when this returns and pinned once until `BlobStore.release`.

        Raises `DiskFull` and `Unavailable`: then nothing is stored and the space is free.
        """
        self._check_usable()
        self._usable = False
        if self._draft is None and len(self._buffer) < self._buffer_bytes:
            return await self._store(Content(data=bytes(self._buffer), key_id=self._key_id))
        return await self._store(await self._disk.run(self._finish))

    async def discard(self) -> None:
        """Removes what was written, unless it became a blob. Called when the writer's block is left."""
        self._usable = False
        self._buffer = bytearray()
        if self._draft is not None:
            with trio.move_on_after(DISCARD_WITHIN_S, shield=True):
                await self._disk.run(self._draft.discard)

    def _check_usable(self) -> None:
        if not self._usable:
            raise RuntimeError("this blob writer has ended: open another and write the content again")

    def _flush(self, data: bytes = b"") -> None:
        """Writes what was gathered, then `data`, which is as large as the buffer and not copied into it."""
        try:
            if self._draft is None:
                self._draft = self._scratch.draft(self._key_id)
            self._draft.write(self._buffer)
            self._draft.write(data)
        except OSError as error:
            if self._draft is not None:
                self._draft.discard()
            raise not_stored(error, self._scratch.root) from error
        self._buffer = bytearray()

    def _finish(self) -> Content:
        self._flush()
        assert self._draft is not None
        crash_point("blob.written")
        # A big file is synced here and not in a turn, where everybody would wait for it. One that is known to be
        # there already need not be synced at all.
        if not self._placer.is_known(self._draft.digest):
            try:
                self._draft.sync()
            except OSError as error:
                self._draft.discard()
                raise not_stored(error, self._scratch.root) from error
        return Content(self._draft.digest, draft=self._draft, key_id=self._key_id)
