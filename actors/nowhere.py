"""Nowhere: what stands in for the network and the blobs of a kind that only folds. Using it is a defect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NoReturn

from perdure.actors.fetch import Fetch
from perdure.actors.lane import Lane


class Nowhere:
    """Answers every call with RuntimeError: folding does no I/O."""

    def bind(self, lane: Lane, *, trace: str = "", before_send: Callable[[], Awaitable[None]] | None = None) -> Fetch:
        """See `Network.bind`."""
        self._refuse()

    async def put(self, chunks: bytes) -> NoReturn:
        """See `Blobs.put`."""
        self._refuse()

    async def read(self, digest: str) -> NoReturn:
        """See `request.effects.Blobs.read`."""
        self._refuse()

    def release(self, *digests: str) -> None:
        """See `Blobs.release`."""
        self._refuse()

    def chunks(self, digest: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See `Segments.chunks`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError("this kind only folds: nothing can be done with it")
