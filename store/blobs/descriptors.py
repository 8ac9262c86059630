"""Open files of blobs, kept for the next read."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from perdure.store.blobs.layout import path_of


class Descriptors:
    """An LRU of at most `limit` open descriptors.

    A descriptor is out of the cache while it is in use, so none is ever closed under a reader; two readers of one blob
    at the same moment open it twice. Used inside hops.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self._root = root
        self._limit = limit
        self._lock = threading.Lock()
        self._idle: OrderedDict[str, int] = OrderedDict()

    @contextmanager
    def open(self, digest: str) -> Generator[int]:
        """The blob's file, open for reading. It goes back into the cache unless the block raises. Raises OSError."""
        with self._lock:
            descriptor = self._idle.pop(digest, None)
        if descriptor is None:
            descriptor = os.open(path_of(self._root, digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        kept = False
        try:
            yield descriptor
            kept = True
        finally:
            surplus = self._keep(digest, descriptor) if kept else [descriptor]
            for spare in surplus:
                os.close(spare)

    def has(self, digest: str) -> bool:
        """Whether the blob's file is kept open."""
        return digest in self._idle

    def forget(self, digest: str) -> None:
        """Closes what is kept of a blob that was removed or replaced."""
        with self._lock:
            descriptor = self._idle.pop(digest, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Closes all that is kept."""
        with self._lock:
            descriptors = list(self._idle.values())
            self._idle.clear()
        for descriptor in descriptors:
            os.close(descriptor)

    def _keep(self, digest: str, descriptor: int) -> list[int]:
        surplus: list[int] = []
        with self._lock:
            other = self._idle.pop(digest, None)
            if other is not None:
                surplus.append(other)
            self._idle[digest] = descriptor
            while len(self._idle) > self._limit:
                surplus.append(self._idle.popitem(last=False)[1])
        return surplus
