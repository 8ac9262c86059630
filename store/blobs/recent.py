"""A bounded memory of digests: what was learnt lately about blobs and may be forgotten at no harm."""

from __future__ import annotations

import threading


class Recent:
    """A set of digests that forgets the least recently added once it holds `limit`.

    Used from the scheduler's thread and from hops at once; the lock is held for single operations on a dict only.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._digests: dict[str, None] = {}

    def __contains__(self, digest: str) -> bool:
        return digest in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, digest: str) -> None:
        """Remembers `digest` as the most recent."""
        with self._lock:
            self._digests.pop(digest, None)
            self._digests[digest] = None
            if len(self._digests) > self._limit:
                del self._digests[next(iter(self._digests))]

    def discard(self, digest: str) -> None:
        """Forgets `digest`."""
        with self._lock:
            self._digests.pop(digest, None)
