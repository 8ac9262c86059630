"""What the parts of a simulator share: its seed, clock, storage and account."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from msgspec import Struct

from perdure.adapters.simulator.clock import Clock
from perdure.adapters.simulator.ids import make_id
from perdure.adapters.simulator.storage import Storage, Tables


class World(Struct, frozen=True):
    """One simulator's surroundings."""

    seed: int
    clock: Clock
    storage: Storage

    def new_id(self, tables: Tables, prefix: str) -> str:
        """The next id with this prefix; the seed and the count decide it."""
        return make_id(self.seed, prefix, tables.next_ordinal(prefix))

    def path(self, name: str) -> Path:
        """Where the bytes called `name` are."""
        return self.storage.path(name)

    @contextmanager
    def receiving(self) -> Generator[Path]:
        """A place for bytes that are on their way in; what is still there at the end of the block is removed."""
        path = self.path(f"receiving-{uuid4().hex}")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
