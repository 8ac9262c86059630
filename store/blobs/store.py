"""The blob store: puts, pins, sweeps, and reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from perdure.store.blobs.layout import Blob, is_digest
from perdure.store.blobs.pins import Pins
from perdure.store.blobs.placing import Content, Placer, Storing
from perdure.store.blobs.reader import REMEMBERED_BLOBS, BlobReader
from perdure.store.blobs.recent import Recent
from perdure.store.blobs.refusals import lost
from perdure.store.blobs.scratch import Scratch
from perdure.store.blobs.small import SMALL_BYTES, SmallBlobWriter
from perdure.store.blobs.sweep import References, Swept, sweep_folders
from perdure.store.blobs.turns import Turns
from perdure.store.blobs.writer import BlobWriter
from perdure.store.disk import Disk

BUFFER_BYTES: Final = 512 * 1024
DAY_S: Final = 86_400.0


class BlobStore(BlobReader):
    """Writes and reads the blobs under `root`. One for each root in the world: the process that writes the log has it.

    Nothing is made on disk before the first put. All `put`s and `commit`s that wait share one hop, one commit of what
    is small, and one sync of each folder. A blob is pinned when its digest is given out: release it once the commit
    that names it is durable.

    `buffer_bytes`: how much of a streamed blob is gathered for one write. `small_bytes`: what is smaller has no file of
    its own. Other parameters: see `BlobReader`.
    """

    def __init__(
        self,
        root: Path,
        disk: Disk,
        *,
        verify_first: bool = True,
        max_open: int = 64,
        buffer_bytes: int = BUFFER_BYTES,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        super().__init__(root, disk, verify_first=verify_first, max_open=max_open)
        self._buffer_bytes = buffer_bytes
        self._pins = Pins()
        self._scratch = Scratch(root)
        self._rows = SmallBlobWriter(root, self._scratch.path)
        self._placer = Placer(
            root,
            scratch=self._scratch,
            small=self._rows,
            small_bytes=small_bytes,
            pins=self._pins,
            durable=Recent(REMEMBERED_BLOBS),
            verified=self._verified,
            descriptors=self._descriptors,
        )
        self._turns = Turns(disk, self._placer.turn)

    def close(self) -> None:
        """Closes the files kept open and removes what was begun and not committed. The store can be used again."""
        super().close()
        self._rows.close()
        self._scratch.close()

    async def put(self, chunks: bytes | AsyncIterable[bytes], *, key_id: int = 0) -> Blob:
        """Stores content, given whole or piece by piece; pieces are never held in memory all at once.

        Durable when it returns, also where the same content was there before, and pinned once until `release`.
        `key_id` names the key that sealed the content (0: plain). Raises `DiskFull` and `Unavailable`: nothing was
        stored and the space is free. Cancelled before the last write it leaves nothing; after that perhaps a blob
        without a pin, which the sweep removes.
        """
        if isinstance(chunks, bytes) and len(chunks) < self._buffer_bytes:
            return await self._store(Content(data=chunks, key_id=key_id))
        async with self.open_writer(key_id=key_id) as writer:
            if isinstance(chunks, bytes):
                await writer.write(chunks)
            else:
                async for chunk in chunks:
                    await writer.write(chunk)
            return await writer.commit()

    async def put_many(self, contents: Sequence[bytes], *, key_id: int = 0) -> list[Blob]:
        """Stores several contents in one hop: all of them, or none. Durable and pinned as with `put`, in order.

        Raises `DiskFull` and `Unavailable`: none was stored.
        """
        return await self._store_all([Content(data=content, key_id=key_id) for content in contents])

    @asynccontextmanager
    async def open_writer(self, *, key_id: int = 0) -> AsyncGenerator[BlobWriter]:
        """A writer for content that comes piece by piece: `write` gives offsets, `commit` gives the blob.

        Left without `commit`, in whatever way, what was written is removed.
        """
        writer = BlobWriter(
            self._disk, self._scratch, self._placer, self._store, key_id=key_id, buffer_bytes=self._buffer_bytes
        )
        try:
            yield writer
        finally:
            await writer.discard()

    @asynccontextmanager
    async def pin(self, *digests: str) -> AsyncGenerator[None]:
        """Keeps blobs that exist from the sweep while the block runs, and makes sure that they are durable.

        Raises `BlobLost` if one is missing or damaged, `Unavailable`.
        """
        for digest in digests:
            if not is_digest(digest):
                raise lost(digest[:80], self._root, "this is not a digest")
        await self._take(Storing([Content(digest) for digest in digests]))
        try:
            yield
        finally:
            self.release(*digests)

    def release(self, *digests: str) -> None:
        """Takes away the pin that a `put`, hit or not, or a `commit` gave: once for each time.

        Call it when the commit that names the blob is durable, or when nothing will name it. Raises ValueError for a
        digest that is not pinned.
        """
        for digest in digests:
            self._pins.release(digest)

    @property
    def pinned(self) -> int:
        """How many blobs are pinned."""
        return len(self._pins)

    async def sweep(self, references: References, *, older_than_s: float = DAY_S) -> Swept:
        """Removes blobs that are older than `older_than_s`, pinned by nobody and named by no record.

        `references(digests)` returns those of `digests` that records name; it must see every commit that was durable
        when it was asked. Files begun by writers that died are removed whatever their age. Raises `Unavailable`, and
        whatever `references` raises; what was removed until then stays removed.
        """
        return await sweep_folders(
            self._root, self._disk, self._turns, self._pins, self._scratch, self._small, references, older_than_s
        )

    async def _store(self, content: Content) -> Blob:
        return (await self._store_all([content]))[0]

    async def _store_all(self, contents: Sequence[Content]) -> list[Blob]:
        await self._take(Storing(contents))
        return [Blob(content.digest, content.size_bytes or 0, content.key_id) for content in contents]

    async def _take(self, storing: Storing) -> None:
        """Has `storing` done in a turn; whoever is cancelled meanwhile holds no pin afterwards."""
        returned = False
        try:
            await self._turns.take(storing)
            returned = True
        finally:
            if not returned:
                for digest in storing.pinned:
                    self._pins.release(digest)
