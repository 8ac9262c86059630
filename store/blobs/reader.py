"""Reading blobs: any number of processes may, while one writes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from perdure.events.errors import BlobLost, Corrupt
from perdure.store.blobs.checking import Damaged, Stored, StoredFile, StoredRow, check, describe, read_part
from perdure.store.blobs.descriptors import Descriptors
from perdure.store.blobs.layout import Blob, is_digest, path_of
from perdure.store.blobs.recent import Recent
from perdure.store.blobs.refusals import lost, not_read
from perdure.store.blobs.small import FILE_NAME, SmallBlobs
from perdure.store.disk import Disk

CHUNK_BYTES: Final = 1 << 20
REMEMBERED_BLOBS: Final = 65_536
_VERIFIED_PER_HOP: Final = 64


class BlobReader:
    """Reads the blobs under `root`. Makes nothing on disk; the folder need not exist yet.

    `verify_first`: the first time that this process touches a blob, its content is compared with its digest, in bounded
    memory (the last 65,536 found whole are remembered); later damage shows in `verify`. `max_open`: how many files stay
    open for the next read.
    """

    def __init__(self, root: Path, disk: Disk, *, verify_first: bool = True, max_open: int = 64) -> None:
        self._root = root
        self._disk = disk
        self._verify_first = verify_first
        self._descriptors = Descriptors(root, max_open)
        self._small = SmallBlobs(root)
        self._verified = Recent(REMEMBERED_BLOBS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files kept open. The reader can be used again."""
        self._descriptors.close()
        self._small.close()

    async def stat(self, digest: str) -> Blob:
        """Size of the content and key of a blob. Raises `BlobLost`, `Unavailable`."""
        return await self._disk.run(lambda: self._stat(digest))

    async def read(self, digest: str, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes of content from `offset`; with None all that follow. One hop.

        Raises `BlobLost` if the blob is missing or damaged, or is shorter than asked for; `Unavailable` if the system
        refuses for a reason that may pass.
        """
        return await self._disk.run(lambda: self._read(digest, [(offset, length)])[0])

    async def read_slices(self, digest: str, slices: Sequence[tuple[int, int]]) -> list[bytes]:
        """The slices `(offset, length)` of one blob, in the order asked for. One hop. Raises as `read` does."""
        return await self._disk.run(lambda: self._read(digest, slices))

    async def read_many(self, slices: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """The slices `(digest, offset, length)` of several blobs, in the order asked for. One hop.

        Raises as `read` does: the error names the first blob that is lost, and the others are not returned.
        """
        return await self._disk.run(lambda: self._read_many(slices))

    async def chunks(
        self, digest: str, offset: int = 0, length: int | None = None, *, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncGenerator[bytes]:
        """The content from `offset` on, in chunks of `chunk_bytes`, the last one shorter. One hop for each chunk.

        The blob is verified before the first chunk is given out, so that no consumer ever sees damaged bytes. Raises as
        `read` does.
        """
        if length is None:
            length = max((await self.stat(digest)).size_bytes - offset, 0)
        end = offset + length
        while True:
            part = await self.read(digest, offset, min(chunk_bytes, end - offset))
            offset += len(part)
            if part:
                yield part
            if offset >= end:
                return

    async def verify(self, digests: Iterable[str]) -> list[BlobLost]:
        """Reads all of each blob and compares it with its digest, whatever was verified before.

        Returns an error for each one that is missing or damaged, in the order given. Raises `Unavailable`. One hop for
        each 64 blobs.
        """
        bad: list[BlobLost] = []
        rest = iter(digests)
        while batch := list(itertools.islice(rest, _VERIFIED_PER_HOP)):
            bad += await self._disk.run(partial(self._verify, batch))
        return bad

    # ------------------------------------------------------------ inside hops

    def _stat(self, digest: str) -> Blob:
        with self._open(digest) as stored:
            return describe(stored, digest)

    def _read(self, digest: str, slices: Sequence[tuple[int, int | None]]) -> list[bytes]:
        with self._open(digest) as stored:
            if digest not in self._verified:
                if self._verify_first:
                    check(stored, digest)
                    self._verified.add(digest)
                else:
                    describe(stored, digest)
            return [read_part(stored, offset, length) for offset, length in slices]

    def _read_many(self, slices: Sequence[tuple[str, int, int]]) -> list[bytes]:
        parts: list[bytes] = []
        for digest, group in itertools.groupby(slices, key=itemgetter(0)):
            parts += self._read(digest, [(offset, length) for _, offset, length in group])
        return parts

    def _verify(self, digests: Sequence[str]) -> list[BlobLost]:
        bad: list[BlobLost] = []
        for digest in digests:
            # Not the file that may still be open from before: the one that a new process would find.
            self._descriptors.forget(digest)
            self._verified.discard(digest)
            try:
                with self._open(digest) as stored:
                    check(stored, digest)
            except BlobLost as error:
                bad.append(error)
            else:
                self._verified.add(digest)
        return bad

    @contextmanager
    def _open(self, digest: str) -> Generator[Stored]:
        """The blob, for reading: its row, else its file. What goes wrong becomes `BlobLost` or `Unavailable`."""
        if not is_digest(digest):
            raise BlobLost(f"{digest[:80]!r} is not the digest of a blob (64 hex digits)", id=digest[:80])
        try:
            row = None if self._descriptors.has(digest) else self._row(digest)
            if row is not None:
                yield StoredRow(row)
            else:
                with self._descriptors.open(digest) as descriptor:
                    yield StoredFile(descriptor)
        except Damaged as error:
            raise lost(digest, self._root, str(error)) from error
        except OSError as error:
            raise not_read(error, digest, self._root) from error

    def _row(self, digest: str) -> bytes | None:
        try:
            return self._small.file(digest)
        except Corrupt as error:
            if path_of(self._root, digest).exists():
                return None
            raise Damaged(f"{FILE_NAME} is damaged: {error.reason}") from error
