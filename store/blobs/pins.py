"""Pins: what keeps a blob from the sweep between its `put` and the commit that names it.

A blob that no record names yet looks like rubbish. A pin, held in memory by the one process that writes, says that
somebody is about to name it. A claim is the sweep's counterpart: digests that had no pin when the sweep asked for their
references. Whoever pins a claimed digest takes it out of the claim, so that this holds:

    what a sweep unlinks had no pin from before it asked for references until after the unlinking.

Without claims a pin could be taken, its commit made and the pin released again between the sweep's question and its
unlinking, which would then remove a blob that is named.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager


class Pins:
    """Counts of pins and the open claims. Used from the scheduler's thread and from hops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._claims: list[set[str]] = []

    def __contains__(self, digest: str) -> bool:
        return digest in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, digest: str) -> None:
        """Pins `digest` once more and takes it out of every claim."""
        with self._lock:
            self._counts[digest] = self._counts.get(digest, 0) + 1
            for claim in self._claims:
                claim.discard(digest)

    def release(self, digest: str) -> None:
        """Takes one pin away. Raises ValueError for a digest without one: the caller counts wrongly."""
        with self._lock:
            count = self._counts.get(digest, 0)
            if count == 0:
                raise ValueError(f"blob {digest} is not pinned")
            if count == 1:
                del self._counts[digest]
            else:
                self._counts[digest] = count - 1

    @contextmanager
    def claim(self, digests: Iterable[str]) -> Generator[set[str]]:
        """Claims those of `digests` that are not pinned; the set yielded shrinks as others pin."""
        with self._lock:
            claim = {digest for digest in digests if digest not in self._counts}
            self._claims.append(claim)
        try:
            yield claim
        finally:
            with self._lock:
                # By identity: two claims may hold equal sets.
                self._claims = [other for other in self._claims if other is not claim]
